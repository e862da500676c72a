"""Tickets in every mode: used again, sent ahead, for one contact, for a group, and with the KMS down."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab.agents import Agent, Failed
from tests.interop.lab.kms import uri
from tests.interop.modes.grounds import (
    FULL,
    IT_SUPPORT,
    KERBEROS,
    MODES,
    OTWAY_REES,
    PK,
    PRESHARED,
    Grounds,
    asked,
)

ASKED = {
    FULL: (["ticket-request"], ["ticket-resolve"]),
    PK: (["ticket-request"], ["ticket-resolve"]),
    KERBEROS: (["ticket-request"], []),
    OTWAY_REES: ([], ["ticket-resolve"]),
    PRESHARED: ([], []),
}
"""What caller and callee ask the KMS for a call, by mode."""


def talk(alice: Agent, bob: Agent, called: str | None = None) -> dict[str, Any]:
    """Have one call, proven at the caller; return what is known of its security."""
    start = bob.now
    number = alice.call(called or uri("bob"))
    alice.do("proven", call=number)
    security: dict[str, Any] = alice.do("security", call=number)
    alice.do("hangup", call=number)
    bob.event("call.end", start=start)
    return security


def refused(alice: Agent) -> Failed:
    with pytest.raises(Failed) as failed:
        alice.do("established", call=alice.do("call", uri=uri("bob")))
    return failed.value


def pair(
    running: ExitStack, caller: dict[str, Any], callee: dict[str, Any], *, answers: str = "bob"
) -> tuple[Agent, Agent]:
    """Start both; the callee registers."""
    bob = running.enter_context(Agent(answers, callee))
    alice = running.enter_context(Agent("caller", caller))
    bob.do("register")
    return alice, bob


@pytest.mark.parametrize("mode", MODES)
def test_kept_tickets_outlive_the_process(mode: str, grounds: Grounds, tmp_path: Path) -> None:
    """Both sides start again, and the KMS is down."""
    caller = grounds.calling(mode, ticket_file=str(tmp_path / "caller.db"))
    callee = grounds.called(mode, keys={"keep_resolved": True}, ticket_file=str(tmp_path / "callee.db"))
    with ExitStack() as running:
        first = talk(*pair(running, caller, callee))
    grounds.door.shut = True
    with ExitStack() as running:
        alice, bob = pair(running, caller, callee)
        second = talk(alice, bob)
        assert (asked(alice), asked(bob)) == ([], [])
    assert first["ticket"] == second["ticket"]


@pytest.mark.parametrize(
    ("mode", "key_forking"),
    [*((mode, True) for mode in MODES), (FULL, False), (PK, False), (OTWAY_REES, False)],
)
def test_a_kept_ticket_is_used_again_while_the_kms_is_down(
    mode: str, key_forking: bool, grounds: Grounds
) -> None:
    """New keys each time, the KMS asked for the first call only."""
    with ExitStack() as running:
        keys = {"key_forking": key_forking}
        alice, bob = pair(
            running, grounds.calling(mode, keys=keys), grounds.called(mode, keys={"keep_resolved": True})
        )
        first = talk(alice, bob)
        grounds.door.shut = True
        second = talk(alice, bob)
        assert first["peer"] == second["peer"] == uri("bob")
        assert first["ticket"] == second["ticket"]
        assert (asked(alice), asked(bob)) == ASKED[mode]
        assert len({given["send"] for given in alice.events("kit.srtp_keys")}) == 2
        for granted in alice.events("kms.response"):
            assert ("I" in granted["ticket"]["flags"]) == (key_forking and mode != KERBEROS)


@pytest.mark.parametrize("mode", [FULL, PK, KERBEROS, OTWAY_REES, PRESHARED])
def test_the_kms_is_down_and_nothing_is_kept(mode: str, grounds: Grounds) -> None:
    with ExitStack() as running:
        alice, bob = pair(running, grounds.calling(mode), grounds.called(mode))
        grounds.door.shut = True
        if mode == PRESHARED:
            assert talk(alice, bob)["peer"] == uri("bob")
            return
        failed = refused(alice)
        assert failed.reason == "kms-unreachable"
        assert failed.side == ("remote" if mode == OTWAY_REES else "kms")
        assert not bob.keys()


@pytest.mark.parametrize("mode", [FULL, PK, KERBEROS, OTWAY_REES])
def test_the_kms_is_down_and_only_the_caller_has_a_ticket(mode: str, grounds: Grounds) -> None:
    with ExitStack() as running:
        alice, bob = pair(running, grounds.calling(mode), grounds.called(mode))
        alice.do("prefetch", uri=uri("bob"))
        grounds.door.shut = True
        if mode == KERBEROS:
            assert talk(alice, bob)["peer"] == uri("bob")
            return
        failed = refused(alice)
        assert (failed.reason, failed.side) == ("kms-unreachable", "remote")


@pytest.mark.parametrize("mode", [FULL, KERBEROS])
def test_the_kms_is_down_and_tickets_are_for_one_call(mode: str, grounds: Grounds) -> None:
    with ExitStack() as running:
        alice, bob = pair(running, grounds.calling(mode, keys={"reuse": False}), grounds.called(mode))
        talk(alice, bob)
        grounds.door.shut = True
        assert (refused(alice).reason, asked(bob)) == ("kms-unreachable", ASKED[mode][1])


@pytest.mark.parametrize("mode", [FULL, PK, OTWAY_REES, PRESHARED])
def test_a_ticket_is_sent_ahead_of_the_call(mode: str, grounds: Grounds) -> None:
    """By SIP MESSAGE through the proxy; then neither side asks the KMS."""
    with ExitStack() as running:
        alice, bob = pair(running, grounds.calling(mode), grounds.called(mode, keys={"keep_resolved": True}))
        alice.do("register")  # bob's answer is a MESSAGE of its own
        assert alice.do("send_ahead", uri=uri("bob")) == uri("bob")
        grounds.door.shut = True
        assert talk(alice, bob)["peer"] == uri("bob")
        assert (asked(alice), asked(bob)) == ASKED[mode]


@pytest.mark.parametrize("mode", [FULL, PK, KERBEROS, OTWAY_REES])
def test_a_mode_for_one_contact_only(mode: str, grounds: Grounds) -> None:
    """Everybody else would be called in another one."""
    caller = grounds.calling(mode)
    caller["keys"] |= {"modes": {uri("bob"): caller["keys"]["mode"]}, "mode": PRESHARED}
    with ExitStack() as running:
        alice, bob = pair(running, caller, grounds.called(mode))
        assert talk(alice, bob)["peer"] == uri("bob")
        assert (asked(alice), asked(bob)) == ASKED[mode]


@pytest.mark.parametrize("mode", [PK, OTWAY_REES])
def test_a_call_to_a_group_is_answered_by_a_member(mode: str, grounds: Grounds) -> None:
    with ExitStack() as running:
        alice, carol = pair(running, grounds.calling(mode), grounds.called(mode, "carol"), answers="carol")
        security = talk(alice, carol, IT_SUPPORT)
        assert (security["called"], security["peer"]) == (IT_SUPPORT, uri("carol"))
        assert (asked(alice), asked(carol)) == ASKED[mode]


@pytest.mark.parametrize("mode", [KERBEROS, OTWAY_REES])
def test_a_revoked_certificate_at_the_side_that_asks_the_kms(mode: str, grounds: Grounds) -> None:
    """Kerberos-like the caller's, who requests the ticket; Otway-Rees-like the callee's, who resolves it."""
    at_caller = mode == KERBEROS
    revoked = {"certificate": grounds.certificate("dave" if at_caller else "bob", late=True)}
    with ExitStack() as running:
        alice, bob = pair(
            running,
            grounds.calling(mode, keys=revoked if at_caller else {}),
            grounds.called(mode, keys={} if at_caller else revoked),
        )
        failed = refused(alice)
        assert (failed.reason, failed.side) == ("kms-refused", "kms" if at_caller else "remote")
        assert not bob.keys()
