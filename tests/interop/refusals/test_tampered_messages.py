"""Every field of TRANSFER_INIT and TRANSFER_RESP, changed on the way: refused, where and as it must be.

Message level: the octets are changed between the real parties of `sipmikey.ticket`, without SIP. That the
same holds through SIP, `test_tampered_calls` shows for a change of each kind.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey import EXT, SP, SrtpPolicy, Timestamp
from sipmikey.mikey.errors import PeerError
from sipmikey.ticket import Environment, ReplayCache, TicketResolve, TransferInitiator, TransferResponder
from tests.interop.lab.packets.fields import changed, fields
from tests.ticket.parties import (
    ALICE,
    BOB,
    KMS,
    Clock,
    Kms,
    complete_sessions,
    environment,
    offered_sessions,
    policy,
    psk,
    request_ticket,
)

SDP_IDS = 1
EARLY, AT_KMS, VERIFY, ANSWER = (
    "before the KMS is asked",
    "at the KMS",
    "with the ticket's keys",
    "at the caller",
)
STRUCTURE = re.compile(
    r"(length|next payload|first payload|#P|#CS|version|data type|map type|alg|TS type|role|type)$"
)

AUTH, MALFORMED, IDENTITY, TIME = "auth-failure", "malformed-message", "invalid-identity", "invalid-timestamp"
Refusal = tuple[str, str]

INIT_REFUSALS: tuple[tuple[str, set[Refusal]], ...] = (
    ("HDR version", {(EARLY, MALFORMED)}),
    ("HDR data type", {(EARLY, "unsupported-data-type")}),
    ("HDR V and PRF func", {(VERIFY, AUTH), (EARLY, "unsupported-prf")}),
    ("HDR CSB ID", {(VERIFY, AUTH)}),
    ("CS . CS ID", {(VERIFY, AUTH)}),
    ("CS . Prot type", {(EARLY, "invalid-security-policy")}),
    ("CS . Ps", {(EARLY, "invalid-security-policy")}),
    ("CS . Session Data", {(VERIFY, AUTH)}),
    ("CS . SPI", {(VERIFY, AUTH)}),
    ("T value", {(VERIFY, AUTH), (EARLY, TIME)}),
    ("RANDRi role", {(EARLY, MALFORMED)}),
    ("RANDRi value", {(VERIFY, AUTH)}),
    ("IDR. role", {(VERIFY, AUTH), (EARLY, MALFORMED)}),
    ("IDR. type", {(VERIFY, AUTH)}),
    ("IDR. data", {(VERIFY, AUTH), (EARLY, IDENTITY)}),
    ("SP policy no", {(EARLY, "invalid-security-policy")}),
    ("SP Prot type", {(EARLY, "invalid-security-policy")}),
    ("SP param .* value", {(VERIFY, AUTH)}),
    ("EXT type", {(VERIFY, AUTH)}),
    ("EXT data", {(VERIFY, AUTH)}),
    ("TICKET (Ticket Type|Subtype|Version)", {(EARLY, "invalid-ticket")}),
    (
        "TICKET PRF func and flags",
        {(AT_KMS, AUTH), (EARLY, "unsupported-prf"), (EARLY, "invalid-ticket-policy")},
    ),
    ("TICKET IDR. data", {(AT_KMS, AUTH), (EARLY, IDENTITY)}),
    ("TICKET IDR... data", {(AT_KMS, AUTH), (EARLY, IDENTITY)}),
    ("TICKET TRs value", {(AT_KMS, AUTH), (EARLY, "ticket-expired")}),
    ("TICKET TRe value", {(AT_KMS, AUTH), (EARLY, "ticket-expired")}),
    ("TICKET TRrekey value", {(AT_KMS, AUTH)}),
    ("TICKET Ticket Data", {(AT_KMS, AUTH), (AT_KMS, "invalid-ticket")}),
    ("TICKET Vi MAC", {(EARLY, AUTH)}),
    ("TICKET Vr MAC", {(AT_KMS, AUTH)}),
    ("(TICKET V[ir]|V) auth alg", {(EARLY, "unsupported-mac"), (EARLY, MALFORMED)}),
    ("V MAC", {(EARLY, AUTH)}),
)
"""What a changed bit in the field leads to. Fields that give the message its shape come here only where
the refusal is one; a bit of the others makes a different message, refused for what that is found to be."""

RESP_REFUSALS: tuple[tuple[str, set[Refusal]], ...] = (
    ("HDR version", {(ANSWER, MALFORMED)}),
    ("HDR data type", {(ANSWER, "unexpected-message"), (ANSWER, "unsupported-data-type")}),
    ("HDR V and PRF func", {(ANSWER, AUTH), (ANSWER, "unsupported-prf"), (ANSWER, "unexpected-message")}),
    ("HDR CSB ID", {(ANSWER, "unexpected-message")}),
    ("CS . (CS ID|Prot type|Ps|Session Data|SPI)", {(ANSWER, AUTH)}),
    ("T value", {(ANSWER, AUTH), (ANSWER, TIME)}),
    ("RANDR.* role", {(ANSWER, MALFORMED)}),
    ("RANDR.* value", {(ANSWER, AUTH)}),
    ("IDRr role", {(ANSWER, MALFORMED)}),
    ("IDRr (type|data)", {(ANSWER, AUTH)}),
    ("SP (policy no|Prot type|param .* value)", {(ANSWER, AUTH)}),
    ("V auth alg", {(ANSWER, "unsupported-mac"), (ANSWER, MALFORMED)}),
    ("V MAC", {(ANSWER, AUTH)}),
)

REASONS = {AUTH, MALFORMED, IDENTITY, TIME, "limit-exceeded", "unexpected-message", "unsupported-data-type"}
REASONS |= {
    "unsupported-prf",
    "unsupported-mac",
    "unsupported-encryption",
    "ticket-expired",
    "invalid-ticket",
}
REASONS |= {"unsupported-dh-group", "unsupported-hash"}  # after a wrong length, random octets name a payload
REASONS |= {"invalid-ticket-policy", "invalid-security-policy", "unsupported-security-policy"}


class Call:
    """alice, bob and the KMS of one call, with every payload a full-mode call can have."""

    def __init__(self, suite: Suite) -> None:
        self.env: Environment = environment(Clock())
        self.kms = Kms(self.env, suite)
        now = self.env.now_ns()
        wanted = replace(
            policy(suite),
            valid_from=Timestamp.ntp_utc(now - 60 * 10**9),
            valid_until=Timestamp.ntp_utc(now + 3600 * 10**9),
            rekeying_interval_s=600,
        )
        self.suite = suite
        self.grant = request_ticket(self.env, self.kms, wanted)
        self.alice = self.transfer()

    def transfer(self) -> TransferInitiator:
        """A Ticket Transfer of alice, from the ticket she has."""
        sessions, policies = offered_sessions(self.grant)
        return TransferInitiator.start(
            self.env,
            self.grant,
            crypto_sessions=sessions,
            policies=policies,
            initiator=ALICE,
            responder=BOB,
            extensions=(EXT(ext_type=SDP_IDS, data=b"mikey"),),
        )

    def bob(self, message: bytes, replayed: ReplayCache | None = None) -> TransferResponder:
        """bob's half, having verified *message*."""
        half = TransferResponder(self.env, message, identity=BOB)
        credential = psk(BOB, self.suite)
        resolve = TicketResolve.start(
            self.env, ticket=half.ticket, credential=credential, identity=BOB, kms=KMS
        )
        half.verify(resolve.receive(self.kms.answer(resolve.message)), replayed)
        return half

    def answer(self, own_policy: bool = True) -> bytes:
        half = self.bob(self.alice.message)
        sessions = complete_sessions(half)
        extra: tuple[SP, ...] = ()
        if own_policy:
            extra = (SrtpPolicy.aes_cm(self.suite.key_length).payload(7),)
            sessions = tuple(replace(session, policies=(7,)) for session in sessions)
        return half.respond(crypto_sessions=sessions, policies=extra)[0]

    def refusal_of_init(self, message: bytes) -> Refusal | None:
        """Where bob, or the KMS he asks, refuses a TRANSFER_INIT, and why; None: it was accepted."""
        place = EARLY
        try:
            half = TransferResponder(self.env, message, identity=BOB)
            credential = psk(BOB, self.suite)
            resolve = TicketResolve.start(
                self.env, ticket=half.ticket, credential=credential, identity=BOB, kms=KMS
            )
            place = AT_KMS
            resolved = resolve.receive(self.kms.answer(resolve.message))
            place = VERIFY
            half.verify(resolved)
        except PeerError as error:
            return place, error.reason
        return None

    def refusal_of_answer(self, message: bytes) -> Refusal | None:
        try:
            self.alice.receive(message)
        except PeerError as error:
            return ANSWER, error.reason
        return None


