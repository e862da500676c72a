"""The same call between two SIP user agents of this example's own, over UDP with asyncio.

Run it with ``python examples/embedding/udp_call.py``. Each agent has a socket on 127.0.0.1, or the address
that ``--address`` gives (``::1`` for IPv6), on a port that the system picks. Bob's agent asks the KMS while
its INVITE waits: nothing blocks the event loop. With ``--hostile`` somebody between the two strips the
a=key-mgmt line from the INVITE: the call then ends with 488 and no key is made.

The agents are as small as SIP allows: no retransmission, no authentication, one call at a time. What belongs
to ``sipmikey`` is in `Caller.call` and `Callee.invited`; the rest is what your SIP stack does for you.

Exit status: 0 when both agents have the same keys (with ``--hostile``: when the call was refused), else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from memory_kms import MemoryKms
from offer_answer import ALICE, BOB, ENV, KMS, description, get_ticket, mirrored, show

from sipmikey.mikey.errors import PeerError
from sipmikey.sdp import Answerer, Offerer, Session, SessionKeys
from sipmikey.ticket import PreSharedKey, ReplayCache, TicketGrant

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """A SIP message: the start line, headers by their names in lower case, and the body."""

    start: str
    headers: dict[str, str]
    body: str

    @classmethod
    def parse(cls, data: bytes) -> SipMessage:
        """Read a message that an agent of this example wrote."""
        head, _, body = data.decode().partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(start=start, headers={name.lower(): value.strip() for name, _, value in pairs}, body=body)

    def encode(self) -> bytes:
        """Return the octets of the message."""
        headers = self.headers | {"content-length": str(len(self.body.encode()))}
        lines = [self.start, *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()

    @property
    def status(self) -> int:
        """The status code of a response, 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    def reply(self, status: str, *, to_tag: str, body: str = "", **extra: str) -> SipMessage:
        """Return a response to this request."""
        headers = {name: self.headers[name] for name in ("via", "from", "call-id", "cseq")}
        headers |= {"to": f"{self.headers['to']};tag={to_tag}", **extra}
        if body:
            headers["content-type"] = "application/sdp"
        return SipMessage(start=f"SIP/2.0 {status}", headers=headers, body=body)


class Socket(asyncio.DatagramProtocol):
    """A UDP socket that queues what comes; ``tamper`` edits what goes out, as an attacker would."""

    def __init__(self, tamper: Callable[[bytes], bytes] | None = None) -> None:
        self._tamper = tamper
        self._received: asyncio.Queue[tuple[SipMessage, Address]] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport

    @classmethod
    async def open(cls, host: str, tamper: Callable[[bytes], bytes] | None = None) -> Socket:
        """Bind to a free port of a local address."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_datagram_endpoint(lambda: cls(tamper), local_addr=(host, 0))
        return socket

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received.put_nowait((SipMessage.parse(data), addr))

    @property
    def address(self) -> Address:
        """Where this socket is reached."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    @property
    def hostport(self) -> str:
        """The same as SIP writes it: an IPv6 address in brackets."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, message: SipMessage, to: Address) -> None:
        """Send a message."""
        data = message.encode()
        print(f"  {message.start} ({len(data)} octets)")
        self._transport.sendto(data if self._tamper is None else self._tamper(data), to)

    async def receive(self) -> tuple[SipMessage, Address]:
        """Wait for the next message."""
        return await asyncio.wait_for(self._received.get(), timeout=10)

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


async def ask(kms: MemoryKms, message: bytes) -> bytes:
    """Ask the KMS without blocking the loop; a real one is ``await client.request(message)``."""
    return await asyncio.to_thread(kms.ask, message)


class Caller:
    """Alice's agent."""

    def __init__(self, socket: Socket, grant: TicketGrant) -> None:
        self._socket = socket
        self._grant = grant

    async def call(self, callee: Address) -> Session:
        """Call Bob and return the session. Raises a `PeerError` when the answer or the callee refuses."""
        offerer = Offerer(ENV, grant=self._grant, called=BOB)
        invite = self._invite(offerer.make_offer(description("alice", 4000, address=self._socket.address[0])))
        self._socket.send(invite, callee)
        offerer.check_sent(invite.body)
        while True:
            response, _ = await self._socket.receive()
            if response.status >= 300:
                offerer.close()
                raise PeerError(f"{response.start} ({response.headers.get('warning', 'no warning')})")
            if not response.body:
                continue  # 100 Trying, 180 Ringing
            to_tag = response.headers["to"].rpartition("tag=")[2]
            offerer.receive_answer(to_tag, response.body)  # keys of this branch, for early media
            if response.status >= 200:
                self._socket.send(self._request("ACK", 1), callee)
                return offerer.choose(to_tag)

    def bye(self, callee: Address) -> None:
        """End the call."""
        self._socket.send(self._request("BYE", 2), callee)

    def _invite(self, sdp: str) -> SipMessage:
        request = self._request("INVITE", 1)
        headers = request.headers | {"content-type": "application/sdp"}
        return SipMessage(start=request.start, headers=headers, body=sdp)

    def _request(self, method: str, number: int) -> SipMessage:
        here = self._socket.hostport
        headers = {
            "via": f"SIP/2.0/UDP {here};branch=z9hG4bK-{number}",
            "from": f"<{ALICE}>;tag=alice",
            "to": f"<{BOB}>",
            "call-id": "example",
            "cseq": f"{number} {method}",
            "contact": f"<sip:alice@{here}>",
            "max-forwards": "70",
        }
        return SipMessage(start=f"{method} {BOB} SIP/2.0", headers=headers, body="")


