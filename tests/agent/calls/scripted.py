"""A SIP peer that does exactly what a test tells it, with RTP sockets that keep what arrives."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from sipmikey.sip import SipMessage
from tests.agent.processes import WAIT_S


class RtpPorts(asyncio.DatagramProtocol):
    """A pair of UDP ports, even for RTP and odd for RTCP, and the packets that came to them."""

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.port = 0
        self._transports: list[asyncio.DatagramTransport] = []
        self._arrived = asyncio.Event()

    @classmethod
    async def open(cls) -> RtpPorts:
        loop = asyncio.get_running_loop()
        while True:
            ports = cls()
            first, second = _pair()
            if first is None or second is None:
                continue
            ports.port = first.getsockname()[1]
            for sock, kept in ((first, ports.rtp), (second, ports.rtcp)):
                transport, _ = await loop.create_datagram_endpoint(
                    lambda kept=kept, arrived=ports._arrived: _Keeper(kept, arrived),  # type: ignore[misc]
                    sock=sock,
                )
                ports._transports.append(transport)
            return ports

    async def until_rtp(self, count: int) -> None:
        """Return when *count* RTP packets are there."""
        async with asyncio.timeout(WAIT_S):
            while len(self.rtp) < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def until_rtcp(self, count: int = 1) -> None:
        """Return when *count* RTCP packets are there."""
        async with asyncio.timeout(WAIT_S):
            while len(self.rtcp) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def send_rtp(self, packet: bytes, port: int) -> None:
        self._transports[0].sendto(packet, ("127.0.0.1", port))

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


def _pair() -> tuple[socket.socket | None, socket.socket | None]:
    first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    first.bind(("127.0.0.1", 0))
    port = first.getsockname()[1]
    if port % 2 == 0:
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            second.close()
        else:
            return first, second
    first.close()
    return None, None


class _Keeper(asyncio.DatagramProtocol):
    def __init__(self, kept: list[bytes], arrived: asyncio.Event) -> None:
        self._kept, self._arrived = kept, arrived

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._kept.append(data)
        self._arrived.set()


class ScriptedPeer(asyncio.DatagramProtocol):
    """Sends and receives SIP over UDP; answers BYE, CANCEL and PRACK by itself, nothing else."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[SipMessage] = asyncio.Queue()
        self.responses: asyncio.Queue[SipMessage] = asyncio.Queue()
        self.seen: list[SipMessage] = []
        self._sources: dict[int, tuple[str, int]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._branches: set[str] = set()

    @classmethod
    async def open(cls) -> ScriptedPeer:
        peer = cls()
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: peer, local_addr=("127.0.0.1", 0))
        return peer

    @property
    def address(self) -> str:
        assert self._transport is not None
        return "127.0.0.1:{}".format(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not data.strip():
            return
        message = SipMessage.parse(data.decode())
        self._sources[id(message)] = addr
        self.seen.append(message)
        if message.status:
            self.responses.put_nowait(message)
            return
        branch = f"{message.method} {message.first('via')} {message.first('cseq')}"
        if branch in self._branches:
            return
        self._branches.add(branch)
        if message.method in ("BYE", "CANCEL", "PRACK"):
            self.respond(message, 200)
        self.requests.put_nowait(message)

    async def request(self, method: str) -> SipMessage:
        """Return the next request with *method*; others are passed over."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self.requests.get()
                if message.method == method:
                    return message

    async def response(self, least: int = 200) -> SipMessage:
        """Return the next response with a status of at least *least*."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self.responses.get()
                if message.status >= least:
                    return message

    def respond(
        self,
        request: SipMessage,
        status: int,
        *,
        to_tag: str = "",
        sdp: str = "",
        contact: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer *request*; *to_tag* is the branch that answers. *contact*: its Contact, ``""`` for none."""
        to = request.first("to") or ""
        if to_tag and "tag=" not in to:
            to += f";tag={to_tag}"
        lines = [f"SIP/2.0 {status} {'OK' if status < 300 else 'No'}"]
        lines += [f"Via: {via}" for via in request.all("via")]
        lines += [f"From: {request.first('from')}", f"To: {to}", f"Call-ID: {request.first('call-id')}"]
        lines.append(f"CSeq: {request.first('cseq')}")
        contact = f"<sip:{to_tag or 'peer'}@{self.address}>" if contact is None else contact
        lines += [f"Contact: {contact}"] if contact else []
        lines += [f"{name}: {value}" for name, value in headers]
        if sdp:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(sdp.encode())}")
        self._send("\r\n".join(lines) + "\r\n\r\n" + sdp, self._sources[id(request)])

    def send(self, text: str, address: str) -> None:
        """Send a whole message to ``host:port``."""
        host, _, port = address.rpartition(":")
        self._send(text, (host, int(port)))

    def invite(
        self,
        address: str,
        *,
        caller: str,
        called: str,
        sdp: str,
        call_id: str = "scripted",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Send an INVITE from *caller* to *called* at ``host:port``."""
        lines = [
            f"INVITE {called} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{call_id};rport",
            "Max-Forwards: 70",
            f"From: <{caller}>;tag=scripted",
            f"To: <{called}>",
            f"Call-ID: {call_id}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:scripted@{self.address}>",
            *(f"{name}: {value}" for name, value in headers),
            *(("Content-Type: application/sdp",) if sdp else ()),
            f"Content-Length: {len(sdp.encode())}",
        ]
        self.send("\r\n".join(lines) + "\r\n\r\n" + sdp, address)

    def offer_again(
        self, answered: SipMessage, address: str, sdp: str, *, method: str = "INVITE", cseq: int = 2
    ) -> None:
        """Send a re-INVITE or UPDATE within the call that *answered*, a 200 to ``invite``, established.

        *sdp* empty: a re-INVITE without an offer.
        """
        lines = [
            f"{method} {answered.uri('contact')} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{method}again{cseq};rport",
            "Max-Forwards: 70",
            f"From: {answered.first('from')}",
            f"To: {answered.first('to')}",
            f"Call-ID: {answered.first('call-id')}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:scripted@{self.address}>",
            *(("Content-Type: application/sdp",) if sdp else ()),
            f"Content-Length: {len(sdp.encode())}",
        ]
        self.send("\r\n".join(lines) + "\r\n\r\n" + sdp, address)

    def update(self, invite: SipMessage, *, to_tag: str, sdp: str, cseq: int = 1) -> None:
        """Send an UPDATE with an offer, as branch *to_tag* of an INVITE that came here, before its 200."""
        target = invite.uri("contact") or ""
        lines = [
            f"UPDATE {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bKupdate{to_tag}{cseq};rport",
            "Max-Forwards: 70",
            f"From: {invite.first('to')};tag={to_tag}",
            f"To: {invite.first('from')}",
            f"Call-ID: {invite.first('call-id')}",
            f"CSeq: {cseq} UPDATE",
            f"Contact: <sip:{to_tag}@{self.address}>",
            "Content-Type: application/sdp",
            f"Content-Length: {len(sdp.encode())}",
        ]
        self._send("\r\n".join(lines) + "\r\n\r\n" + sdp, self._sources[id(invite)])

    def cancel(self, address: str, *, caller: str, called: str = "sip:bob@example.com") -> None:
        """Send the CANCEL of an INVITE made by ``invite``."""
        lines = [
            f"CANCEL {called} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bKscripted;rport",
            "Max-Forwards: 70",
            f"From: <{caller}>;tag=scripted",
            f"To: <{called}>",
            "Call-ID: scripted",
            "CSeq: 1 CANCEL",
            "Content-Length: 0",
        ]
        self.send("\r\n".join(lines) + "\r\n\r\n", address)

    def acknowledge(self, response: SipMessage, address: str, *, branch: str = "ack", sdp: str = "") -> None:
        """Send the ACK to a final response of an INVITE made here, with the answer *sdp* where one is due."""
        lines = [
            f"ACK {response.uri('contact') or 'sip:' + address} SIP/2.0",
            f"Via: {response.first('via')}" if response.status >= 300
            else f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{branch};rport",
            "Max-Forwards: 70",
            f"From: {response.first('from')}",
            f"To: {response.first('to')}",
            f"Call-ID: {response.first('call-id')}",
            f"CSeq: {(response.first('cseq') or '').partition(' ')[0]} ACK",
            *(("Content-Type: application/sdp",) if sdp else ()),
            f"Content-Length: {len(sdp.encode())}",
        ]  # fmt: skip
        self.send("\r\n".join(lines) + "\r\n\r\n" + sdp, address)

    def _send(self, text: str, address: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), address)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


def description(ports: RtpPorts, *, profile: str = "RTP/SAVP", extra: str = "", media_extra: str = "") -> str:
    """Return an SDP with one audio stream at *ports*; *extra* are session-level lines ending in CRLF."""
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"{extra}m=audio {ports.port} {profile} 8\r\na=rtpmap:8 PCMA/8000\r\n{media_extra}"
    )
