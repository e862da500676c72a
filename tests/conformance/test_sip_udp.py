"""How the suite calls a user agent over UDP."""

from __future__ import annotations

import socket
import threading

import pytest

from sipmikey.conformance.sip_udp import Caller
from sipmikey.sip import SipMessage

COPIED = ("Via", "From", "To", "Call-ID", "CSeq")
"""What an answer takes from its request, RFC 3261 section 8.2.6.2."""


@pytest.mark.parametrize(
    ("busy", "answers"),
    [("Retry-After: 0 (soon)", [503, 486]), ("Retry-After: soon", [503]), ("X: 0", [503])],
)
def test_a_callee_that_names_a_time_is_called_again(busy: str, answers: list[int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as callee:
        callee.bind(("127.0.0.1", 0))
        callee.settimeout(20)
        called: list[int] = []

        def answer() -> None:
            for status in answers:
                octets, source = callee.recvfrom(65_535)
                invite = SipMessage.parse(octets)
                copied = [
                    f"{name}: {invite.first(name)}" for name in ("Via", "From", "To", "Call-ID", "CSeq")
                ]
                lines = [f"SIP/2.0 {status} No", *copied, busy, "Content-Length: 0", "", ""]
                callee.sendto("\r\n".join(lines).encode(), source)
                called.append(status)
                assert callee.recvfrom(65_535)[0].startswith(b"ACK ")

        thread = threading.Thread(target=answer)
        thread.start()
        caller = Caller("sip:bob@127.0.0.1", callee.getsockname(), timeout_s=20)
        try:
            assert caller.call("sip:alice@127.0.0.1", "v=0\r\n").status == answers[-1]
        finally:
            thread.join()
            caller.close()
    assert called == answers
