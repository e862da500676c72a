"""ICE, STUN and TURN for streams in Python (RFC 8445), by aioice. Needs the extra ``sipmikey[nat]``.

aioice owns the sockets that the peer sees. The media keeps sockets of its own, on the loopback interface, and
packets are carried between the two here, in a thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from sipmikey.nat.candidates import PeerIce
from sipmikey.nat.library import AioiceCandidate, CandidatePair, Connection, get_host_addresses, stun
from sipmikey.nat.path import Candidate, MediaPath
from sipmikey.nat.servers import Address

_log = logging.getLogger("sipmikey.nat.ice")

_GATHER_S = 2
"""How long a server may take to answer; what came by then is offered."""
_MOST_HOST_CANDIDATES = 4
"""Each makes the INVITE longer."""
_MOST_WAITING = 64
_CLOSE_S = 2.0
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServers:
    """The servers to use, with the credentials of the TURN server; None: none."""

    stun: Address | None = None
    turn: Address | None = None
    username: str = ""
    password: str = ""


def local_hosts(bind: str, *, any_address: bool, ipv6: bool) -> tuple[str, ...]:
    """Return the addresses of host candidates: *bind*, or with *any_address* those of this machine."""
    if not any_address:
        return (bind,)
    return tuple(get_host_addresses(use_ipv4=not ipv6, use_ipv6=ipv6)[:_MOST_HOST_CANDIDATES])


class IceThread:
    """The event loop in which ICE runs, in a thread that starts with its first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* in the loop; an exception in it is logged."""
        if self._closed:
            work.close()
            return
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="sipmikey-ice", daemon=True)
            self._thread.start()
        asyncio.run_coroutine_threadsafe(_logged(work), self._loop)

    def close(self) -> None:
        """End what runs in it, and the thread."""
        self._closed = True
        if self._loop is None or self._thread is None:
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result(_CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop = None


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - the other streams go on
        _log.exception("ICE failed")


async def _end_others() -> None:
    """Let what closes streams end, then cancel the rest."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    _, pending = await asyncio.wait(others, timeout=_CLOSE_S / 2) if others else (set(), set())
    for task in pending:
        task.cancel()


class _Connection(Connection):
    """aioice's connection, with host candidates of our choice, whose data goes to *heard* at once."""

    def __init__(self, hosts: tuple[str, ...], heard: Callable[[bytes, int], None], **more: Any) -> None:
        super().__init__(**more)
        self._hosts = hosts
        self._heard = heard

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = _GATHER_S
    ) -> list[AioiceCandidate]:
        """Gather with our addresses, within our time."""
        return await super().get_component_candidates(component, list(self._hosts), _GATHER_S)

    def data_received(self, data: bytes, component: int) -> None:
        """Hand the data on: SRTP decides what is the peer's."""
        self._heard(data, component)

    def selected(self, component: int) -> CandidatePair | None:
        """Return the pair that ICE chose."""
        return self._nominated.get(component)


class _Relay(asyncio.DatagramProtocol):
    """The loopback socket to which the media of a component sends."""

    def __init__(self, component: int, send: Callable[[bytes, int], None]) -> None:
        self._component = component
        self._send = send
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._send(data, self._component)


