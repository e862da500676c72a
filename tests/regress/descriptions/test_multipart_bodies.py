"""SDP beside another part of a multipart body is an offer, and an answer, like any other."""

from __future__ import annotations

import re

from tests.cli.commands import ALICE, BOB, Options, Start
from tests.interop.lab.peer import SipPeer, plain_sdp
from tests.interop.lab.relay import UdpRelay, sip_hook
from tests.interop.lab.sip import SipMessage

IN_CLEAR = ["--security", "off", "--null-audio", "--listen", "127.0.0.1:0", "--json"]
LOCATION = '<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:a@b"/>'


def mixed(sdp: str) -> str:
    """*sdp* as the second of two parts."""
    return (
        f"--part\r\nContent-Type: application/pidf+xml\r\nContent-ID: <here@b>\r\n\r\n{LOCATION}\r\n"
        f"--part\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--part--\r\n"
    )


def as_multipart(message: SipMessage) -> SipMessage:
    return message.with_header("Content-Type", "multipart/mixed;boundary=part").with_content(
        mixed(message.sdp).encode()
    )


def address_of(contact: str) -> tuple[str, int]:
    found = re.search(r"127\.0\.0\.1:(\d+)", contact)
    assert found is not None
    return "127.0.0.1", int(found[1])


def test_an_offer_in_a_multipart_body_is_answered(command: Start) -> None:
    with SipPeer("alice") as peer:
        bob = command("answer", "--auto", "--once", "--identity", BOB, *IN_CLEAR)
        to = address_of(bob.until("agent.ready")["contact"])
        invite = peer.invite(BOB, to, body=plain_sdp(4000), change=as_multipart)
        final = peer.final(invite, to)
        assert (final.status, final.has_sdp) == (200, True)
        peer.in_dialog("BYE", invite, final, to, cseq=2)
        assert bob.finish() == 0


def test_an_answer_in_a_multipart_body_is_taken(command: Start) -> None:
    with SipPeer("bob") as peer:
        alice = command("call", BOB, "--via", f"sip:{peer.hostport}", "--identity", ALICE, *IN_CLEAR)
        invite = peer.request("INVITE")
        headers = {"Content-Type": "multipart/mixed;boundary=part"}
        peer.respond(invite, 200, "OK", tag="x", body=mixed(plain_sdp(4000)), headers=headers)
        alice.until("call.answered")
        alice.process.terminate()
        peer.respond(peer.request("BYE"), 200, "OK")
        assert alice.finish() == 0


def test_a_secured_call_is_set_up_by_multipart_bodies(command: Start, options: Options) -> None:
    """A relay between two agents puts the descriptions of both into multipart bodies."""

    def change(message: SipMessage, way: str) -> SipMessage:
        return as_multipart(message) if message.has_sdp else message

    bob = command("answer", "--auto", "--once", *options(BOB))
    with UdpRelay(address_of(bob.until("agent.ready")["contact"]), hook=sip_hook(change)) as relay:
        via = f"sip:127.0.0.1:{relay.address[1]};transport=udp"
        alice = command("call", BOB, "--via", via, "--duration", "1", *options(ALICE))
        assert alice.finish() == 0, alice.stderr
        assert alice.last("call.end")["security"]["media"] == "proven"
        assert bob.finish() == 0, bob.stderr
