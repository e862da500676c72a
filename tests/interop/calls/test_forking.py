"""Forking on a real proxy: every device has keys of its own, and the caller's follow the branch."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sipmikey.sdp import SessionKeys
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import Capture, RtpPacket
from tests.interop.lab.packets.fields import fields
from tests.interop.lab.peer import Device, SipPeer
from tests.interop.lab.sip import SipMessage, changed_mikey

PACKETS = 40
CAPTURED = PACKETS // 2
"""tcpdump may miss some on a busy machine."""


@pytest.fixture
def devices(network: Namespace, kms: Kms) -> Iterator[list[Device]]:
    made = [Device(kms, "bob", tag) for tag in ("first", "second", "third")]
    yield made
    for device in made:
        device.close()


def _arrived(device: Device, count: int) -> None:
    """Wait for *count* packets at the device's RTP port."""
    device.socket.settimeout(10.0)
    for _ in range(count):
        device.socket.recv(2048)


def _check_branch(packets: list[RtpPacket], device: Device, keyed: SessionKeys | None) -> int:
    """Every packet that went to a device opens with that device's keys; how many there were."""
    towards = [packet for packet in packets if packet.destination == device.port]
    if keyed is None or not towards:
        assert towards == []
        return 0
    receive = keyed.media[0].receive
    key, salt = receive.master_key.reveal(), receive.master_salt.reveal()
    assert srtp.authentic(towards, key, salt) == len(towards)
    return len(towards)


def _only_on(branch: str, mikey: bytes) -> bytes:
    field = next(field for field in fields(mikey) if field.name == branch)
    return mikey[: field.end - 1] + bytes((mikey[field.end - 1] ^ 1,)) + mikey[field.end :]


def test_a_call_rings_all_devices_and_one_answers(
    capture: Capture, kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path
) -> None:
    """Two registered devices of bob; the second answers. The first is cancelled and never had keys."""
    with ExitStack() as running:
        first, second = (
            running.enter_context(
                Agent(name, settings("bob", kms, proxy=kamailio, play=other_speech, incoming="ring"))
            )
            for name in ("bob-1", "bob-2")
        )
        alice = running.enter_context(Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)))
        for agent in (first, second, alice):
            agent.do("register")
        assert len(kamailio.contacts("bob")) == 2
        number = alice.do("call", uri=uri("bob"))
        ringing = {agent: agent.incoming()["call"] for agent in (first, second)}
        second.do("answer", call=ringing[second])
        alice.do("established", call=number)
        alice.do("proven", call=number)
        alice.hear(number, PACKETS)
        lost = first.event("call.end")
        assert lost["reason"] == "cancelled"
        assert not first.keys()
        assert alice.keys()[-1]["send"] == second.keys()[-1]["receive"]
        alice.do("hangup", call=number)
        second.event("call.end")
        security = alice.events("call.answered")[0]["security"]
        assert security["peer"] == uri("bob")
    assert referee.sip_faults(capture) == []
    key = alice.sending_key()
    stream = srtp.stream_under(capture.rtp(), key.key, key.salt)
    assert srtp.authentic(stream, key.key, key.salt) == len(stream) >= CAPTURED


def test_early_media_from_two_branches_and_an_answer_from_a_third(
    capture: Capture, kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, devices: list[Device], speech: Path
) -> None:
    """Not one packet towards a branch runs on another branch's keys."""
    keyed: dict[str, SessionKeys] = {}
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        invite = bob_peer.request("INVITE")
        for device in devices[:2]:
            sdp, keyed[device.tag] = device.answer(invite, caller=uri("alice"))
            bob_peer.respond(invite, 183, "Session Progress", tag=device.tag, body=sdp)
            _arrived(device, PACKETS)
        third = devices[2]
        sdp, keyed[third.tag] = third.answer(invite, caller=uri("alice"))
        bob_peer.respond(invite, 200, "OK", tag=third.tag, body=sdp)
        alice.do("established", call=number)
        _arrived(third, PACKETS)
        assert alice.event("fork.committed")["to_tag"] == third.tag
        gone = {event["to_tag"] for event in alice.events("fork.abandoned")}
        assert gone == {devices[0].tag, devices[1].tag}
        bob_peer.respond(_hang_up(alice, number, bob_peer), 200, "OK")
    packets = capture.rtp()
    for device in devices:
        assert _check_branch(packets, device, keyed[device.tag]) >= CAPTURED
    assert {packet.destination for packet in packets} == {device.port for device in devices}


