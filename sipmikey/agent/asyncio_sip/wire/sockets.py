"""The sockets of SIP in asyncio: datagrams, and TCP or TLS connections (RFC 3261 section 18)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sipmikey.agent.asyncio_sip.wire.target import Endpoint, shown
from sipmikey.agent.config import Transport
from sipmikey.sip.framing import PING, PONG, FramingError, StreamFramer

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_LONGEST_QUEUE = 1 << 20
"""Octets that may wait for a peer who does not read; then its connection ends."""

_PONG_S = 10.0
"""Seconds in which a ping is answered where the peer said that it does so (RFC 5626 section 4.4.1)."""


class Flow(Protocol):
    """A way to one peer. ``local``: our address and port, as the peer can use them in Via and Contact."""

    @property
    def transport(self) -> Transport: ...

    @property
    def local(self) -> Endpoint: ...

    @property
    def remote(self) -> Endpoint: ...

    def send(self, octets: bytes) -> None:
        """Send; what cannot be sent is lost, as a datagram would be."""

    def ping(self, *, answered: bool) -> None:
        """Keep it open. *answered*: the peer answers pings, and a connection without an answer is closed."""


class SocketUser(Protocol):
    """What takes the messages of the sockets, and knows their addresses."""

    @property
    def answers_tls(self) -> bool:
        """True where peers can open connections to our TLS port."""

    @property
    def later(self) -> Callable[[float, Callable[[], None]], asyncio.TimerHandle]:
        """Run a callable after so many seconds."""

    def local_of(self, transport: Transport, remote: Endpoint) -> Endpoint:
        """Return our address and port, as *remote* can use them."""

    @property
    def note(self) -> Callable[[bytes, Flow, bool], None]:
        """Log a message that comes or goes (True)."""

    def received(self, octets: bytes, flow: Flow) -> None:
        """Take a message."""

    def send_datagram(self, octets: bytes, remote: Endpoint) -> None:
        """Send by the UDP socket."""

    def respond_elsewhere(self, octets: bytes) -> None:
        """Send a response whose connection is gone."""

    def connected(self, connection: Connection) -> None:
        """Take a connection that stands."""

    def disconnected(self, connection: Connection) -> None:
        """Forget a connection that ended."""


class Datagrams(asyncio.DatagramProtocol):
    """The UDP socket."""

    def __init__(self, user: SocketUser) -> None:
        self._user = user
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not data.strip(b"\r\n\x00"):
            return
        self._user.received(data, UdpFlow(self._user, (str(addr[0]), int(addr[1]))))

    def error_received(self, exc: Exception) -> None:
        _log.info("UDP: %s", exc)


@dataclass(frozen=True, slots=True)
class UdpFlow:
    """The way to one peer by the UDP socket."""

    user: SocketUser
    remote: Endpoint

    @property
    def transport(self) -> Transport:
        return Transport.UDP

    @property
    def local(self) -> Endpoint:
        return self.user.local_of(Transport.UDP, self.remote)

    def send(self, octets: bytes) -> None:
        self.user.note(octets, self, True)
        self.user.send_datagram(octets, self.remote)

    def ping(self, *, answered: bool) -> None:
        self.user.send_datagram(PING, self.remote)


class Connection(asyncio.Protocol):
    """A TCP or TLS connection. *opened*: by us."""

    def __init__(self, user: SocketUser, transport: Transport, *, opened: bool) -> None:
        self._user = user
        self.transport = transport
        self._opened = opened
        self._framer = StreamFramer()
        self._stream: asyncio.Transport | None = None
        self._pong_due: asyncio.TimerHandle | None = None
        self.remote: Endpoint = ("", 0)
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self._stream = transport
        peer = transport.get_extra_info("peername")
        self.remote = (str(peer[0]), int(peer[1]))
        with contextlib.suppress(OSError, AttributeError):
            # An INVITE right behind an ACK would wait for the peer to acknowledge that (Nagle).
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._user.connected(self)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framer.messages(data):
                self._user.received(message, self)
        except FramingError as error:
            _log.info("the connection with %s ends: %s", shown(self.remote), error)
            self.close()
        if self._framer.pings and not self._opened:
            self._write(PONG)
        self._framer.pings = 0
        if self._opened and self._framer.take_pong():
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._answered()
        self._user.disconnected(self)

    @property
    def local(self) -> Endpoint:
        if self.transport is Transport.TLS and not self._user.answers_tls and self._stream is not None:
            # Without a certificate no peer can open a connection to our TLS port: it must use this one.
            name = self._stream.get_extra_info("sockname")
            return str(name[0]), int(name[1])
        return self._user.local_of(self.transport, self.remote)

    def send(self, octets: bytes) -> None:
        if self._stream is None or self.closed:
            self._user.respond_elsewhere(octets)
            return
        if self._stream.get_write_buffer_size() > _LONGEST_QUEUE:
            self.close()
            return
        self._user.note(octets, self, True)
        self._stream.write(octets)

    def _write(self, octets: bytes) -> None:
        if self._stream is not None and not self.closed:
            self._stream.write(octets)

    def ping(self, *, answered: bool) -> None:
        self._write(PING)
        if answered and self._pong_due is None:
            self._pong_due = self._user.later(_PONG_S, self.close)

    async def leave(self) -> None:
        """Close it once what was sent has left."""
        if self._stream is not None:
            self._stream.close()

    def _answered(self) -> None:
        if self._pong_due is not None:
            self._pong_due.cancel()
            self._pong_due = None

    def close(self) -> None:
        self.closed = True
        if self._stream is not None:
            self._stream.abort()
