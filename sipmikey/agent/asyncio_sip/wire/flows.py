"""The ways of SIP to its peers: opened, found again and closed (RFC 3261 section 18)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from sipmikey.agent.asyncio_sip.wire.servers import endpoints, is_address
from sipmikey.agent.asyncio_sip.wire.sockets import Connection, Datagrams, Flow, UdpFlow
from sipmikey.agent.asyncio_sip.wire.target import Endpoint, Target, default_port, shown
from sipmikey.agent.asyncio_sip.wire.websocket import WebSocketFlow, open_websocket
from sipmikey.agent.config import ANY_ADDRESS, WEBSOCKETS, Sip, Transport
from sipmikey.agent.network.names import Names
from sipmikey.agent.screening.arrivals import Connections
from sipmikey.agent.stack import StackError
from sipmikey.nat.addresses import own_address
from sipmikey.ports import free_port
from sipmikey.sip import SipMessage

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_CONNECT_S = 5.0
_CONNECTIONS = 400
_MOST_SERVERS = 4
_SILENT_S = 10.0
_SENT_BY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?", re.ASCII)

Receive = Callable[[bytes, Flow], None]
Reached = Callable[[Flow | None, str], None]
Note = Callable[[bytes, Flow, bool], None]


class Flows:
    """The sockets of one stack. *receive* is given each message, *lost* each connection that ended.

    *woken* is called after each event, *note* with each message, its flow and whether we sent it.

    Call `open` before anything else. Raises ``StackError`` where an address cannot be bound.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sip: Sip,
        receive: Receive,
        woken: Callable[[], None],
        lost: Callable[[Flow], None],
        note: Note,
    ) -> None:
        self._loop = loop
        self._sip = sip
        self._receive = receive
        self._woken = woken
        self._lost = lost
        self.note = note
        self._udp = Datagrams(self)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[tuple[Transport, Endpoint], Connection | WebSocketFlow] = {}
        self._limits = Connections(most=_CONNECTIONS, silent_s=_SILENT_S)
        self._numbers: dict[int, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._locals: dict[str, str] = {}
        self._pending: dict[tuple[Target, frozenset[Endpoint]], list[Reached]] = {}
        self._names = Names(sip) if sip.name_servers else None
        self._websocket_name = f"{secrets.token_hex(8)}.invalid"
        self.later = loop.call_later
        self.ports: dict[Transport, int] = {}

    # Listening

    async def open(self) -> None:
        """Listen on all transports."""
        for transport in self._sip.transports:
            try:
                await self._listen(transport, self._wanted_port(transport))
            except (OSError, ssl.SSLError) as error:
                raise StackError(
                    f"SIP over {transport} on {self._sip.bind}: {error.strerror or error}"
                ) from None

    def _wanted_port(self, transport: Transport) -> int:
        if self._sip.port:
            return self._sip.port + 1 if transport is Transport.TLS else self._sip.port
        both = {Transport.UDP, Transport.TCP} <= set(self._sip.transports)
        if both and transport is not Transport.TLS:
            # A large request to our UDP address comes over TCP, to the same port.
            return next(iter(self.ports.values()), 0) or free_port(self._sip.bind)
        return 0

    async def _listen(self, transport: Transport, port: int) -> None:
        host = self._sip.bind or "0.0.0.0"
        if transport in WEBSOCKETS:
            return
        if transport is Transport.UDP:
            opened, _ = await self._loop.create_datagram_endpoint(lambda: self._udp, local_addr=(host, port))
            self.ports[transport] = int(opened.get_extra_info("sockname")[1])
            return
        context = self._server_context() if transport is Transport.TLS else None
        if transport is Transport.TLS and context is None:
            self.ports[transport] = port
            return
        server = await self._loop.create_server(
            lambda: Connection(self, transport, opened=False), host, port, ssl=context
        )
        self._servers.append(server)
        self.ports[transport] = int(server.sockets[0].getsockname()[1])

    @property
    def answers_tls(self) -> bool:
        """True where peers can open TLS connections to us."""
        return self._sip.tls.certificate_file is not None

    def _server_context(self) -> ssl.SSLContext | None:
        files = self._sip.tls
        if files.certificate_file is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.certificate_file, files.private_key_file)
        return context

    def _client_context(self) -> ssl.SSLContext:
        files = self._sip.tls
        context = ssl.create_default_context(cafile=files.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if files.certificate_file is not None:
            context.load_cert_chain(files.certificate_file, files.private_key_file)
        return context

    @property
    def addresses(self) -> Mapping[Transport, str]:
        """``host:port`` of each transport."""
        host = self._sip.bind or "0.0.0.0"
        own = {transport: shown((host, port)) for transport, port in self.ports.items()}
        return own | {one: self._websocket_name for one in self._sip.transports if one in WEBSOCKETS}

    def local_of(self, transport: Transport, remote: Endpoint) -> Endpoint:
        """Return our address as *remote* can reach it."""
        return self.local_host(remote[0]), self.ports[transport]

    def local_host(self, remote: str) -> str:
        """Return the local address from which *remote* is reached, or the configured one."""
        if self._sip.public_address:
            return self._sip.public_address
        if self._sip.bind not in ANY_ADDRESS:
            return self._sip.bind
        if remote not in self._locals:
            if len(self._locals) > 1000:
                self._locals.clear()
            self._locals[remote] = _route_to(remote)
        return self._locals[remote]

    def forget_routes(self) -> None:
        """Look up again from which local address each peer is reached, and leave all connections behind."""
        self._locals.clear()
        for connection in tuple(self._connections.values()):
            connection.close()
        self._connections.clear()

    # Sending

    def send_datagram(self, octets: bytes, remote: Endpoint) -> None:
        """Send a datagram; one that the kernel does not take is lost."""
        if self._udp.transport is not None and not self._udp.transport.is_closing():
            with contextlib.suppress(OSError):
                self._udp.transport.sendto(octets, remote)

    def reach(self, target: Target, then: Reached, *, tried: frozenset[Endpoint] = frozenset()) -> None:
        """Have *then* called with a flow to *target*; with None, and why, where there is none.

        *tried*: addresses that failed (RFC 3263 section 4.3).
        """
        if is_address(target.host):
            endpoint = (target.host, target.port)
            if endpoint in tried:
                then(None, "")
                return
            if target.transport is Transport.UDP:
                then(UdpFlow(self, endpoint), "")
                return
            if (known := self._known(target.transport, endpoint)) is not None:
                then(known, "")
                return
        key = (target, tried)
        waiting = self._pending.setdefault(key, [])
        waiting.append(then)
        if len(waiting) == 1:
            self._begin(self._reach(target, key))

    def _known(self, transport: Transport, endpoint: Endpoint) -> Flow | None:
        """Return the connection that there is. A Route says ws, whether or not there is TLS below."""
        for one in (transport, *((Transport.WSS,) if transport is Transport.WS else ())):
            known = self._connections.get((one, endpoint))
            if known is not None and not known.closed:
                return known
        return None

    async def _reach(self, target: Target, key: tuple[Target, frozenset[Endpoint]]) -> None:
        flow, why = None, ""
        tried = set(key[1])
        for _ in range(_MOST_SERVERS):
            found: list[Endpoint] = []
            try:
                async with asyncio.timeout(_CONNECT_S):
                    flow = await self._open_flow(target, tried, found)
            except TimeoutError:
                why = f"no connection to {target.host} within {_CONNECT_S:g} s"
            except ssl.SSLError as error:
                why = f"TLS with {target.host}: {error.reason or error}"
            except OSError as error:
                why = error.strerror or str(error)
            if flow is not None or not found:
                break
            # The next server may be there.
            tried.update(found)
        if flow is None and not why and not tried:
            why = f"{target.host} has no address"
        for then in self._pending.pop(key, []):
            then(flow, why)
        self._woken()

    async def _open_flow(self, target: Target, tried: set[Endpoint], found: list[Endpoint]) -> Flow | None:
        """Return a flow to the first address that was not *tried*, noted in *found*; None without another."""
        known_all = endpoints(target, self._names, ipv6=self._sip.ipv6, loop=self._loop)
        async with contextlib.aclosing(known_all) as known_addresses:
            endpoint = None
            async for one in known_addresses:
                if one not in tried:
                    endpoint = one
                    break
        if endpoint is None:
            return None
        found.append(endpoint)
        if target.transport is Transport.UDP:
            return UdpFlow(self, endpoint)
        if (known := self._known(target.transport, endpoint)) is not None:
            return known
        secure = target.transport in (Transport.TLS, Transport.WSS)
        context = self._client_context() if secure else None
        local = None if self._sip.bind in ANY_ADDRESS else (self._sip.bind, 0)
        if target.transport in WEBSOCKETS:
            return await self._open_websocket(target, endpoint, context, local)
        _, connection = await self._loop.create_connection(
            lambda: Connection(self, target.transport, opened=True), *endpoint,
            ssl=context, server_hostname=target.host if context else None, local_addr=local,
        )  # fmt: skip
        return connection

    async def _open_websocket(
        self,
        target: Target,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        local: tuple[str, int] | None,
    ) -> Flow:
        flow = await open_websocket(
            target, endpoint, self._sip.websocket_path, context=context, local=local,
            pause_s=self._sip.keepalive_s,
            made=lambda made: WebSocketFlow(made, target.transport, endpoint, self._websocket_name, self),
        )  # fmt: skip
        self._connections[target.transport, endpoint] = flow
        self._begin(flow.run())
        return flow

    def respond_elsewhere(self, octets: bytes) -> None:
        """Send a response whose connection is gone to where its Via says (RFC 3261 section 18.2.2)."""
        message = SipMessage.parse(octets)
        via = message.top_via
        if not message.status or via is None:
            return
        transport = next((one for one in self._sip.transports if via.transport == one), None)
        found = _SENT_BY.fullmatch(via.sent_by)
        if transport is None or transport in (Transport.UDP, *WEBSOCKETS) or found is None:
            return
        port = int(found[2] or default_port(transport))
        host = (via.parameter("received") or found[1]).strip("[]")
        if port > 65535:
            return
        target = Target(transport=transport, host=host, port=port)

        def send(flow: Flow | None, why: str) -> None:
            if flow is not None:
                flow.send(octets)

        self.reach(target, send)

    def _begin(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What happens

    def received(self, octets: bytes, flow: Flow) -> None:
        """Pass a message on."""
        self.note(octets, flow, False)
        try:
            self._receive(octets, flow)
        except Exception:  # noqa: BLE001 - the other messages go on
            _log.exception("a SIP message could not be handled")
        self._woken()

    def heard(self, flow: Flow) -> None:
        """A message that passed the screen came by *flow*."""
        if isinstance(flow, Connection):
            self._limits.heard(id(flow), self._loop.time())

    def connected(self, connection: Connection) -> None:
        """A connection is there."""
        self._connections[connection.transport, connection.remote] = connection
        self._numbers[id(connection)] = connection
        now = self._loop.time()
        self._limits.opened(id(connection), now)
        if connection._opened:
            self._limits.heard(id(connection), now)
        self.close_idle()

    def disconnected(self, connection: Connection | WebSocketFlow) -> None:
        """A connection is gone."""
        if isinstance(connection, Connection):
            self._limits.closed(id(connection))
            self._numbers.pop(id(connection), None)
        key = (connection.transport, connection.remote)
        if self._connections.get(key) is connection:
            del self._connections[key]
        self._lost(connection)
        self._woken()

    def close_idle(self) -> None:
        """Close connections without a message that passed the screen, and those above the limit."""
        for number in self._limits.due(self._loop.time()):
            if (connection := self._numbers.get(number)) is not None:
                connection.close()

    async def close(self) -> None:
        """Close all sockets."""
        for connection in tuple(self._connections.values()):
            await connection.leave()
        for task in tuple(self._tasks):
            task.cancel()
        for server in self._servers:
            server.close()
        if self._udp.transport is not None:
            self._udp.transport.close()
        await asyncio.sleep(0)


def _route_to(remote: str) -> str:
    """Return the local address of datagrams to *remote*."""
    ipv6 = ":" in remote
    return own_address(ipv6=ipv6, towards=remote) or ("::1" if ipv6 else "127.0.0.1")
