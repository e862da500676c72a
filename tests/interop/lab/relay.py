"""A UDP relay between two peers: it delays, reorders, loses and changes datagrams."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from sipmikey.sip import SipMalformed
from tests.interop.lab.sip import SipMessage

Direction = Literal["forward", "back"]
Address = tuple[str, int]
Hook = Callable[[bytes, Direction], bytes | list[bytes] | None]
"""Given a datagram and its way: what to pass on (several in order), or None to swallow it."""

LONGEST_DATAGRAM = 65535
RECEIVE_BUFFER = 1 << 21
HELD_BACK_SECONDS = 0.03
"""How much later a reordered packet goes: the next one of a voice stream overtakes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a path does to packets. Times in seconds, shares from 0 to 1."""

    delay: float = 0.0
    jitter: float = 0.0
    """Up to this much more delay, evenly spread: packets closer together than this change places."""
    reordered: float = 0.0
    """Share of packets held back by `HELD_BACK_SECONDS`."""
    lost: float = 0.0


class UdpRelay:
    """Listens on *port* (0: any) and passes datagrams to *target*, the answers back to the sender.

    A thread of its own; a context manager. ``target`` may be changed while it runs. Random
    choices come from *seed*.
    """

    def __init__(
        self,
        target: Address,
        *,
        port: int = 0,
        hook: Hook | None = None,
        network: Network | None = None,
        seed: int = 0,
    ) -> None:
        self.target = target
        self._hook = hook
        self._network = network or Network()
        self._random = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._front = _socket(port)
        self._backs: dict[Address, socket.socket] = {}
        self._waiting: list[tuple[float, int, socket.socket, bytes, Address]] = []
        self._number = itertools.count()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, self._woken)
        self._thread = threading.Thread(target=self._run, name="udp-relay", daemon=True)
        self.passed: dict[Direction, int] = {"forward": 0, "back": 0}
        self.errors: list[Exception] = []

    @property
    def address(self) -> Address:
        """Where to send what shall reach the target."""
        host, port = self._front.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._wake.close()
        self._thread.join()
        for opened in (self._front, self._woken, *self._backs.values()):
            opened.close()
        self._selector.close()
        if self.errors:
            raise self.errors[0]

    def _run(self) -> None:
        while True:
            timeout = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            for key, _ in self._selector.select(timeout):
                if key.data is self._woken:
                    return
                self._receive(key.fileobj, key.data)  # type: ignore[arg-type]
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, out, data, to = heapq.heappop(self._waiting)
                with contextlib.suppress(ConnectionRefusedError):
                    out.sendto(data, to)

    def _receive(self, arrived: socket.socket, client: Address | None) -> None:
        try:
            data, sender = arrived.recvfrom(LONGEST_DATAGRAM)
        except ConnectionRefusedError:
            return
        if client is None:
            if sender not in self._backs:
                self._backs[sender] = _socket(0)
                self._selector.register(self._backs[sender], selectors.EVENT_READ, sender)
            self._pass("forward", data, self._backs[sender], self.target)
        else:
            self._pass("back", data, self._front, client)

    def _pass(self, way: Direction, data: bytes, out: socket.socket, to: Address) -> None:
        try:
            changed = self._hook(data, way) if self._hook else data
        except Exception as error:  # noqa: BLE001 - raised in the test when the relay is left
            self.errors.append(error)
            changed = data
        if changed is None:
            return
        for one in changed if isinstance(changed, list) else [changed]:
            if self._random.random() < self._network.lost:
                continue
            wait = self._network.delay + self._random.uniform(0.0, self._network.jitter)
            if self._random.random() < self._network.reordered:
                wait += HELD_BACK_SECONDS
            self.passed[way] += 1
            heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._number), out, one, to))


def sip_hook(change: Callable[[SipMessage, Direction], SipMessage | list[SipMessage] | None]) -> Hook:
    """A hook that sees SIP messages; anything else passes as it is."""

    def hook(data: bytes, way: Direction) -> bytes | list[bytes] | None:
        try:
            message = SipMessage.parse(data)
        except SipMalformed:
            return data
        changed = change(message, way)
        if changed is message:
            return data
        if isinstance(changed, list):
            return [one.encode() for one in changed]
        return changed.encode() if changed is not None else None

    return hook


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    made.bind(("127.0.0.1", port))
    return made
