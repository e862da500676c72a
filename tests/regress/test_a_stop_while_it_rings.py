"""Ctrl-C while a call rings refuses it: a user who leaves is not put on the line for it."""

from __future__ import annotations

import signal

import pytest

from tests.cli.commands import Start
from tests.interop.lab.peer import SipPeer, plain_sdp

BOB = "sip:bob@example.com"
WORDS = ["--identity", BOB, "--listen", "127.0.0.1:0", "--null-audio", "--security", "off", "--json"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGHUP])
def test_a_call_that_rings_is_refused_and_not_answered(stop: signal.Signals, command: Start) -> None:
    bob = command("answer", "--auto", "--ring", "60", *WORDS)
    host, _, port = bob.until("agent.ready")["contact"].rpartition("@")[2].rpartition(":")
    to = (host, int(port))
    with SipPeer("alice") as peer:
        invite = peer.invite(BOB, to, body=plain_sdp(40000))
        peer.wait_for(lambda message: message.status == 180, "180")
        bob.process.send_signal(stop)
        final = peer.final(invite, to)
    assert final.status == 480
    assert bob.finish() == 130
    assert not [event for event in bob.seen if event["type"] == "call.answered"]
    assert bob.last("call.end")["status"] == 480
