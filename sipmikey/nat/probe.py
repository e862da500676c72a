"""Asking STUN and TURN servers whether they are there, and what the way to them tells of the NAT."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from sipmikey.mikey.errors import LocalError
from sipmikey.nat.library import stun, turn
from sipmikey.nat.servers import Address, NatSettings

_WAIT_S = 2.0
_RETRIES = 2
NO_ANSWER = "no answer on UDP"

_SHARE_OF_SECOND = 0.4
"""The part of the time that the second server gets: it only tells the kind of NAT."""


class NatKind(StrEnum):
    """``NONE``: others see our own address. ``ENDPOINT_INDEPENDENT``: one outer port for all peers, so
    that STUN is enough. ``SYMMETRIC``: another port for each peer, so that a TURN server may be needed.
    ``BEHIND``: there is a NAT, and one server does not tell its kind. ``BLOCKED``: no server answers on UDP.
    ``UNKNOWN``: there is no server that tells."""

    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    SYMMETRIC = "symmetric"
    BEHIND = "behind-nat"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """``works``: the server did what it is for. ``address``: what it gave (mapped or relayed).
    ``detail``: why it does not work. ``took_ms``: how long it took."""

    works: bool
    address: Address | None = None
    detail: str = ""
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NatReport:
    """What was found. A server that is not configured is None."""

    kind: NatKind
    local: Address | None
    stun: ServerState | None
    turn: ServerState | None


async def probe(settings: NatSettings, *, bind: str = "", wait_s: float = _WAIT_S) -> NatReport:
    """Ask the servers of *settings*, from the local address *bind*, and wait *wait_s* at most. Never raises
    for a server that does not work."""
    bound, relay = await asyncio.gather(
        _ask_stun(settings, bind, wait_s), ask_turn(settings, wait_s) if settings.turn else _nothing()
    )
    state, local, mapped = bound
    kind = _kind(settings, state, relay, local, mapped)
    return NatReport(kind=kind, local=local, stun=state, turn=relay)


async def _nothing() -> None:
    return None


def _kind(
    settings: NatSettings,
    state: ServerState | None,
    relay: ServerState | None,
    local: Address | None,
    mapped: list[Address],
) -> NatKind:
    if settings.stun_server is None:
        return NatKind.UNKNOWN
    if not mapped:
        asked = [one for one in (state, relay) if one is not None]
        blocked = all(not one.works and one.detail == NO_ANSWER for one in asked)
        return NatKind.BLOCKED if blocked else NatKind.UNKNOWN
    if local is not None and mapped[0] == local:
        return NatKind.NONE
    if len(mapped) < 2:
        return NatKind.BEHIND
    return NatKind.ENDPOINT_INDEPENDENT if len(set(mapped)) == 1 else NatKind.SYMMETRIC


async def _ask_stun(
    settings: NatSettings, bind: str, wait_s: float
) -> tuple[ServerState | None, Address | None, list[Address]]:
    """Ask the STUN server, and from the same socket whatever second address there is to ask."""
    first = settings.stun_server
    if first is None:
        return None, None, []
    started = time.monotonic()
    try:
        async with asyncio.timeout(wait_s):
            target = await _resolved(first)
            with _socket(bind, target) as sock:
                asking = await _Asking.on(sock)
                mapped, other = await asking.mapped(target)
                took_ms = (time.monotonic() - started) * 1e3
                found = [mapped]
                with contextlib.suppress(stun.TransactionError, LocalError, TimeoutError):
                    async with asyncio.timeout(wait_s * _SHARE_OF_SECOND):
                        for second in await _others(settings, target, other):
                            found.append((await asking.mapped(second))[0])
                asking.close()
                local = asking.local
    except (TimeoutError, stun.TransactionError):
        return ServerState(works=False, detail=NO_ANSWER), None, []
    except (OSError, LocalError) as error:
        return ServerState(works=False, detail=str(error)), None, []
    return ServerState(works=True, address=mapped, took_ms=took_ms), local, found


async def _others(settings: NatSettings, first: Address, other: Address | None) -> list[Address]:
    """Addresses other than *first* that answer STUN: the server's second one, or the TURN server."""
    second = other
    if second is None and settings.stun and settings.turn_server is not None:
        second = await _resolved(settings.turn_server)
    return [] if second is None or second == first else [second]


async def ask_turn(settings: NatSettings, wait_s: float = _WAIT_S) -> ServerState:
    """Have the TURN server allocate an address, and give it back."""
    server = settings.turn_server
    assert server is not None
    started = time.monotonic()
    try:
        username, password = settings.credentials(time.time())
        async with asyncio.timeout(wait_s):
            transport, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol, await _resolved(server), username, password.reveal().decode()
            )
            relayed = transport.get_extra_info("sockname")
            transport.close()
    except (TimeoutError, stun.TransactionTimeout):
        return ServerState(works=False, detail=NO_ANSWER)
    except stun.TransactionFailed as error:
        code, reason = error.response.attributes.get("ERROR-CODE", (0, "refused"))
        hint = ": wrong user name or password" if code == 401 else ""
        return ServerState(works=False, detail=f"refused with {code} {reason}{hint}")
    except (OSError, LocalError) as error:
        return ServerState(works=False, detail=str(error))
    took_ms = (time.monotonic() - started) * 1e3
    return ServerState(works=True, address=(relayed[0], relayed[1]), took_ms=took_ms)


async def _resolved(server: Address) -> Address:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(*server, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise LocalError(f"{server[0]}: {error.strerror or error}") from None
    if not found:
        raise LocalError(f"{server[0]}: no address is known")
    host, port = found[0][4][:2]
    return str(host), int(port)


@contextlib.contextmanager
def _socket(bind: str, target: Address) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((bind if bind not in ("0.0.0.0", "::") else "", 0))
        yield sock


class _Asking(asyncio.DatagramProtocol):
    """STUN Binding requests from one socket."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._transactions: dict[bytes, stun.Transaction] = {}
        self.local: Address | None = None

    @classmethod
    async def on(cls, sock: socket.socket) -> _Asking:
        asking = cls()
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: asking, sock=sock.dup())
        return asking

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        with contextlib.suppress(ValueError):
            message = stun.parse_message(data)
            transaction = self._transactions.get(message.transaction_id)
            if transaction is not None:
                transaction.response_received(message, addr)

    def send_stun(self, message: stun.Message, addr: Address) -> None:
        """Send for a transaction; aioice calls it."""
        assert self._transport is not None
        self._transport.sendto(bytes(message), addr)

    async def mapped(self, server: Address) -> tuple[Address, Address | None]:
        """Return our address as *server* sees it, and the server's second address if it names one."""
        assert self._transport is not None
        port = self._transport.get_extra_info("sockname")[1]
        self.local = (_own_host(server), port)
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        transaction = stun.Transaction(request, server, self, retransmissions=_RETRIES)
        self._transactions[request.transaction_id] = transaction
        response, _ = await transaction.run()
        attributes = response.attributes
        seen = attributes.get("XOR-MAPPED-ADDRESS") or attributes.get("MAPPED-ADDRESS")
        if seen is None:
            raise LocalError("the answer names no address")
        other = attributes.get("OTHER-ADDRESS")
        return (seen[0], seen[1]), (other[0], other[1]) if other else None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _own_host(server: Address) -> str:
    """Return the local address from which packets to *server* leave."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(server)
        return str(sock.getsockname()[0])
