"""The user is asked about a peer that was not dialled: nothing flows before the user agrees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import IT_SUPPORT
from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.peer import Device, SipPeer, plain_sdp
from tests.interop.lab.talker import Talker

ASK = {"retarget": "ask"}
BOB, CAROL = uri("bob"), uri("carol")
PACKETS = 20


@pytest.fixture
def device(network: Namespace, kms: Kms) -> Iterator[Device]:
    made = Device(kms, "carol", "desk")
    yield made
    made.close()


def _facts(question: dict[str, Any]) -> tuple[str, str, str | None]:
    return question["peer"], question["called"], question["kms"]


def test_somebody_else_is_heard_once_the_user_agrees(
    capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path
) -> None:
    with (
        Agent("carol", settings("carol", kms, proxy=kamailio, play=other_speech)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech, policy=ASK)) as alice,
    ):
        carol.do("register")
        number = alice.do("call", uri=IT_SUPPORT)
        assert _facts(alice.event("policy.question")) == (CAROL, IT_SUPPORT, uri("kms"))
        at_carol = carol.event("call.answered")["call"]
        waiting = alice.do("security", call=number)
        assert (waiting["media"], waiting["peer"]) == ("held", None)
        assert not alice.keys()
        assert carol.do("stats", call=at_carol)["streams"][0]["decrypted"] == 0
        alice.do("decide", call=number, accept=True)
        alice.do("established", call=number)
        alice.do("proven", call=number)
        talking = alice.do("security", call=number)
        assert (talking["called"], talking["peer"]) == (IT_SUPPORT, CAROL)
        carol.hear(at_carol, PACKETS)
        alice.do("hangup", call=number)
        carol.event("call.end")
        key = alice.sending_key()
    assert srtp.stream_under(capture.rtp(), key.key, key.salt)
    assert referee.sip_faults(capture) == []


@pytest.mark.parametrize(
    ("more", "answer", "words"),
    [({}, False, "the user refused"), ({"timeouts": {"decision": 0.5}}, None, "did not decide within 0.5 s")],
    ids=["refused", "nobody there"],
)
def test_who_is_not_wanted_is_hung_up_on(
    more: dict[str, Any], answer: bool | None, words: str, capture: Capture, kamailio: Kamailio, kms: Kms
) -> None:
    with (
        Agent("carol", settings("carol", kms, proxy=kamailio)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, policy=ASK, **more)) as alice,
    ):
        carol.do("register")
        number = alice.do("call", uri=IT_SUPPORT)
        alice.event("policy.question")
        if answer is not None:
            alice.do("decide", call=number, accept=answer)
        with pytest.raises(Failed, match=words) as failed:
            alice.do("established", call=number)
        assert (failed.value.reason, failed.value.side) == ("identity-mismatch", "local")
        assert carol.event("call.end")["side"] == "remote"
        assert not alice.keys()
    ports = {packet.source for packet in capture.rtp()}
    assert len(ports) <= 1, "only carol has sent anything"


def test_early_media_of_somebody_else_waits_too(
    kamailio: Kamailio, kms: Kms, device: Device, speech: Path
) -> None:
    """And so do offers within the call, and what they would change."""
    with (
        SipPeer("carol") as peer,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech, policy=ASK)) as alice,
    ):
        kamailio.bind("carol", peer.contact)
        number = alice.do("call", uri=IT_SUPPORT)
        carol = Talker(peer, device, kamailio)
        answer = carol.answer()
        carol.respond(183, "Session Progress", body=answer)
        assert alice.event("fork.candidate")["peer"] == CAROL
        alice.event("call.ringing")
        assert not alice.keys()
        carol.respond(200, "OK", body=answer)
        peer.request("ACK")
        alice.event("policy.question")
        offer = carol.answerer.session.make_offer(plain_sdp(device.port), rekey=True)
        assert carol.ask("INVITE", body=offer).status == 488
        carol.answerer.session.abandon()
        assert not alice.keys()
        alice.do("decide", call=number, accept=True)
        alice.do("established", call=number)
        assert len(alice.events("policy.question")) == 1
        offer = carol.answerer.session.make_offer(plain_sdp(device.port), rekey=True)
        answer_again = carol.ask("INVITE", body=offer)
        assert answer_again.status == 200
        keyed = carol.answerer.session.receive_answer(answer_again.sdp)
        alice.event("media.rekeyed")
        assert alice.sending_key().key == keyed.media[0].receive.master_key.reveal()
        carol.part(alice, number)


def test_either_side_may_hang_up_while_the_user_is_asked(kamailio: Kamailio, kms: Kms) -> None:
    with (
        Agent("carol", settings("carol", kms, proxy=kamailio)) as carol,
        Agent("alice", settings("alice", kms, proxy=kamailio, policy=ASK)) as alice,
    ):
        carol.do("register")
        for agent, side in ((alice, "local"), (carol, "remote")):
            start = alice.now, carol.now
            number = alice.do("call", uri=IT_SUPPORT)
            alice.event("policy.question", start=start[0])
            at_carol = carol.event("call.answered", start=start[1])["call"]
            agent.do("hangup", call=number if agent is alice else at_carol)
            ended = alice.event("call.end", start=start[0])
            assert (ended["reason"], ended["side"]) == ("hangup", side)
        assert not alice.keys()


@pytest.mark.parametrize("accept", [True, False])
def test_the_user_is_asked_before_a_redirection_is_followed(
    accept: bool, capture: Capture, network: Namespace, kms: Kms, tmp_path: Path, speech: Path
) -> None:
    with (
        Kamailio(tmp_path / "kamailio", moved={"bob": CAROL}) as proxy,
        Agent("carol", settings("carol", kms, proxy=proxy, play=speech)) as carol,
        Agent("alice", settings("alice", kms, proxy=proxy, play=speech, policy=ASK)) as alice,
    ):
        carol.do("register")
        number = alice.do("call", uri=BOB)
        assert _facts(alice.event("policy.question")) == (CAROL, BOB, None)
        assert not carol.events("call.in")
        alice.do("decide", call=number, accept=accept)
        if accept:
            alice.do("proven", call=number)
            assert len(alice.events("policy.question")) == 1, "carol was accepted already"
            alice.do("hangup", call=number)
            carol.event("call.end")
            return
        with pytest.raises(Failed, match="the user refused") as failed:
            alice.do("established", call=number)
        assert failed.value.reason == "identity-mismatch"
        assert not carol.events("call.in")
    assert capture.rtp() == []
