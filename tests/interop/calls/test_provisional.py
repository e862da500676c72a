"""Provisional responses with and without SDP, reliable ones (PRACK), and an INVITE that offers nothing."""

from __future__ import annotations

from pathlib import Path

from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.peer import Device, SipPeer
from tests.interop.lab.talker import Talker

PACKETS = 10


def _arrived(device: Device, count: int) -> None:
    device.socket.settimeout(10.0)
    for _ in range(count):
        device.socket.recv(2048)


def test_reliable_early_media(
    capture: Capture, kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, device: Device, speech: Path
) -> None:
    """180 without SDP, a reliable 183 with it, PRACK, early media on its keys, and a 200 without SDP."""
    with Agent("alice", settings("alice", kms, proxy=kamailio, play=speech)) as alice:
        number = alice.do("call", uri=uri("bob"))
        bob = Talker(bob_peer, device, kamailio)
        assert "100rel" in bob.invite["Supported"]
        bob.respond(180, "Ringing")
        ringing = alice.event("call.ringing", status=180)
        assert not ringing["early_media"]
        assert not alice.keys()
        bob.respond(183, "Session Progress", body=bob.answer(), headers={"Require": "100rel", "RSeq": "1"})
        prack = bob_peer.request("PRACK")
        assert prack["RAck"] == f"1 {bob.invite['CSeq']}"
        bob_peer.respond(prack, 200, "OK")
        assert alice.event("call.ringing", status=183)["early_media"]
        keyed = alice.event("media.keyed")
        assert keyed["to_tag"] == device.tag
        _arrived(device, PACKETS)
        bob.respond(200, "OK")
        bob_peer.request("ACK")
        alice.do("established", call=number)
        _arrived(device, PACKETS)
        assert len(alice.events("media.keyed")) == 1, "one pair of keys, early and afterwards"
        bob.part(alice, number)
    assert capture.count("sip.Method == PRACK") == 2


def test_a_200_without_sdp_and_no_early_answer_is_refused(
    capture: Capture, kamailio: Kamailio, kms: Kms, bob_peer: SipPeer, device: Device
) -> None:
    with Agent("alice", settings("alice", kms, proxy=kamailio)) as alice:
        number = alice.do("call", uri=uri("bob"))
        bob = Talker(bob_peer, device, kamailio)
        bob.respond(180, "Ringing")
        bob.respond(200, "OK")
        bob_peer.respond(bob_peer.request("BYE"), 200, "OK")
        ended = alice.do("ended", call=number)
        assert ended["reason"] == "answer-missing"
        assert not alice.keys()
    assert capture.rtp() == []


def test_an_invite_without_an_offer_is_refused_with_the_reason(
    capture: Capture, kms: Kms, network: Namespace
) -> None:
    """The caller is the MIKEY Initiator and must offer (an offer in the 200 would turn the roles around)."""
    with Agent("bob", settings("bob", kms)) as bob, SipPeer("alice") as peer:
        to = ("127.0.0.1", bob.port)
        invite = peer.invite(uri("bob"), to, body=None, sender=uri("alice"))
        final = peer.final(invite, to)
        assert final.status == 488
        assert "offer-missing" in final["Warning"]
        assert bob.event("call.end")["reason"] == "offer-missing"
    assert capture.rtp() == []
