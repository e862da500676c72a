"""The parties that may answer instead of the one dialled."""

from __future__ import annotations

import pytest

from sipmikey.agent import Agent, AgentConfig, CallPolicy, Retarget
from sipmikey.call.inviting.consent import Consent
from sipmikey.mikey.errors import LocalError

BOB, CAROL, TEAM = "sip:bob@example.com", "sip:carol@example.com", "sip:team@example.com"


@pytest.mark.parametrize(
    ("policy", "refuses", "lacks"),
    [(Retarget.ACCEPT, False, False), (Retarget.ASK, False, True), (Retarget.REFUSE, True, False)],
)
def test_who_was_dialled_always_may_and_others_as_policy_says(
    policy: Retarget, refuses: bool, lacks: bool
) -> None:
    consent = Consent(policy, BOB)
    assert not consent.refuses(BOB)
    assert not consent.lacks("SIP:bob@EXAMPLE.com")
    assert (consent.refuses(CAROL), consent.lacks(CAROL)) == (refuses, lacks)


def test_consent_is_for_one_identity() -> None:
    consent = Consent(Retarget.ASK, BOB)
    consent.give(CAROL)
    assert not consent.lacks(CAROL)
    assert consent.lacks("sip:dave@example.com")


def test_who_answers_for_a_group_is_a_member_and_needs_no_consent() -> None:
    """For a redirection nobody vouches, and for calls to others the list says nothing."""
    refusing, asking = (Consent(policy, TEAM, {TEAM}) for policy in (Retarget.REFUSE, Retarget.ASK))
    assert not refusing.refuses(CAROL, answers_for="sip:team@EXAMPLE.com")
    assert not asking.lacks(CAROL, answers_for=TEAM)
    assert refusing.refuses(CAROL)
    assert refusing.refuses(CAROL, answers_for=BOB)
    assert asking.lacks(CAROL, answers_for=BOB)


def test_an_agent_that_is_to_ask_needs_somebody_to_ask() -> None:
    config = AgentConfig(identity=BOB, policy=CallPolicy(retarget=Retarget.ASK))
    with pytest.raises(LocalError, match="decide"):
        Agent(config)