class IceStream:
    """ICE for one stream. *media*: the loopback ports of its RTP and RTCP sockets.

    *told* is called with the path that ICE chose, in the thread of ICE. Methods are for any thread.
    """

    def __init__(
        self,
        thread: IceThread,
        hosts: tuple[str, ...],
        servers: IceServers,
        media: tuple[int, int],
        told: Callable[[MediaPath], None],
    ) -> None:
        self._thread = thread
        self._hosts = hosts
        self._servers = servers
        self._media = media
        self._told = told
        self._connection: _Connection | None = None
        self._relays: dict[int, _Relay] = {}
        self._waiting: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue(_MOST_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._peer: PeerIce | tuple[Address, Address] | None = None
        self._closed = False
        self._shared = False
        self.attributes: tuple[str, ...] = ()
        self.default: tuple[Address, Address] | None = None
        """Where a peer without ICE would send RTP and RTCP; None while there are no candidates."""
        self.relays: tuple[Address, Address] | None = None
        """Where the media sends its RTP and RTCP."""

    def gather(self, then: Callable[[], None]) -> None:
        """Find our candidates, and call *then* in the thread of ICE; without any where it failed."""
        self._thread.run(self._gather(then))

    async def _gather(self, then: Callable[[], None]) -> None:
        try:
            await self._open()
        except Exception as error:  # noqa: BLE001 - the call goes on without ICE
            _log.warning("no ICE candidates: %s", error)
            self.default = None
        finally:
            then()

    async def _open(self) -> None:
        servers = self._servers
        self._connection = connection = _Connection(
            self._hosts,
            self._heard,
            ice_controlling=True,
            components=2,
            stun_server=servers.stun,
            turn_server=servers.turn,
            turn_username=servers.username or None,
            turn_password=servers.password or None,
        )
        loop = asyncio.get_running_loop()
        ports = []
        for component, port in enumerate(self._media, start=1):
            relay = _Relay(component, self._say)
            transport, _ = await loop.create_datagram_endpoint(
                lambda made=relay: made,  # type: ignore[misc]
                local_addr=(_LOOPBACK, 0),
                remote_addr=(_LOOPBACK, port),
            )
            self._relays[component] = relay
            ports.append(int(transport.get_extra_info("sockname")[1]))
        await connection.gather_candidates()
        defaults = [connection.get_default_candidate(component) for component in (1, 2)]
        if self._closed or None in defaults:
            await self._end()
            return
        self.relays = ((_LOOPBACK, ports[0]), (_LOOPBACK, ports[1]))
        lines = [f"a=candidate:{candidate.to_sdp()}" for candidate in connection.local_candidates]
        self.attributes = (
            f"a=ice-ufrag:{connection.local_username}",
            f"a=ice-pwd:{connection.local_password}",
            *lines,
        )
        first, second = (candidate for candidate in defaults if candidate is not None)
        self.default = ((first.host, first.port), (second.host, second.port))
        self._tasks.append(asyncio.create_task(self._carry()))

    def connect(self, peer: PeerIce, *, controlling: bool, shared: bool) -> None:
        """Look for the best way to *peer*; the same peer again changes nothing. *shared*: RTCP goes on the
        port of RTP."""
        self._shared = shared
        before = self._peer
        if isinstance(before, PeerIce) and (before.ufrag, before.pwd) == (peer.ufrag, peer.pwd):
            return
        self._peer = peer
        self._thread.run(self._connect(peer, controlling=controlling, again=before is not None))

    def knows_another(self, peer: PeerIce) -> bool:
        """Return whether ICE runs with other credentials of the peer: it starts ICE again, or it is another
        branch."""
        known = self._peer
        return isinstance(known, PeerIce) and (known.ufrag, known.pwd) != (peer.ufrag, peer.pwd)

    async def _connect(self, peer: PeerIce, *, controlling: bool, again: bool) -> None:
        connection = self._connection
        if connection is None or self._closed:
            return
        if again:
            _log.info("ICE runs with another peer already")
            return
        connection.ice_controlling = controlling or peer.lite
        connection.remote_is_lite = peer.lite
        connection.remote_username, connection.remote_password = peer.ufrag, peer.pwd
        for value in peer.candidates:
            candidate = AioiceCandidate.from_sdp(value)
            if not (self._shared and candidate.component == 2):
                await connection.add_remote_candidate(candidate)
        await connection.add_remote_candidate(None)
        try:
            await connection.connect()
        except ConnectionError as error:
            if not self._closed:
                _log.warning("ICE found no way to the peer: %s", error)
            return
        pair = connection.selected(1)
        if pair is not None:
            self._told(await self._path(connection, pair))

    async def _path(self, connection: _Connection, pair: CandidatePair) -> MediaPath:
        """Return what the pair is as RFC 8445 section 7.2.5.3.2 counts it: aioice names our base only."""
        local: Address = (pair.local_candidate.host, pair.local_candidate.port)
        kind = Candidate(pair.local_candidate.type)
        if kind is Candidate.HOST:
            request = connection.build_request(pair, nominate=False)
            with contextlib.suppress(stun.TransactionError):
                response, _ = await pair.protocol.request(
                    request, pair.remote_addr, integrity_key=(connection.remote_password or "").encode()
                )
                mapped = response.attributes["XOR-MAPPED-ADDRESS"]
                if (mapped[0], mapped[1]) != local:
                    local = (mapped[0], mapped[1])
                    known = {(one.host, one.port) for one in connection.local_candidates}
                    kind = Candidate.SERVER_REFLEXIVE if local in known else Candidate.PEER_REFLEXIVE
        return MediaPath(
            local=local,
            local_kind=kind,
            remote=pair.remote_addr,
            remote_kind=Candidate(pair.remote_candidate.type),
        )

    def connect_without(self, remote: Address, remote_rtcp: Address) -> None:
        """Send to a peer without ICE, from our default candidates."""
        if self._peer == (remote, remote_rtcp):
            return
        self._peer = (remote, remote_rtcp)
        self._thread.run(self._connect_without(remote, remote_rtcp))

    async def _connect_without(self, *remotes: Address) -> None:
        connection = self._connection
        if connection is None or self._closed:
            return
        for component, (host, port) in enumerate(remotes, start=1):
            default = connection.get_default_candidate(component)
            if default is None:
                return
            foundation = f"peer{port}"
            # A reflexive candidate is sent from its base.
            kind = "relay" if default.type == "relay" else "host"
            base = next(
                one for one in connection.local_candidates if one.component == component and one.type == kind
            )
            await connection.add_remote_candidate(
                AioiceCandidate(foundation, component, "udp", 1, host, port, "host")
            )
            connection.set_selected_pair(component, base.foundation, foundation)

    def _heard(self, data: bytes, component: int) -> None:
        relay = self._relays.get(component)
        if relay is not None and relay.transport is not None and not relay.transport.is_closing():
            relay.transport.sendto(data)

    def _say(self, data: bytes, component: int) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait((data, 1 if self._shared else component))

    async def _carry(self) -> None:
        connection = self._connection
        assert connection is not None
        while True:
            data, component = await self._waiting.get()
            with contextlib.suppress(ConnectionError, OSError):
                await connection.sendto(data, component)

    def close(self) -> None:
        """Give sockets and allocations back."""
        if not self._closed:
            self._closed = True
            self._thread.run(self._end())

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for relay in self._relays.values():
            if relay.transport is not None:
                relay.transport.close()
        if self._connection is not None:
            await self._connection.close()