def _judge(
    message: bytes,
    refusal: Callable[[bytes], Refusal | None],
    table: tuple[tuple[str, set[Refusal]], ...],
) -> tuple[list[str], int]:
    """What of the changes to *message* was not refused as it must be, and how many changes there were."""
    wrong, count, told = [], 0, set()
    for field in fields(message):
        expected = next((refusals for name, refusals in table if re.fullmatch(name, field.name)), None)
        told.add(field.name)
        assert expected is not None or STRUCTURE.search(field.name), f"{field.name} has no expected refusal"
        for what, tampered in changed(message, field):
            count += 1
            found = refusal(tampered)
            if found is None or found[1] not in REASONS:
                wrong.append(f"{what}: {found or 'accepted'}")
            elif expected is not None and " xor " in what and found not in expected:
                wrong.append(f"{what}: {found}")
    unused = [name for name, _ in table if not any(re.fullmatch(name, field) for field in told)]
    assert not unused, f"no such field: {unused}"
    return wrong, count


@pytest.mark.parametrize("suite", [SUITE_256, SUITE_128], ids=lambda suite: suite.name)
def test_every_field_of_transfer_init_is_protected(suite: Suite) -> None:
    call = Call(suite)
    message = call.alice.message
    assert call.refusal_of_init(message) is None
    wrong, count = _judge(message, call.refusal_of_init, INIT_REFUSALS)
    assert not wrong
    assert count > 2 * len(message), "both bits of every octet at least"
    assert call.refusal_of_init(message) is None


