"""Time that passes when a test says so, and a flow that keeps what is sent."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from sipmikey.agent.config import Transport
from sipmikey.sip import SipMessage


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """*later* of transactions: `pass_time` rings what is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, Handle, Callable[[], None]]] = []

    def later(self, delay_s: float, work: Callable[[], None]) -> Handle:
        handle = Handle()
        heapq.heappush(self._waiting, (self.now + delay_s, next(self._numbers), handle, work))
        return handle

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self._waiting and self._waiting[0][0] <= until:
            self.now, _, handle, work = heapq.heappop(self._waiting)
            if not handle.cancelled:
                work()
        self.now = until

    @property
    def waits(self) -> bool:
        """True where anything is to happen yet."""
        return any(not handle.cancelled for _, _, handle, _ in self._waiting)


class Wire:
    """A flow; ``sent``: what went out."""

    def __init__(self, transport: Transport = Transport.UDP) -> None:
        self.transport = transport
        self.local = ("192.0.2.1", 5060)
        self.remote = ("192.0.2.2", 5060)
        self.sent: list[SipMessage] = []

    def ping(self, *, answered: bool) -> None:
        """Nothing to keep open."""

    def send(self, octets: bytes) -> None:
        self.sent.append(SipMessage.parse(octets))

    @property
    def methods(self) -> list[str]:
        return [f"{message.status or ''}{message.method}" for message in self.sent]
