"""The flags of a Ticket Policy: every combination, against the rules as the RFC prints them."""

from __future__ import annotations

import pytest

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import InvalidTicketPolicy, LocalError
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.registry import PrfFunc
from sipmikey.mikey.ticket import TP, TicketFlag, TicketFlags, flag_violations, letters


def allowed(bits: int) -> bool:
    """RFC 6043 section 6.10, flag by flag."""
    flag = {name: bool(bits >> 11 - at & 1) for at, name in enumerate("DEFGHIJKLMNO")}
    return (
        (flag["D"] or flag["L"])
        and (not flag["G"] or flag["F"])
        and (flag["G"] or flag["H"])
        and (flag["H"] or flag["G"])
        and (not flag["I"] or flag["E"])
        and (not flag["K"] or flag["D"])
        and (not flag["M"] or flag["F"])
    )


def test_every_combination():
    for bits in range(1 << 12):
        assert bool(flag_violations(bits)) != allowed(bits), letters(bits)
        if allowed(bits):
            assert TicketFlags(TicketFlag(bits)).bits == bits
        else:
            with pytest.raises(LocalError, match="implies"):
                TicketFlags(TicketFlag(bits))


def test_every_combination_on_the_wire():
    octets = TP(prf=PrfFunc.MIKEY_1, flags=TicketFlags.of("DEFGHJNO"), payloads=()).encode_body()
    for bits in range(1 << 12):
        word = int.from_bytes(octets[4:7], "big") & ~(0xFFF << 5) | bits << 5
        changed = octets[:4] + word.to_bytes(3, "big") + octets[7:]
        if allowed(bits):
            assert TP.decode_body(Reader(changed), DEFAULT_LIMITS).flags.bits == bits
        else:
            with pytest.raises(InvalidTicketPolicy) as refusal:
                TP.decode_body(Reader(changed), DEFAULT_LIMITS)
            assert refusal.value.offset == 4


@pytest.mark.parametrize(
    ("letter", "name"),
    [*zip(
        "DEFGHIJKLMNO",
        (
            "kms_generated", "resolve_mandatory", "response_sent", "randr_r", "randr_i", "key_forking",
            "reusable", "changed", "initiator_keys", "responder_keys", "standard_initiator",
            "standard_responder",
        ),
        strict=True,
    )],
)  # fmt: skip
def test_each_letter_is_one_property(letter, name):
    seen = set()
    for bits in range(1 << 12):
        if allowed(bits):
            flags = TicketFlags(TicketFlag(bits))
            assert getattr(flags, name) is (letter in str(flags))
            seen.add(letter in str(flags))
    assert seen == {True, False}


@pytest.mark.parametrize("text", ["DEFGHJNOX", "defg", "D E"])
def test_what_is_no_flag(text):
    with pytest.raises(LocalError, match="not a ticket policy flag"):
        TicketFlags.of(text)
