"""Offers within a call: refreshes, UPDATE, another codec, rekeying on time, glare, session timers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab.agents import MOST_LOST, Agent, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.peer import Device, SipPeer, plain_sdp
from tests.interop.lab.sip import SipMessage
from tests.interop.lab.talker import Talker

PACKETS = 20
INTERVAL_S = 3
HASTY_POLICY = f"""
[[rule]]
name = "everybody"
from = ["*"]
to = ["*"]
decision = "allow"

[limits.default]
max_rekeying_interval_s = {INTERVAL_S}
"""


def version(message: SipMessage) -> int:
    """The version in o= of the description in *message*."""
    return int(message.sdp.partition("\r\no=")[2].split()[2])


class Pair:
    """alice and bob in a call through the proxy, both heard. ``call``: its number at each."""

    def __init__(self, alice: Agent, bob: Agent) -> None:
        self.alice, self.bob = alice, bob
        number = alice.call(uri("bob"))
        self.call = {"alice": number, "bob": bob.event("call.answered")["call"]}
        for agent in (alice, bob):
            agent.do("proven", call=self.call[agent.name])

    def do(self, agent: Agent, verb: str, **arguments: Any) -> Any:
        return agent.do(verb, call=self.call[agent.name], **arguments)

    def stream(self, agent: Agent) -> dict[str, Any]:
        return dict(self.do(agent, "stats")["streams"][0])

    def both_hear(self, packets: int = PACKETS) -> None:
        """Return when each has decrypted that many packets more than now."""
        for agent in (self.alice, self.bob):
            agent.hear(self.call[agent.name], self.stream(agent)["decrypted"] + packets)

    def keys(self) -> tuple[Any, ...]:
        """What each side sends with."""
        return tuple(agent.sending_key() for agent in (self.alice, self.bob))

    def end(self) -> None:
        self.do(self.alice, "hangup")
        self.bob.event("call.end")


@contextmanager
def calling(proxy: Kamailio, kms: Kms, speech: Path, other: Path, **more: Any) -> Iterator[Pair]:
    with (
        Agent("bob", settings("bob", kms, proxy=proxy, play=other, **more)) as bob,
        Agent("alice", settings("alice", kms, proxy=proxy, play=speech, **more)) as alice,
    ):
        bob.do("register")
        yield Pair(alice, bob)


@pytest.fixture
def pair(capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path) -> Iterator[Pair]:
    with calling(kamailio, kms, speech, other_speech) as made:
        yield made


def _sides(pair: Pair, who: str) -> tuple[Agent, Agent]:
    return (pair.alice, pair.bob) if who == "alice" else (pair.bob, pair.alice)


def _check_switch(agent: Agent, start: int) -> int:
    """Wait for the account of a change of keys; packets lost at it."""
    switched = agent.event("media.switched", start=start)
    assert switched["received"] >= 10
    assert 0 <= switched["lost"] <= MOST_LOST, switched
    return int(switched["lost"])


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_refreshes_leave_the_keys_alone(capture: Capture, pair: Pair, who: str) -> None:
    """re-INVITE and UPDATE of either side without a change: the same attribute, the same keys."""
    side, _ = _sides(pair, who)
    before = pair.keys()
    for update in (False, True):
        pair.do(side, "refresh", update=update)
        pair.both_hear()
    assert pair.keys() == before
    for agent in (pair.alice, pair.bob):
        assert not agent.events("media.rekeyed")
        assert len(agent.events("media.keyed")) == 1
    pair.end()
    assert len(referee.key_management(capture, "sip.Method == UPDATE")) >= 2
    assert referee.sip_faults(capture) == []


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_rekeying_by_update(capture: Capture, pair: Pair, who: str) -> None:
    """A CSB update in UPDATE (RFC 3311): both have other keys, the loss is told, nothing else is sent."""
    side, other = _sides(pair, who)
    before, fingerprints = pair.keys(), side.events("media.keyed")[-1]
    starts = {agent.name: agent.now for agent in (side, other)}
    pair.do(side, "rekey", update=True)
    for agent in (side, other):
        _check_switch(agent, starts[agent.name])
    assert all(new != old for new, old in zip(pair.keys(), before, strict=True))
    rekeyed = side.events("media.rekeyed")[-1]
    assert rekeyed["send_key"] != fingerprints["send_key"]
    assert rekeyed["send_key"] == other.events("media.rekeyed")[-1]["receive_key"]
    pair.both_hear()
    pair.end()
    assert capture.count("sip.Method == UPDATE") == 2
    assert referee.sip_faults(capture) == []


def test_another_codec_on_the_same_keys(
    capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path
) -> None:
    both = {"codecs": ["PCMA", "PCMU"]}
    with calling(kamailio, kms, speech, other_speech, audio=both) as pair:
        assert {pair.stream(agent)["codec"] for agent in (pair.alice, pair.bob)} == {"PCMA"}
        before = pair.keys()
        pair.alice.do("prefer_codecs", names=["PCMU", "PCMA"])
        pair.do(pair.alice, "refresh")
        pair.both_hear()
        assert {pair.stream(agent)["codec"] for agent in (pair.alice, pair.bob)} == {"PCMU"}
        assert pair.keys() == before
        pair.end()
    packets = capture.rtp()
    assert {packet.payload_type for packet in packets} == {0, 8}
    by_stream: dict[int, list[int]] = {}
    for packet in packets:
        by_stream.setdefault(packet.ssrc, []).append(packet.sequence)
    assert len(by_stream) == 2, "the SSRCs stay"
    for numbers in by_stream.values():
        assert len(set(numbers)) == len(numbers), "no packet index twice under one key"


def test_keys_are_replaced_as_often_as_the_ticket_demands(
    capture: Capture, kamailio: Kamailio, hasty_kms: Kms, speech: Path, other_speech: Path
) -> None:
    """TRr of the KMS's policy: new keys before the interval is over, twice, without the user."""
    with calling(kamailio, hasty_kms, speech, other_speech) as pair:
        starts = {agent.name: 0 for agent in (pair.alice, pair.bob)}
        for _ in range(2):
            for agent in (pair.alice, pair.bob):
                _check_switch(agent, starts[agent.name])
                starts[agent.name] = agent.now
        keyed = pair.alice.events("media.keyed")[0]["at"]
        times = [event["at"] for event in pair.alice.events("media.rekeyed")]
        assert all(0 < after - before < INTERVAL_S for before, after in pairwise([keyed, *times]))
        assert not pair.bob.events("media.expired")
        pair.end()


