"""An UPDATE with an offer while another offer has no answer yet gets the status of RFC 3311 section 5.2."""

from __future__ import annotations

import re

from tests.cli.commands import Command, Start
from tests.interop.lab.peer import SipPeer, plain_sdp
from tests.interop.lab.sip import SipMessage

BOB = "sip:bob@example.com"
WORDS = ["--listen", "127.0.0.1:0", "--null-audio", "--security", "off", "--json"]


def update(peer: SipPeer, to: tuple[str, int], cseq: str = "77", **fields: str) -> SipMessage:
    """Send an UPDATE with an offer in the dialog of *fields*; return the answer."""
    headers = {
        "Via": f"SIP/2.0/UDP {peer.hostport};branch=z9hG4bKupdate{cseq}", "Max-Forwards": "70",
        **fields, "CSeq": f"{cseq} UPDATE", "Contact": f"<{peer.contact}>", "Content-Type": "application/sdp",
    }  # fmt: skip
    body = plain_sdp(40000)
    start = f"UPDATE sip:x@{to[0]}:{to[1]} SIP/2.0"
    peer.send(SipMessage(start_line=start, headers=tuple(headers.items()), content=body.encode()), to)
    return peer.wait_for(
        lambda message: message.status >= 200 and message["CSeq"] == f"{cseq} UPDATE", "answer"
    )


def test_a_callee_that_has_not_answered_has_the_caller_try_later(command: Start) -> None:
    bob = command("answer", "--auto", "--ring", "60", "--identity", BOB, *WORDS)
    host, _, port = bob.until("agent.ready")["contact"].rpartition("@")[2].rpartition(":")
    to = (host, int(port))
    with SipPeer("alice") as peer:
        invite = peer.invite(BOB, to, body=plain_sdp(40000))
        rings = peer.wait_for(lambda message: message.status == 180, "180")
        same = {name: invite[name] for name in ("From", "Call-ID")}
        answer = update(peer, to, To=rings["To"], **same)
    assert answer.status == 500
    assert 0 <= int(answer["Retry-After"]) <= 10
    bob.process.kill()


def test_a_caller_that_has_no_answer_yet_has_the_peer_wait(command: Start) -> None:
    with SipPeer("bob") as peer:
        words = ["--identity", "sip:alice@example.com", "--via", f"sip:{peer.hostport}", *WORDS]
        alice: Command = command("call", BOB, *words)
        invite = peer.request("INVITE")
        peer.respond(invite, 180, "Ringing", tag="x")
        alice.until("call.ringing")
        found = re.search(r"@([\d.]+):(\d+)", invite["Contact"])
        assert found is not None
        ends = {"From": f"{invite['To']};tag=x", "To": invite["From"], "Call-ID": invite["Call-ID"]}
        to = found[1], int(found[2])
        assert update(peer, to, **ends).status == 491
        # An answer that is not reliable may still change with the 200.
        peer.respond(invite, 183, "Session Progress", tag="x", body=plain_sdp(40000))
        alice.until("call.ringing")
        assert update(peer, to, "78", **ends).status == 491
        peer.respond(invite, 486, "Busy Here", tag="x")
        assert alice.finish() == 1
        assert alice.last("call.end")["reason"] == "busy"