class Callee:
    """Bob's agent. Takes one call and returns its keys when the caller hangs up, None if it was refused."""

    def __init__(self, socket: Socket, kms: MemoryKms, credential: PreSharedKey) -> None:
        self._socket = socket
        self._kms = kms
        self._credential = credential
        self._replay = ReplayCache(clock_skew_s=ENV.clock_skew_s)

    async def run(self) -> SessionKeys | None:
        """Serve one call."""
        keyed = None
        while True:
            message, address = await self._socket.receive()
            method = message.start.split()[0]
            if method == "INVITE":
                keyed = await self.invited(message, address)
                if keyed is None:
                    return None
            elif method == "BYE":
                self._socket.send(message.reply("200 OK", to_tag="bob"), address)
                return keyed

    async def invited(self, invite: SipMessage, caller: Address) -> SessionKeys | None:
        """Answer an INVITE: check, ring, ask the KMS, answer with keys; or refuse it with the reason."""
        answerer = Answerer(ENV, identities=[BOB], replay=self._replay)
        try:
            answerer.receive_offer(invite.body or None, sip_caller=invite.headers["from"])
            self._socket.send(invite.reply("180 Ringing", to_tag="bob"), caller)
            while answerer.unresolved:
                question = answerer.make_resolve_init(self._credential, kms=KMS)
                answerer.receive_resolve_resp(await ask(self._kms, question))
        except PeerError as error:
            warning = f'399 example "{error.reason}"'
            status = f"{error.sip_status} Refused"
            self._socket.send(invite.reply(status, to_tag="bob", warning=warning), caller)
            return None
        sdp, keyed = answerer.make_answer(description("bob", 5000, address=self._socket.address[0]))
        ok = invite.reply("200 OK", to_tag="bob", body=sdp)
        self._socket.send(ok, caller)
        answerer.check_sent(ok.body)
        return keyed


def strip_key_mgmt(data: bytes) -> bytes:
    """What an attacker does who hopes that the call will go on in clear."""
    return b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(b"a=key-mgmt"))


async def run(host: str, hostile: bool) -> int:
    kms = MemoryKms(ENV, KMS)
    alices_key, bobs_key = kms.add(ALICE), kms.add(BOB)
    grant = await asyncio.to_thread(get_ticket, kms, alices_key)
    alices_socket = await Socket.open(host, strip_key_mgmt if hostile else None)
    bobs_socket = await Socket.open(host)
    try:
        caller = Caller(alices_socket, grant)
        bob = asyncio.create_task(Callee(bobs_socket, kms, bobs_key).run())
        try:
            session = await caller.call(bobs_socket.address)
        except PeerError as error:
            print(f"the call was refused: {error}")
            return 0 if hostile and await bob is None else 1
        caller.bye(bobs_socket.address)
        bobs = await bob
    finally:
        alices_socket.close()
        bobs_socket.close()
    show("alice", session.keys)
    agreed = bobs is not None and mirrored(session.keys, bobs)
    print("both agents have the same keys" if agreed else "THE KEYS DIFFER")
    return 0 if agreed and not hostile else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="A secured call between two small UDP user agents.")
    parser.add_argument("--hostile", action="store_true", help="strip a=key-mgmt from the INVITE on its way")
    parser.add_argument("--address", default="127.0.0.1", help="local address, IPv4 or IPv6, of both agents")
    options = parser.parse_args()
    return asyncio.run(run(options.address, options.hostile))


if __name__ == "__main__":
    sys.exit(main())
