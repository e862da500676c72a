"""Transfers through the proxy: the transferred peer calls with a ticket of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture

PACKETS = 20
Three = tuple[Agent, Agent, Agent, str]


@pytest.fixture
def three(
    capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path
) -> Iterator[Three]:
    """alice talks with bob, who lets himself be transferred, as does carol, who waits. The call's number."""
    willing = {"transfer": True}
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, play=other_speech, policy=willing)) as bob,
        Agent("carol", settings("carol", kms, proxy=kamailio, play=speech, policy=willing)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice,
    ):
        for agent in (bob, carol):
            agent.do("register")
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        yield alice, bob, carol, number


def _check_new_leg(alice: Agent, bob: Agent, carol: Agent, capture: Capture) -> None:
    """bob talks with carol on keys from a ticket that he asked for."""
    asked = bob.event("transfer.requested", status=202)
    new = asked["new_call"]
    answered = bob.event("call.answered", call=new)["security"]
    assert answered["peer"] == uri("carol")
    assert answered["ticket"] != alice.events("call.answered")[0]["security"]["ticket"]
    at_carol = carol.event("call.in", caller=uri("bob"))["call"]
    carol.event("media.proven", call=at_carol)
    carol.hear(at_carol, PACKETS)
    security = carol.do("security", call=at_carol)
    assert (security["peer"], security["ticket"]) == (uri("bob"), answered["ticket"])
    carol.do("hangup", call=at_carol)
    bob.event("call.end", call=new)
    tickets = [event["ticket"]["ticket"] for event in bob.events("kms.response") if event["ticket"]]
    assert tickets == [answered["ticket"]]
    offers = referee.mikey_messages(capture, 'sip.Method == INVITE && sip.from.user == "bob"')
    assert len(set(offers)) == 1
    assert referee.sip_faults(capture) == []


def test_blind_transfer(three: Three, capture: Capture) -> None:
    alice, bob, carol, number = three
    alice.do("transfer", call=number, target=uri("carol"))
    assert alice.event("call.end")["reason"] == "transferred"
    _check_new_leg(alice, bob, carol, capture)


def test_attended_transfer(three: Three, capture: Capture) -> None:
    """alice holds bob and asks carol first; then bob takes alice's place in the call with carol."""
    alice, bob, carol, number = three
    alice.do("hold", call=number)
    consultation = alice.call(uri("carol"))
    alice.do("proven", call=consultation)
    alice.do("transfer", call=number, target=consultation)
    for call in (number, consultation):
        assert alice.event("call.end", call=call)["reason"] == "transferred"
    asked = carol.event("replacement.requested")
    assert (asked["caller"], asked["status"]) == (uri("bob"), 200)
    assert carol.event("call.end", call=asked["call"])["reason"] == "replaced"
    _check_new_leg(alice, bob, carol, capture)
    assert capture.count("sip.Method == INVITE && sip.Replaces") >= 1


def test_attended_transfer_to_whom_lets_no_call_be_replaced(
    capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path
) -> None:
    """carol refuses bob's INVITE with Replaces; he is asked to call her beside the call she has."""
    willing = {"transfer": True}
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, play=other_speech, policy=willing)) as bob,
        Agent("carol", settings("carol", kms, proxy=kamailio, play=speech)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice,
    ):
        for agent in (bob, carol):
            agent.do("register")
        number, consultation = alice.call(uri("bob")), alice.call(uri("carol"))
        for call in (number, consultation):
            alice.do("proven", call=call)
        alice.do("transfer", call=number, target=consultation)
        for call in (number, consultation):
            assert alice.event("call.end", call=call)["reason"] == "transferred"
        assert carol.event("replacement.requested")["status"] == 403
        replacing, beside = "2", "3"
        assert bob.event("transfer.requested", new_call=replacing)["status"] == 202
        assert bob.event("call.end", call=replacing)["status"] == 403
        assert bob.event("transfer.requested", new_call=beside)["status"] == 202
        answered = bob.event("call.answered", call=beside)["security"]
        assert answered["peer"] == uri("carol")
        at_carol = carol.event("call.in", caller=uri("bob"))["call"]
        carol.event("call.answered", call=at_carol)
        carol.hear(at_carol, PACKETS)
        carol.do("hangup", call=at_carol)
    assert referee.sip_faults(capture) == []


def test_a_transfer_to_nobody_leaves_the_call_as_it_was(three: Three) -> None:
    alice, _, _, number = three
    with pytest.raises(Failed) as failed:
        alice.do("transfer", call=number, target=uri("dave"))
    assert failed.value.status == 480
    alice.hear(number, alice.do("stats", call=number)["streams"][0]["decrypted"] + PACKETS)
    alice.do("hangup", call=number)


def test_nobody_is_made_to_call_who_has_not_said_so(kamailio: Kamailio, kms: Kms) -> None:
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio)) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        with pytest.raises(Failed) as failed:
            alice.do("transfer", call=number, target=uri("carol"))
        assert (failed.value.reason, failed.value.status) == ("declined", 603)
        assert bob.event("transfer.requested")["status"] == 603
        alice.do("hangup", call=number)
        assert len(bob.events("call.out")) == 0