@pytest.mark.parametrize("suite", [SUITE_256, SUITE_128], ids=lambda suite: suite.name)
def test_every_field_of_transfer_resp_is_protected(suite: Suite) -> None:
    call = Call(suite)
    message = call.answer()
    assert call.refusal_of_answer(message) is None
    wrong, count = _judge(message, call.refusal_of_answer, RESP_REFUSALS)
    assert not wrong
    assert count > 2 * len(message)
    assert call.refusal_of_answer(message) is None, "bad answers take nothing from a good one"


def test_truncation_and_trailing_octets_are_refused() -> None:
    call = Call(SUITE_256)
    init, resp = call.alice.message, call.answer()
    for length in range(len(init)):
        found = call.refusal_of_init(init[:length])
        assert found is not None
        assert found[0] == EARLY
    for length in range(len(resp)):
        assert call.refusal_of_answer(resp[:length]) is not None
    assert call.refusal_of_init(init + b"\0") == (EARLY, MALFORMED)
    assert call.refusal_of_answer(resp + b"\0") == (ANSWER, MALFORMED)


def test_payloads_in_another_order_are_refused() -> None:
    """Each payload is whole: only the MAC knows that two changed places."""
    call = Call(SUITE_256)
    message = call.alice.message
    starts = [field.start for field in fields(message) if re.fullmatch(r"\w+ next payload", field.name)]
    starts = starts[1:]  # the first is HDR's
    spans = dict(zip(starts, [*starts[1:], len(message)], strict=True))
    tried = 0
    for first, second in itertools.pairwise(starts):
        one, two = message[first : spans[first]], message[second : spans[second]]
        swapped = message[:first] + two + one + message[spans[second] :]
        found = call.refusal_of_init(swapped)
        assert found is not None
        tried += 1
    assert tried >= 6


def test_a_transfer_init_is_accepted_once() -> None:
    call = Call(SUITE_256)
    seen = ReplayCache(clock_skew_s=call.env.clock_skew_s)
    call.bob(call.alice.message, seen)
    with pytest.raises(PeerError) as refused:
        call.bob(call.alice.message, seen)
    assert refused.value.reason == "replayed-message"


def test_an_answer_belongs_to_its_call() -> None:
    """The answer to another TRANSFER_INIT of the same ticket does not answer this one."""
    call = Call(SUITE_256)
    first, call.alice = call.alice, call.transfer()
    with pytest.raises(PeerError) as refused:
        first.receive(call.answer())
    assert refused.value.reason == "unexpected-message"
    assert call.refusal_of_answer(call.answer()) is None
