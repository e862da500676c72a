"""A callee written out by hand that stays in the call: it answers and asks within the dialog."""

from __future__ import annotations

from collections.abc import Mapping

from sipmikey.sdp import SessionKeys
from tests.interop.lab.agents import Agent
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import uri
from tests.interop.lab.peer import Device, SipPeer, plain_sdp
from tests.interop.lab.sip import SipMessage

Headers = tuple[tuple[str, str], ...]


class Talker:
    """A bob behind the proxy with the keys of a real one, called by alice. ``invite`` is her INVITE."""

    def __init__(self, peer: SipPeer, device: Device, proxy: Kamailio) -> None:
        self.peer, self.device = peer, device
        self._proxy = ("127.0.0.1", proxy.port)
        self._cseq = 100
        self.invite = peer.request("INVITE")
        self.answerer = device.answerer(self.invite, caller=uri("alice"))

    def answer(self) -> str:
        """The SDP that answers the INVITE."""
        return self.answerer.make_answer(plain_sdp(self.device.port))[0]

    def respond(
        self, status: int, reason: str, *, body: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer the INVITE."""
        self.peer.respond(self.invite, status, reason, tag=self.device.tag, body=body, headers=headers)

    def accept(self, *, headers: Mapping[str, str] | None = None) -> None:
        self.respond(200, "OK", body=self.answer(), headers=headers)
        self.peer.request("ACK")

    def take(self, request: SipMessage) -> SessionKeys:
        """Answer an offer within the call."""
        session = self.answerer.session
        session.receive_offer(request.sdp)
        sdp, keyed = session.make_answer(plain_sdp(self.device.port))
        self.peer.respond(request, 200, "OK", body=sdp)
        return keyed

    def ask(self, method: str, *, body: str = "", headers: Mapping[str, str] | None = None) -> SipMessage:
        """Send a request to alice within the call; her final response, acknowledged."""
        self._cseq += 1
        number = f"{self._cseq} {method}"
        lines = [*self._lines(self._cseq, method), *(headers or {}).items()]
        if body:
            lines.append(("Content-Type", "application/sdp"))
        self._send(method, tuple(lines), body)
        response = self.peer.wait_for(
            lambda message: message.status >= 200 and message["CSeq"] == number,
            f"final response to {method}",
        )
        if method == "INVITE":
            # The ACK to a failure belongs to the INVITE's transaction and has its branch.
            branch = "" if response.status >= 300 else "ack"
            self._send("ACK", self._lines(self._cseq, "ACK", branch=branch), "")
        return response

    def _lines(self, cseq: int, method: str, *, branch: str = "") -> Headers:
        return (
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{self.peer.port};rport;branch=z9hG4bKtalker{cseq}{branch}"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.invite.all("Record-Route")),
            ("From", f"{self.invite['To']};tag={self.device.tag}"),
            ("To", self.invite["From"]),
            ("Call-ID", self.invite["Call-ID"]),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<{self.peer.contact}>"),
        )

    def _send(self, method: str, lines: Headers, body: str) -> None:
        target = self.invite["Contact"].partition("<")[2].partition(">")[0]
        start = f"{method} {target} SIP/2.0"
        self.peer.send(SipMessage(start_line=start, headers=lines, content=body.encode()), self._proxy)

    def part(self, alice: Agent, number: str) -> None:
        """Let alice hang up."""
        start = len(self.peer.received)
        alice.start("hangup", call=number)
        self.peer.respond(self.peer.request("BYE", start=start), 200, "OK")
        alice.event("call.end")
