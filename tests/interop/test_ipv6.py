"""IPv6: peers written by hand call each other over it, media and KMS included; what an IPv4 agent says of it.

Agents over IPv6 are in `test_ipv6_agents.py`.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.media.endpoint import MediaLoop
from sipmikey.ticket import FULL_MODE, RequestedKey, TicketGrant, TicketPolicy
from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import PROBE_PORT, Capture
from tests.interop.lab.peer import Device, SipPeer, offer_of, plain_sdp, request_ticket, udp_socket
from tests.interop.lab.rtpengine import Rtpengine
from tests.interop.lab.speech import compare
from tests.interop.lab.talker import Talker
from tests.interop.lab.through_proxy import call, register
from tests.interop.lab.voice import Voice

HERE = "::1"
PACKETS = 130
"""More than the two seconds of speech."""
PCMA = 8
WITHOUT_MIKEY = ("--disable-protocol", "mikey")
AT_LOOPBACK = {"transports": ["udp"]}


def granted(kms: Kms, suite: Suite = SUITE_256) -> TicketGrant:
    """A ticket of alice for bob."""
    policy = TicketPolicy(
        suite=suite,
        flags=FULL_MODE,
        responders=(uri("bob"),),
        kms=IDENTITY,
        initiator=uri("alice"),
        requested_keys=(RequestedKey(length=suite.key_length),),
    )
    return request_ticket(kms, "alice", policy)


def device_of(user: str, tag: str, kms: Kms) -> closing[Device]:
    return closing(Device(kms, user, tag, host=HERE))


def test_a_forked_call_between_two_ipv6_addresses(
    capture: Capture, kamailio: Kamailio, kms6: Kms, speech: Path, other_speech: Path, tmp_path: Path
) -> None:
    """bob's desk gives early media, his mobile answers; the keys are the branch's, the speech arrives."""
    proxy = (HERE, kamailio.port)
    at_alice, at_bob = tmp_path / "at-alice.wav", tmp_path / "at-bob.wav"
    with (
        SipPeer("alice", host=HERE) as alice,
        SipPeer("bob", host=HERE) as desk,
        SipPeer("bob", host=HERE) as mobile,
        device_of("alice", "alice", kms6) as own,
        device_of("bob", "desk", kms6) as first,
        device_of("bob", "mobile", kms6) as second,
        MediaLoop() as loop,
    ):
        for peer in (desk, mobile):
            register(peer, proxy)
        assert sorted(kamailio.contacts("bob")) == sorted([desk.contact, mobile.contact])
        offer, offerer = offer_of(granted(kms6, SUITE_128), uri("bob"), own.port, host=HERE)
        invite = call(alice, uri("bob"), proxy, body=offer)
        asked = {device: peer.request("INVITE") for peer, device in ((desk, first), (mobile, second))}
        answers = {device: device.answer(asked[device], caller=uri("alice")) for device in asked}
        desk.respond(asked[first], 183, "Session Progress", tag=first.tag, body=answers[first][0])
        early = alice.wait_for(lambda message: message.status == 183, "183")
        early_keys = offerer.receive_answer(first.tag, early.sdp)
        mobile.respond(asked[second], 200, "OK", tag=second.tag, body=answers[second][0])
        final = alice.final(invite, proxy)
        assert (final.status, final.tag("To")) == (200, second.tag)
        keyed = offerer.receive_answer(second.tag, final.sdp)
        offerer.choose(second.tag)
        desk.respond(desk.request("CANCEL"), 200, "OK")
        desk.respond(asked[first], 487, "Request Terminated", tag=first.tag)
        mobile.request("ACK")
        assert keyed.media[0].send.master_key == answers[second][1].media[0].receive.master_key
        assert keyed.media[0].send.master_key != early_keys.media[0].send.master_key
        voices = Voice(loop, own, speech, at_alice), Voice(loop, second, other_speech, at_bob)
        voices[0].talk(keyed, (HERE, second.port))
        voices[1].talk(answers[second][1], (HERE, own.port))
        for voice in voices:
            voice.heard(PACKETS)
            voice.stop()
        alice.in_dialog("BYE", invite, final, proxy, cseq=2)
        mobile.respond(mobile.request("BYE"), 200, "OK")
        alice.wait_for(lambda message: message["CSeq"] == "2 BYE", "200 to BYE")
    assert all(compare(*pair).correlation > 0.9 for pair in ((speech, at_bob), (other_speech, at_alice)))
    assert referee.sip_faults(capture) == []
    assert len(set(referee.mikey_messages(capture, "sip.Method == INVITE"))) == 1
    _check_addresses(capture)
    packets = capture.rtp()
    for session, played in ((keyed.media[0].send, speech), (keyed.media[0].receive, other_speech)):
        key, salt = session.master_key.reveal(), session.master_salt.reveal()
        stream = srtp.stream_under(packets, key, salt)
        assert len(stream) >= PACKETS
        assert srtp.authentic(stream, key, salt) == len(stream)
        octets = srtp.decrypt_with_gstreamer(stream, key, salt, tmp_path)
        assert compare(played, srtp.decode_g711(octets, stream[0].payload_type)).correlation > 0.95
    assert capture.rtcp(), "reports go over the same port"


def test_a_relay_joins_an_ipv4_agent_and_an_ipv6_peer(
    capture: Capture,
    relayed: tuple[Kamailio, Rtpengine],
    kms: Kms,
    speech: Path,
    other_speech: Path,
    tmp_path: Path,
) -> None:
    """Either side sees the relay at an address of its own IP version; keys and packets pass as they are."""
    proxy, engine = relayed
    heard = {name: tmp_path / f"at-{name}.wav" for name in ("alice", "bob")}
    says = {"play": speech, "record": heard["alice"], "audio": {"repeat": False}}
    with (
        SipPeer("bob", host=HERE) as bob,
        device_of("bob", "one", kms) as device,
        MediaLoop() as loop,
        Agent("alice", settings("alice", kms, proxy=proxy, keys={"suites": ["128"]}, **says)) as alice,  # type: ignore[arg-type]
    ):
        register(bob, (HERE, proxy.port))
        number = alice.do("call", uri=uri("bob"))
        invite = bob.request("INVITE")
        description = invite.sdp
        assert "\r\nc=IN IP6 ::1\r\n" in description
        sdp, keyed = device.answer(invite, caller=uri("alice"))
        bob.respond(invite, 200, "OK", tag="one", body=sdp)
        bob.request("ACK")
        voice = Voice(loop, device, other_speech, heard["bob"])
        voice.talk(keyed, (HERE, int(description.partition("\r\nm=audio ")[2].split()[0])))
        alice.do("proven", call=number)
        alice.hear(number, PACKETS)
        voice.heard(PACKETS)
        voice.stop()
        ending = alice.start("hangup", call=number)
        bob.respond(bob.request("BYE"), 200, "OK")
        alice.finish(ending)
    assert compare(speech, heard["bob"]).correlation > 0.9
    assert compare(other_speech, heard["alice"]).correlation > 0.8
    assert len(set(referee.mikey_messages(capture, "sip.Method == INVITE"))) == 1
    octets = {version: _rtp_octets(capture, version, engine) for version in ("ip", "ipv6")}
    assert len(octets["ip"] & octets["ipv6"]) >= 2 * PACKETS, "the same packets on both sides"


def _rtp_octets(capture: Capture, version: str, engine: Rtpengine) -> set[bytes]:
    """The RTP that went over *version* to or from the relay."""
    found = capture.datagrams(f"{version} && udp && !icmp && !icmpv6")
    return {
        raw
        for source, target, raw in found
        if (source in engine.ports or target in engine.ports) and raw[0] >> 6 == 2 and raw[1] & 0x7F == PCMA
    }


def _check_addresses(capture: Capture) -> None:
    """Every description is about ::1, and every packet but those of the lab itself is IPv6."""
    said = capture.fields("sdp", "sdp.connection_info", "sdp.owner.address", options=WITHOUT_MIKEY)
    assert len(said) >= 6
    assert {tuple(row) for row in said} == {("IN IP6 ::1", "::1")}
    assert capture.count("ipv6 && http.request.method == POST") >= 2, "the KMS as well"
    probes = f"udp.port == {PROBE_PORT} || sip.Method == OPTIONS || sip.CSeq.method == OPTIONS"
    assert capture.count(f"ip && !({probes})") == 0


def test_an_error_report_is_no_packet(capture: Capture) -> None:
    """What ICMP and ICMPv6 quote of a packet that nobody reads is not a second packet."""
    packet = b"\x80\x08" + bytes(170)
    for host in ("127.0.0.1", HERE):
        with udp_socket(host, 0) as unread:
            port = unread.getsockname()[1]
        with udp_socket(host, 0) as sender:
            sender.sendto(packet, (host, port))
    assert [found.raw for found in capture.rtp()] == [packet, packet]
    assert capture.count(f"(icmp || icmpv6) && !(udp.port == {PROBE_PORT})") == 2


def test_an_ipv4_agent_refuses_an_ipv6_offer(capture: Capture, kms: Kms) -> None:
    """488 with Warning 301 (incompatible network address formats); the KMS is not asked."""
    with Agent("bob", settings("bob", kms, sip=AT_LOOPBACK)) as bob, SipPeer("alice") as alice:
        there = ("127.0.0.1", bob.port)
        for host, status in ((HERE, 488), ("127.0.0.1", 200)):
            sdp, offerer = offer_of(granted(kms), uri("bob"), 9, host=host)
            invite = alice.invite(uri("bob"), there, body=sdp, sender=uri("alice"))
            final = alice.final(invite, there)
            assert final.status == status, final.start_line
            if status == 200:
                offerer.receive_answer("bob", final.sdp)
                alice.in_dialog("BYE", invite, final, there, cseq=2)
                bob.event("call.end", reason="hangup")
                continue
            code, _, text = final["Warning"].split(" ", 2)
            assert code == "301"
            assert text.startswith('"address-family: the media is at ::1')
            assert bob.event("call.end")["reason"] == "address-family"
            assert not bob.events("kms.request")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(
            183, marks=pytest.mark.pjsua2_only("the stack in Python judges the branch by its final response")
        ),
        200,
    ],
)
def test_an_ipv4_agent_ends_a_call_answered_from_ipv6(status: int, network: Namespace, kms: Kms) -> None:
    with (
        SipPeer("bob") as bob,
        closing(Device(kms, "bob", "one")) as device,
        Agent("alice", settings("alice", kms, peer=bob.port, sip=AT_LOOPBACK)) as alice,
    ):
        number = alice.do("call", uri=uri("bob"))
        invite = bob.request("INVITE")
        answerer = device.answerer(invite, caller=uri("alice"))
        sdp, _ = answerer.make_answer(plain_sdp(device.port, host=HERE))
        bob.respond(invite, status, "Answered", tag="one", body=sdp)
        if status == 183:
            bob.respond(bob.request("CANCEL"), 200, "OK", tag="one")
            bob.respond(invite, 487, "Request Terminated", tag="one")
        else:
            bob.respond(bob.request("BYE"), 200, "OK")
        with pytest.raises(Failed) as failed:
            alice.do("established", call=number)
        assert (failed.value.reason, failed.value.side) == ("address-family", "remote")
        assert not alice.keys()


def test_an_offer_within_the_call_cannot_change_the_ip_version(
    kamailio: Kamailio, kms: Kms, speech: Path
) -> None:
    """The re-INVITE is refused, and the call goes on as it was."""
    with (
        SipPeer("bob") as peer,
        closing(Device(kms, "bob", "one")) as device,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice,
    ):
        kamailio.bind("bob", peer.contact)
        number = alice.do("call", uri=uri("bob"))
        bob = Talker(peer, device, kamailio)
        bob.accept()
        alice.do("established", call=number)
        session = bob.answerer.session
        refused = bob.ask("INVITE", body=session.make_offer(plain_sdp(device.port, host=HERE)))
        assert refused.status == 488
        session.abandon()
        assert bob.ask("INVITE", body=session.make_offer(plain_sdp(device.port))).status == 200
        assert len(alice.keys()) == 1
        assert not alice.events("call.end")
        bob.part(alice, number)
