"""How well a conference is protected, and which calls policy lets into one."""

from __future__ import annotations

import pytest

from sipmikey.call.conference import objection, weakest
from sipmikey.call.events import MediaProtection, Security
from sipmikey.call.policy import CallPolicy, SecurityMode

BOB, CAROL = "sip:bob@example.com", "sip:carol@example.com"
KMS = "sip:kms@example.com"

PROVEN = Security(signalling="tls", media=MediaProtection.PROVEN, peer=BOB, kms=KMS, keying="mikey-ticket")
KEYED = Security(signalling="tls", media=MediaProtection.KEYED, peer=BOB, kms=KMS, keying="mikey-ticket")
HELD = Security(signalling="tls", media=MediaProtection.HELD)
SDES = Security(signalling="tls", media=MediaProtection.PROVEN, called=CAROL, keying="sdes")
CLEAR = Security(signalling="udp", media=MediaProtection.OFF, called=CAROL)

BEST_FIRST = (PROVEN, KEYED, HELD, SDES, CLEAR)


def test_the_weakest_leg_is_found_wherever_it_stands() -> None:
    for place, worse in enumerate(BEST_FIRST):
        for better in BEST_FIRST[:place]:
            assert weakest({"1": better, "2": worse}) == "2"
            assert weakest({"1": worse, "2": better}) == "1"
    assert weakest({"1": PROVEN, "2": PROVEN}) == "1"
    assert weakest({}) == ""


OPEN = CallPolicy(contacts={CAROL: SecurityMode.OFF})


@pytest.mark.parametrize("exposed", [CLEAR, SDES])
def test_what_one_peer_must_have_protected_is_not_sent_unprotected_to_another(exposed: Security) -> None:
    assert "call 2" in objection(OPEN, {"1": PROVEN, "2": exposed})
    assert "call 2" in objection(OPEN, {"2": exposed, "1": PROVEN})
    told = CallPolicy(contacts={CAROL: SecurityMode.OFF}, unprotected_in_conference=True)
    assert objection(told, {"1": PROVEN, "2": exposed}) == ""


def test_calls_that_need_no_protection_may_be_mixed_in_clear() -> None:
    lax = CallPolicy(security=SecurityMode.OFF)
    assert objection(lax, {"1": CLEAR, "2": CLEAR}) == ""
    assert objection(OPEN, {"1": PROVEN, "2": KEYED}) == ""
    assert objection(OPEN, {"1": CLEAR}) == ""
