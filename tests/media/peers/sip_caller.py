"""The caller's side of one SIP call over UDP: INVITE, ACK, BYE, and nothing else."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass, field

PATIENCE_S = 15.0


@dataclass
class SipCaller:
    """Calls ``sip:callee@127.0.0.1:port``; blocking."""

    port: int
    sock: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    to: str = "<sip:callee@127.0.0.1>"
    target: str = ""

    def __post_init__(self) -> None:
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(PATIENCE_S)
        self.target = f"sip:callee@127.0.0.1:{self.port}"

    def invite(self, sdp: str) -> str:
        """Return the SDP of the 200; any other final answer fails the test."""
        self._send("INVITE", 1, sdp)
        head, body = self._final()
        assert head.startswith("SIP/2.0 200"), head
        self.to = self._header(head, "To")
        self.target = self._header(head, "Contact").strip("<>").split(";")[0]
        self._send("ACK", 1)
        return body

    def bye(self) -> None:
        """End the call."""
        self._send("BYE", 2)
        head, _ = self._final()
        assert head.startswith("SIP/2.0 200"), head
        self.sock.close()

    def _send(self, method: str, sequence: int, body: str = "") -> None:
        host, port = self.sock.getsockname()
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:caller@{host}>;tag=caller",
            f"To: {self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {sequence} {method}",
            f"Contact: <sip:caller@{host}:{port}>",
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", body]
        self.sock.sendto("\r\n".join(lines).encode(), ("127.0.0.1", self.port))

    def _final(self) -> tuple[str, str]:
        while True:
            head, _, body = self.sock.recv(65536).decode().partition("\r\n\r\n")
            if not head.startswith("SIP/2.0 1"):
                return head, body

    @staticmethod
    def _header(head: str, name: str) -> str:
        found = re.search(rf"(?im)^{name}:\s*(.*?)\s*$", head)
        assert found is not None, head
        return found.group(1)