def test_two_answers_in_a_race(
    capture: Capture, kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, devices: list[Device], speech: Path
) -> None:
    """Two 200s before the proxy can cancel either: the loser is acknowledged and hung up on, unheard."""
    pair = devices[:2]
    keyed: dict[str, SessionKeys] = {}
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        invite = bob_peer.request("INVITE")
        answers = {}
        for device in pair:
            answers[device.tag], keyed[device.tag] = device.answer(invite, caller=uri("alice"))
        for device in pair:
            bob_peer.respond(invite, 200, "OK", tag=device.tag, body=answers[device.tag])
        alice.do("established", call=number)
        chosen = alice.event("fork.committed")["to_tag"]
        winner, loser = pair if pair[0].tag == chosen else reversed(pair)
        for device in pair:
            bob_peer.request("ACK", tag=device.tag)
        bob_peer.respond(bob_peer.request("BYE", tag=loser.tag), 200, "OK")
        _arrived(winner, PACKETS)
        bob_peer.respond(_hang_up(alice, number, bob_peer, winner.tag), 200, "OK")
    packets = capture.rtp()
    assert _check_branch(packets, winner, keyed[winner.tag]) >= CAPTURED
    assert [packet for packet in packets if packet.destination == loser.port] == []


def test_a_bad_branch_and_a_good_one(
    capture: Capture, kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, devices: list[Device], speech: Path
) -> None:
    """The first branch's TRANSFER_RESP does not verify: it gets no packet, and the second gets the call."""
    bad, good = devices[:2]
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        invite = bob_peer.request("INVITE")
        sdp, _ = bad.answer(invite, caller=uri("alice"))
        spoilt = changed_mikey(sdp, lambda mikey: _only_on("V MAC", mikey))
        bob_peer.respond(invite, 183, "Session Progress", tag=bad.tag, body=spoilt)
        refused = alice.event("mikey.refused")
        assert (refused["to_tag"], refused["reason"]) == (bad.tag, "auth-failure")
        answer, keyed = good.answer(invite, caller=uri("alice"))
        bob_peer.respond(invite, 200, "OK", tag=good.tag, body=answer)
        alice.do("established", call=number)
        _arrived(good, PACKETS)
        bob_peer.respond(_hang_up(alice, number, bob_peer), 200, "OK")
    packets = capture.rtp()
    assert _check_branch(packets, good, keyed) >= CAPTURED
    assert [packet for packet in packets if packet.destination == bad.port] == []


def _hang_up(alice: Agent, number: str, peer: SipPeer, tag: str | None = None) -> SipMessage:
    start = len(peer.received)
    alice.start("hangup", call=number)
    return peer.request("BYE", tag=tag, start=start)


def test_serial_forking(
    network: Namespace, capture: Capture, kms: Kms, speech: Path, other_speech: Path, tmp_path: Path
) -> None:
    """The first device does not answer in time; the second is tried, and answers the same offer."""
    with (
        Kamailio(tmp_path / "kamailio", serial={"bob": 400}) as proxy,
        Agent("desk", settings("bob", kms, incoming="ring")) as desk,
        Agent("mobile", settings("bob", kms, play=other_speech)) as mobile,
        Agent("alice", settings("alice", kms, proxy=proxy, play=speech)) as alice,
    ):
        proxy.bind("bob", desk.contact, q=1.0)
        proxy.bind("bob", mobile.contact, q=0.5)
        number = alice.do("call", uri=uri("bob"))
        desk.incoming()
        assert not mobile.events()
        alice.do("established", call=number, timeout_s=20.0)
        assert desk.event("call.end")["reason"] == "cancelled"
        alice.do("proven", call=number)
        assert alice.keys()[-1]["receive"] == mobile.keys()[-1]["send"]
        assert not desk.keys()
        alice.do("hangup", call=number)
    offers = referee.mikey_messages(capture, "sip.Method == INVITE")
    assert len(offers) >= 3
    assert len(set(offers)) == 1, "one TRANSFER_INIT for both"


def test_cancel_while_the_kms_is_asked(kamailio: Kamailio, capture: Capture, kms: Kms) -> None:
    """bob's KMS never answers; alice gives up. Nothing hangs, nothing is keyed."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Agent(
            "bob",
            settings(
                "bob",
                kms,
                proxy=kamailio,
                kms_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
                timeouts={"kms": 30.0},
            ),
        ) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
    ):
        bob.do("register")
        number = alice.do("call", uri=uri("bob"))
        bob.event("kms.request")
        ended = alice.do("hangup", call=number)
        assert (ended["reason"], ended["side"]) == ("cancelled", "local")
        assert bob.event("call.end")["reason"] == "cancelled"
        assert not bob.keys()
        assert not alice.keys()
    assert capture.count("sip.Method == CANCEL") == 2
    # alice is gone once her call is over, maybe before the proxy passes it on to her over TCP.
    assert capture.count("sip.Status-Code == 487 && udp") == 1
    assert capture.rtp() == []
