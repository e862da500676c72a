"""During the call: hold and resume, rekeying without a gap, DTMF, and what a refresh leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.lab.agents import MOST_LOST, Agent, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import Capture, RtpPacket

PACKETS = 30


class Pair:
    """alice and bob in a call through the proxy. ``call``: its number at each."""

    def __init__(self, alice: Agent, bob: Agent) -> None:
        self.alice = alice
        self.bob = bob
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        self.call = {alice.name: number, bob.name: bob.event("call.answered")["call"]}
        bob.do("proven", call=self.call["bob"])

    def both_hear(self, packets: int = PACKETS) -> None:
        """Return when each has decrypted that many packets more than now."""
        for agent in (self.alice, self.bob):
            call = self.call[agent.name]
            heard = agent.do("stats", call=call)["streams"][0]["decrypted"]
            agent.hear(call, heard + packets)

    def end(self) -> dict[str, dict[str, object]]:
        """Hang up; the final counts of each side's stream."""
        self.alice.do("hangup", call=self.call["alice"])
        self.bob.event("call.end")
        return {agent.name: agent.events("stats")[-1]["streams"][0] for agent in (self.alice, self.bob)}


@pytest.fixture
def pair(capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path) -> Iterator[Pair]:
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, play=other_speech)) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice,
    ):
        bob.do("register")
        yield Pair(alice, bob)


def _check_streams(capture: Capture, agent: Agent) -> list[int]:
    """Every packet of the agent's stream opens with one of the keys it has had; how many with each."""
    history = agent.keys()
    keys = list(dict.fromkeys(given["send"] for given in history))
    packets = capture.rtp()
    key_length = 32 if len(keys[0]) == 92 else 16
    octets = [bytes.fromhex(key) for key in keys]
    first = octets[0]
    stream = srtp.stream_under(packets, first[:key_length], first[key_length:])
    return _count_by_key(stream, [(key[:key_length], key[key_length:]) for key in octets])


def _count_by_key(stream: list[RtpPacket], keys: list[tuple[bytes, bytes]]) -> list[int]:
    counts = [srtp.authentic(stream, key, salt) for key, salt in keys]
    assert sum(counts) == len(stream), (counts, len(stream))
    return counts


def test_hold_and_resume_keep_the_keys(capture: Capture, pair: Pair) -> None:
    pair.both_hear()
    before = {agent.name: agent.sending_key() for agent in (pair.alice, pair.bob)}
    for agent, peer in ((pair.alice, pair.bob), (pair.bob, pair.alice)):
        start, at_peer = agent.now, peer.now
        agent.do("hold", call=pair.call[agent.name])
        agent.event("call.state", state="holding", start=start)
        peer.event("call.state", state="held", start=at_peer)
        agent.do("resume", call=pair.call[agent.name])
        agent.event("call.state", state="talking", start=start)
        peer.event("call.state", state="talking", start=at_peer)
        pair.both_hear()
    assert {agent.name: agent.sending_key() for agent in (pair.alice, pair.bob)} == before
    assert not pair.alice.events("media.rekeyed")
    pair.end()
    assert capture.count("sip.Method == INVITE && sdp.media_attr") >= 6
    assert referee.sip_faults(capture) == []
    for agent in (pair.alice, pair.bob):
        assert len(_check_streams(capture, agent)) == 1


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_rekeying_on_demand_from_either_side(capture: Capture, pair: Pair, who: str) -> None:
    """New keys by CSB update; packets lost at the switch are counted, and sound goes on."""
    pair.both_hear()
    asking, other = (pair.alice, pair.bob) if who == "alice" else (pair.bob, pair.alice)
    old = {agent.name: agent.sending_key() for agent in (pair.alice, pair.bob)}
    asking.do("rekey", call=pair.call[asking.name])
    other.event("media.rekeyed")
    asking.event("media.rekeyed")
    new = {agent.name: agent.sending_key() for agent in (pair.alice, pair.bob)}
    assert all(new[name] != old[name] for name in new)
    pair.both_hear()
    counts = pair.end()
    for agent, peer in ((pair.alice, pair.bob), (pair.bob, pair.alice)):
        by_key = _check_streams(capture, agent)
        assert len(by_key) == 2
        assert min(by_key) >= PACKETS // 2
        sent, heard = counts[agent.name]["sent"], counts[peer.name]["decrypted"]
        assert isinstance(sent, int)
        assert isinstance(heard, int)
        assert sent - heard <= MOST_LOST, f"{sent - heard} packets of {agent.name} lost at the switch"


def test_rekeying_three_times(pair: Pair, capture: Capture) -> None:
    for _ in range(3):
        start = pair.bob.now
        pair.alice.do("rekey", call=pair.call["alice"])
        pair.bob.event("media.rekeyed", start=start)
        pair.both_hear(10)
    pair.end()
    for agent in (pair.alice, pair.bob):
        assert len(_check_streams(capture, agent)) == 4


def test_digits_arrive_protected(capture: Capture, pair: Pair) -> None:
    pair.alice.do("dtmf", call=pair.call["alice"], digits="159#")
    heard = ""
    start = 0
    while heard != "159#":
        heard += pair.bob.event("dtmf.received", start=start)["digit"]
        start = 1 + next(
            at for at in range(start, pair.bob.now) if pair.bob.seen[at]["type"] == "dtmf.received"
        )
        assert "159#".startswith(heard)
    pair.both_hear()
    pair.end()
    types = {packet.payload_type for packet in capture.rtp()}
    assert len(types) == 2, "G.711 and telephone-event"
    key = pair.alice.sending_key()
    packets = [packet for packet in capture.rtp() if packet.payload_type not in (0, 8)]
    assert packets
    for packet in packets:
        assert len(packet.payload) == 4 + 10, "an event and an authentication tag"
        assert packet.payload[0] not in (1, 5, 9, 11) or packet.payload[2:4] != b"\x00\xa0"
    assert key.suite.startswith("AES")
