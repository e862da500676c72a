"""What lies between the peers: a media relay, sizes that need TCP, NAT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sipmikey.testing.stacks import stack_of
from tests.interop.lab.agents import Agent, Failed, settings, wait_until
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.relay import Direction, UdpRelay
from tests.interop.lab.rtpengine import Rtpengine

PACKETS = 40


def test_a_media_relay_passes_attribute_and_packets_untouched(
    capture: Capture, relayed: tuple[Kamailio, Rtpengine], kms: Kms, speech: Path, other_speech: Path
) -> None:
    proxy, engine = relayed
    with (
        Agent("bob", settings("bob", kms, proxy=proxy, play=other_speech)) as bob,
        Agent("alice", settings("alice", kms, proxy=proxy, play=speech)) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        alice.hear(number, PACKETS)
        bob.hear(bob.event("call.answered")["call"], PACKETS)
        alice.do("hangup", call=number)
        bob.event("call.end")
    offers = referee.mikey_messages(capture, "sip.Method == INVITE")
    assert len(offers) >= 2
    assert len(set(offers)) == 1, "one TRANSFER_INIT, the same before and after the relay"
    assert len(set(referee.mikey_messages(capture, "sip.Status-Code == 200"))) == 1
    assert capture.count('sdp.media_attribute.field == "crypto"') == 0
    assert capture.count('sdp.media_attribute.field == "fingerprint"') == 0
    packets = capture.rtp()
    into = [packet for packet in packets if packet.destination in engine.ports]
    out = [packet for packet in packets if packet.source in engine.ports]
    assert len(into) + len(out) == len(packets), "no packet past the relay"
    octets = {packet.raw for packet in into}
    assert len(out) >= 2 * PACKETS
    assert all(packet.raw in octets for packet in out)
    for agent in (alice, bob):
        key = agent.sending_key()
        stream = srtp.stream_under(out, key.key, key.salt)
        assert srtp.authentic(stream, key.key, key.salt) == len(stream)


def test_a_large_invite_goes_over_tcp(capture: Capture, kamailio: Kamailio, kms: Kms) -> None:
    """With both transports an INVITE over 1300 octets goes over TCP (RFC 3261 section 18.1.1)."""
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio)) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
    ):
        for agent in (bob, alice):
            agent.do("register")
        number = alice.call(uri("bob"))
        assert alice.do("security", call=number)["signalling"] == "tcp"
        alice.do("hangup", call=number)
        bob.event("call.end")
    assert capture.count(f"sip.Method == INVITE && tcp.dstport == {kamailio.port}") >= 1
    assert capture.count(f"sip.Method == INVITE && udp.dstport == {kamailio.port}") == 0
    assert capture.count(f"sip.Method == REGISTER && udp.dstport == {kamailio.port}") >= 2


def test_a_large_invite_goes_over_udp_where_there_is_no_tcp(
    capture: Capture, kamailio: Kamailio, kms: Kms
) -> None:
    udp = {"sip": {"transports": ["udp"]}}
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, **udp)) as bob,  # type: ignore[arg-type]
        Agent("alice", settings("alice", kms, proxy=kamailio, **udp)) as alice,  # type: ignore[arg-type]
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        assert alice.do("security", call=number)["signalling"] == "udp"
        alice.do("hangup", call=number)
        bob.event("call.end")
    sizes = capture.fields("sip.Method == INVITE && udp", "udp.length")
    assert sizes
    assert all(int(row[0]) > 1300 for row in sizes)


@pytest.mark.pjsua2_only("pjsip sends no message over 4000 octets; the stack in Python does, over TCP")
@pytest.mark.parametrize("filler", [2150, 2500], ids=["with credentials", "at once"])
def test_an_invite_that_does_not_fit_is_a_reason(
    filler: int, capture: Capture, kamailio: Kamailio, kms: Kms
) -> None:
    """pjsip sends no message over 4000 octets; the first INVITE fits in one case, the second never does."""
    sip = {"headers": {"X-Filler": "x" * filler}}
    with Agent("alice", settings("alice", kms, proxy=kamailio, sip=sip)) as alice:
        with pytest.raises(Failed) as failed:
            alice.call(uri("bob"))
        assert (failed.value.reason, failed.value.side) == ("message-too-large", "local")
        assert "fewer streams" in failed.value.detail
        ended = alice.event("call.end")
        assert (ended["reason"], ended["status"]) == ("message-too-large", 513)
        assert len(alice.events("call.end")) == 1
    sent = capture.count(f"sip.Method == INVITE && tcp.dstport == {kamailio.port}")
    assert sent == (1 if filler == 2150 else 0)
    assert capture.rtp() == []


def test_many_codecs_in_many_streams(capture: Capture, kamailio: Kamailio, kms: Kms) -> None:
    """Nearly all there is: a description over the 1 kB that pjsua2 hands out, an INVITE that fits."""

    def audio(user: str) -> dict[str, Any]:
        more = ["opus"] if stack_of(uri(user)) == "python" else ["GSM", "SPEEX"]
        return {"streams": 4, "codecs": ["PCMA", "PCMU", "G722", *more]}

    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, audio=audio("bob"))) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio, audio=audio("alice"))) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        for agent in (alice, bob):
            agent.event("media.keyed", index=3)
            assert [event["index"] for event in agent.events("media.keyed")] == [0, 1, 2, 3]
        alice.do("hangup", call=number)
        bob.event("call.end")
    sizes = [int(row[0]) for row in capture.fields("sip.Method == INVITE && tcp", "tcp.len")]
    assert sizes
    assert all(3000 < size < 4000 for size in sizes)
    assert len(set(referee.mikey_messages(capture, "sip.Method == INVITE"))) == 1


def test_behind_a_nat(kamailio: Kamailio, kms: Kms) -> None:
    """bob's address is another outside: rport tells him, his contact says so, and he keeps the way open."""
    keep_alives: list[bytes] = []

    def count(data: bytes, way: Direction) -> bytes:
        if way == "forward" and not data.strip():
            keep_alives.append(data)
        return data

    with UdpRelay(("127.0.0.1", kamailio.port), hook=count) as nat:
        inside = {
            "transports": ["udp"],
            "proxy": "sip:{}:{};lr".format(*nat.address),
            "keepalive_s": 1,
        }
        with (
            Agent("bob", settings("bob", kms, proxy=kamailio, sip=inside)) as bob,
            Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
        ):
            bob.do("register")
            wait_until(lambda: _outside(kamailio, bob), "bob's contact as it is outside")
            before = nat.passed["back"]
            number = alice.call(uri("bob"))
            assert nat.passed["back"] > before, "the INVITE came through the NAT"
            alice.do("hangup", call=number)
            bob.event("call.end")
            wait_until(lambda: len(keep_alives) >= 2, "two keep-alives")


def _outside(proxy: Kamailio, agent: Agent) -> bool:
    contacts = proxy.contacts(agent.name)
    return len(contacts) == 1 and f":{agent.port}" not in contacts[0]
