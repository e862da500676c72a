"""The SIP transports of the stack: where it listens, and how a poll that waits there is ended."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from sipmikey.agent.config import ANY_ADDRESS, Sip, Transport
from sipmikey.agent.pjsua.library import pj, reachable, typed
from sipmikey.agent.stack import StackError
from sipmikey.ports import free_port

_TRANSPORTS = {
    Transport.UDP: (pj.PJSIP_TRANSPORT_UDP, pj.PJSIP_TRANSPORT_UDP6),
    Transport.TCP: (pj.PJSIP_TRANSPORT_TCP, pj.PJSIP_TRANSPORT_TCP6),
    Transport.TLS: (pj.PJSIP_TRANSPORT_TLS, pj.PJSIP_TRANSPORT_TLS6),
}

_TLS_VERSIONS = pj.PJ_SSL_SOCK_PROTO_TLS1_2 | pj.PJ_SSL_SOCK_PROTO_TLS1_3
"""pjsip by itself takes 1.0 to 1.2. An OpenSSL without TLS 1.3, as the wheel has, ignores this setting."""


class Transports:
    """SIP over what *sip* names. ``addresses``: ``host:port`` of each; ``numbers``: pjsua's numbers of them.

    *ports*: what to listen on where the configuration leaves it open. In the engine's thread.
    """

    def __init__(self, sip: Sip, endpoint: Any, ports: Mapping[Transport, int]) -> None:
        self._sip = sip
        self._endpoint = endpoint
        self._ports = ports
        self._waker: tuple[socket.socket, tuple[str, int]] | None = None
        self.addresses: dict[Transport, str] = {}
        self.numbers: dict[Transport, int] = {}

    def open(self) -> None:
        """Listen on every transport. Raises ``StackError``."""
        for transport in self._sip.transports:
            self.addresses[transport] = self._listen_anywhere(transport)

    def look_again(self) -> None:
        """Take the addresses that pjsip listens on after a change of ours."""
        for transport, number in self.numbers.items():
            self.addresses[transport] = str(self._endpoint.transportGetInfo(number).localAddress)

    def close(self) -> None:
        """Close our own socket; pjsip closes the transports."""
        if self._waker is not None:
            self._waker[0].close()

    @contextlib.contextmanager
    def over_udp(self) -> Iterator[tuple[str, int]]:
        """Yield an address at which UDP reaches us: our own, or a temporary one."""
        if Transport.UDP in self.addresses:
            yield reachable(self.addresses[Transport.UDP])
            return
        settings = pj.TransportConfig()
        settings.boundAddress = "::1" if self._sip.ipv6 else "127.0.0.1"
        number = self._endpoint.transportCreate(_TRANSPORTS[Transport.UDP][self._sip.ipv6], settings)
        yield reachable(str(self._endpoint.transportGetInfo(number).localAddress))
        self._endpoint.transportClose(number)

    def open_waker(self) -> None:
        """Open what `wake` needs: a socket to our own UDP address, where there is one."""
        if Transport.UDP in self.addresses:
            host, port = reachable(self.addresses[Transport.UDP])
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            self._waker = sock, (host, port)

    @property
    def can_be_woken(self) -> bool:
        """False where nothing but time ends a poll."""
        return self._waker is not None

    def wake(self) -> None:
        """End the poll under way; from any thread.

        A datagram of two empty lines to our own SIP port does it. SIP ignores it: NAT keep-alives look so.
        """
        if self._waker is not None:
            with contextlib.suppress(OSError):
                self._waker[0].sendto(b"\r\n\r\n", self._waker[1])

    def _listen_anywhere(self, transport: Transport) -> str:
        """Listen on the port configured, or on any that is free for UDP and TCP alike.

        A large request to our UDP address comes over TCP (RFC 3261 section 18.1.1), to the same port.
        """
        if transport in self._ports:
            return self._listen(transport, self._ports[transport])
        port = self._sip.port
        if port:
            return self._listen(transport, port + 1 if transport is Transport.TLS else port)
        if transport is Transport.TCP and Transport.UDP in self.addresses:
            with contextlib.suppress(StackError):
                return self._listen(transport, int(self.addresses[Transport.UDP].rpartition(":")[2]))
        if transport is Transport.UDP and Transport.TCP in self._sip.transports:
            with contextlib.suppress(StackError):
                return self._listen(transport, free_port(self._sip.bind))
        return self._listen(transport, 0)

    def _listen(self, transport: Transport, port: int) -> str:
        sip = self._sip
        settings = pj.TransportConfig()
        settings.boundAddress = "" if sip.bind in ANY_ADDRESS else sip.bind
        settings.port = port
        if sip.public_address:
            settings.publicAddress = sip.public_address
        if transport is not Transport.UDP:
            # An INVITE right behind an ACK would wait 40 ms for the peer to acknowledge that (Nagle).
            settings.sockOptParams.sockOpts.append(pj.SockOpt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
        if transport is Transport.TLS:
            tls = settings.tlsConfig
            tls.CaListFile = str(sip.tls.ca_file or "")
            tls.certFile = str(sip.tls.certificate_file or "")
            tls.privKeyFile = str(sip.tls.private_key_file or "")
            tls.verifyServer = sip.tls.verify
            tls.proto = _TLS_VERSIONS
        with typed(f"SIP over {transport} on {sip.bind}:{settings.port}"):
            number = self._endpoint.transportCreate(_TRANSPORTS[transport][sip.ipv6], settings)
            self.numbers[transport] = number
            return str(self._endpoint.transportGetInfo(number).localAddress)
