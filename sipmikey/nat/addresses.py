"""Our address towards the network, and news that it changed or that the machine slept."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum

_NETLINK_GROUPS = 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE of rtnetlink."""

_LOOK_S = 2.0
_SETTLED_S = 0.3
"""An address that goes and one that comes are two news; between them there may be none."""

_SLEPT_S = 5.0
_ANYWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): nothing is sent there."""


class Cause(StrEnum):
    """``ADDRESS``: our address changed. ``WAKING``: the machine slept meanwhile."""

    ADDRESS = "address"
    WAKING = "waking"


@dataclass(frozen=True, slots=True)
class Change:
    """What happened. ``before`` and ``now``: our addresses; the same after a sleep that left us ours."""

    cause: Cause
    before: str
    now: str


def own_address(*, ipv6: bool = False, towards: str = "") -> str:
    """Return the address from which datagrams *towards* an IP address would leave, ``""`` where none would.

    Without *towards*: to anywhere outside. Nothing is sent.
    """
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((towards or _ANYWHERE[family], 9))
        except OSError:
            return ""
        return str(sock.getsockname()[0])


def asleep_s() -> float:
    """Return for how long, since some time, the machine slept: what its clocks disagree by."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boot is None else time.clock_gettime(boot) - time.monotonic()


class AddressWatch:
    """Of the address to anywhere outside. Linux tells of changes at once; elsewhere they are looked for."""

    def __init__(self, *, ipv6: bool = False) -> None:
        self._ipv6 = ipv6
        self._address = self._look()
        self._asleep_s = asleep_s()

    def _look(self) -> str:
        return own_address(ipv6=self._ipv6)

    async def changes(self) -> AsyncIterator[Change]:
        """Yield each change, once there is an address again."""
        news = asyncio.Event()
        with _told_by_kernel(news):
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _LOOK_S)
                    await asyncio.sleep(_SETTLED_S)
                news.clear()
                if (change := self._compare(self._look(), asleep_s())) is not None:
                    yield change

    def _compare(self, now: str, asleep: float) -> Change | None:
        slept = asleep - self._asleep_s > _SLEPT_S
        if not now or (now == self._address and not slept):
            return None
        before, self._address, self._asleep_s = self._address, now, asleep
        return Change(Cause.WAKING if now == before else Cause.ADDRESS, before, now)


def _news_of_kernel() -> socket.socket | None:
    """Return a socket that tells of addresses and routes, None where the system has none."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except (AttributeError, OSError):
        return None
    try:
        sock.setblocking(False)
        sock.bind((0, _NETLINK_GROUPS))
    except OSError:
        sock.close()
        return None
    return sock


@contextlib.contextmanager
def _told_by_kernel(news: asyncio.Event) -> Iterator[None]:
    """Have *news* set when Linux tells of addresses or routes; elsewhere it never is."""
    loop = asyncio.get_running_loop()
    sock = _news_of_kernel()
    if sock is None:
        yield
        return

    def hear() -> None:
        # Too much news at once is news as well.
        with contextlib.suppress(OSError):
            sock.recv(65536)
        news.set()

    with sock:
        loop.add_reader(sock, hear)
        try:
            yield
        finally:
            loop.remove_reader(sock)
