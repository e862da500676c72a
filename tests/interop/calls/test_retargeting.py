"""The peer is the identity that the KMS vouches for, not the one that was called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.conftest import IT_SUPPORT
from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.packets.fields import fields
from tests.interop.lab.peer import Device, SipPeer


def _identity(octets: bytes, role: str) -> str:
    field = next(field for field in fields(octets) if field.name == f"IDR{role} data")
    return octets[field.start : field.end].decode()


def test_it_support_is_answered_by_carol(
    capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path
) -> None:
    """The proxy retargets to carol, a member of the group; alice is shown carol.

    Alice accepts nobody else than who is dialled, but for members of this group.
    """
    policy = {"retarget": "refuse", "groups": [IT_SUPPORT]}
    with (
        Agent("carol", settings("carol", kms, proxy=kamailio, play=other_speech)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech, policy=policy)) as alice,
    ):
        carol.do("register")
        number = alice.call(IT_SUPPORT)
        alice.do("proven", call=number)
        security = alice.do("security", call=number)
        assert (security["called"], security["peer"]) == (IT_SUPPORT, uri("carol"))
        assert security["kms"] == uri("kms")
        assert carol.event("call.in")["caller"] == uri("alice")
        assert alice.event("fork.committed")["peer"] == uri("carol")
        alice.do("hangup", call=number)
        carol.event("call.end")
    offers = referee.mikey_messages(capture, "sip.Method == INVITE")
    answers = referee.mikey_messages(capture, "sip.Status-Code == 200")
    assert {_identity(octets, "r") for octets in offers} == {IT_SUPPORT}, "who was called stays under the MAC"
    assert {_identity(octets, "r") for octets in answers} == {uri("carol")}


def test_policy_may_refuse_another_answerer(capture: Capture, kamailio: Kamailio, kms: Kms) -> None:
    with (
        Agent("carol", settings("carol", kms, proxy=kamailio)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, policy={"retarget": "refuse"})) as alice,
    ):
        carol.do("register")
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=IT_SUPPORT))
        assert failed.value.reason == "identity-mismatch"
        assert carol.event("call.end")["side"] == "remote"
        assert not alice.keys()


def test_somebody_outside_the_group_cannot_answer(kamailio: Kamailio, kms: Kms) -> None:
    """dave's phone gets the call to it-support: the KMS does not resolve its ticket for him."""
    with (
        Agent("dave", settings("dave", kms)) as dave,
        Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
    ):
        kamailio.bind("carol", dave.contact)
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=IT_SUPPORT))
        assert (failed.value.reason, failed.value.status) == ("kms-refused", 500)
        assert not dave.keys()


def test_a_member_cannot_answer_as_another(kamailio: Kamailio, kms: Kms) -> None:
    """carol's TRANSFER_RESP names carol, whatever its SIP headers say: alice sees that."""
    with SipPeer("carol") as peer, Agent("alice", settings("alice", kms, proxy=kamailio)) as alice:
        kamailio.bind("carol", peer.contact)
        device = Device(kms, "carol", "pretender")
        alice.start("call", uri=IT_SUPPORT)
        invite = peer.request("INVITE")
        sdp, _ = device.answer(invite, caller=uri("alice"))
        asserted = {"P-Asserted-Identity": f"<{uri('bob')}>"}
        peer.respond(invite, 200, "OK", tag=device.tag, body=sdp, headers=asserted)
        assert alice.event("call.answered")["security"]["peer"] == uri("carol")
        device.close()