@pytest.fixture(scope="module")
def hasty_kms(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    """A KMS whose tickets demand new keys every few seconds."""
    made = Kms(tmp_path_factory.mktemp("hasty") / "kms")
    for user in ("alice", "bob"):
        made.add_user(user)
    made.set_policy(HASTY_POLICY)
    with namespace, made:
        yield made


def test_rekeying_again_after_glare(
    kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, device: Device, speech: Path
) -> None:
    """491 to alice's rekeying: it is tried again after the time RFC 3261 has, and then done."""
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        bob = Talker(bob_peer, device, kamailio)
        bob.accept()
        alice.do("established", call=number)
        before = alice.sending_key()
        start = len(bob_peer.received)
        rekeying = alice.start("rekey", call=number)
        refused = bob_peer.request("INVITE", start=start)
        bob_peer.respond(refused, 491, "Request Pending")
        bob_peer.request("ACK", start=start)
        start = len(bob_peer.received)
        again = bob_peer.request("INVITE", start=start)
        assert again.mikey != refused.mikey, "an update of its own"
        assert version(bob.invite) < version(refused), "each change counts (RFC 3264 section 8)"
        assert version(again) > version(bob.invite)
        keyed = bob.take(again)
        alice.finish(rekeying)
        key = alice.sending_key()
        assert key != before
        assert key.key == keyed.media[0].receive.master_key.reveal()
        bob.part(alice, number)


def test_an_offer_that_meets_ours_is_refused(
    kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, device: Device, speech: Path
) -> None:
    """bob's re-INVITE comes while alice's waits for its answer: 491, and alice's succeeds."""
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        bob = Talker(bob_peer, device, kamailio)
        bob.accept()
        alice.do("established", call=number)
        start = len(bob_peer.received)
        rekeying = alice.start("rekey", call=number)
        waiting = bob_peer.request("INVITE", start=start)
        # As long as bob says nothing, the proxy waits four seconds for his answer.
        bob_peer.respond(waiting, 100, "Trying")
        offer = bob.answerer.session.make_offer(plain_sdp(device.port), rekey=True)
        assert bob.ask("INVITE", body=offer).status == 491
        bob.answerer.session.abandon()
        keyed = bob.take(waiting)
        alice.finish(rekeying)
        alice.event("media.rekeyed")
        assert alice.sending_key().key == keyed.media[0].receive.master_key.reveal()
        offer = bob.answerer.session.make_offer(plain_sdp(device.port), rekey=True)
        at = alice.now
        answer = bob.ask("INVITE", body=offer)
        assert answer.status == 200, f"afterwards bob's turn has come: {answer.start_line}"
        assert version(answer) == version(waiting) + 1 == version(bob.invite) + 2
        keyed = bob.answerer.session.receive_answer(answer.sdp)
        alice.event("media.rekeyed", start=at)
        assert alice.sending_key().key == keyed.media[0].receive.master_key.reveal()
        bob.part(alice, number)


def test_session_timers(
    kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, device: Device, speech: Path
) -> None:
    """422 asks for a longer interval; the timer is agreed, and its refreshes leave the keys alone."""
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        first = bob_peer.request("INVITE")
        assert "timer" in first["Supported"]
        assert first["Session-Expires"].startswith("1800")
        bob_peer.respond(first, 422, "Session Interval Too Small", tag="short", headers={"Min-SE": "3600"})
        # The next INVITE comes right behind the ACK.
        start = bob_peer.received.index(bob_peer.request("ACK")) + 1
        bob_peer.request("INVITE", start=start)
        bob_peer.received[:] = bob_peer.received[start:]
        bob = Talker(bob_peer, device, kamailio)
        assert bob.invite["Session-Expires"].startswith("3600")
        assert bob.invite.mikey == first.mikey
        timer = {"Require": "timer", "Session-Expires": "3600;refresher=uas", "Supported": "timer"}
        bob.accept(headers=timer)
        alice.do("established", call=number)
        keys = alice.keys()
        refreshing = {"Supported": "timer", "Session-Expires": "3600;refresher=uac"}
        refreshed = bob.ask("UPDATE", headers=refreshing)
        assert refreshed.status == 200
        assert refreshed["Session-Expires"].startswith("3600")
        assert refreshed.content == b""
        offer = bob.answerer.session.make_offer(plain_sdp(device.port))
        refreshed = bob.ask("INVITE", body=offer, headers=refreshing)
        assert refreshed.status == 200
        bob.answerer.session.receive_answer(refreshed.sdp)
        assert alice.keys() == keys
        bob.part(alice, number)
