"""Limits on what the network may start: new calls per second, and connections at a time."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from sipmikey.rate_limit import RateLimiter, address_key

_SOURCES = 10_000
_REMEMBERED = 2000
_TOLD_OF = 4
"""Calls over the limit get a 503, up to this many times the limit; beyond that they get no answer."""


class Verdict(Enum):
    """``LATER``: answer 503 with Retry-After. ``DROP``: say nothing."""

    ADMIT = "admit"
    LATER = "later"
    DROP = "drop"


class Arrivals:
    """New calls are counted for each source and in all. *now*: a clock in seconds that never goes back.

    *per_second*: sustained rate of all sources, and half of it for one source; a burst after a silence may be
    twice as large.
    """

    def __init__(self, *, per_second: float, now: Callable[[], float]) -> None:
        burst = max(2, round(2 * per_second))
        self._all = RateLimiter(per_second=per_second, burst=burst, now=now, entries=1)
        self._answers = RateLimiter(
            per_second=_TOLD_OF * per_second, burst=_TOLD_OF * burst, now=now, entries=1
        )
        self._admitted: dict[bytes, None] = {}
        self._sources = RateLimiter(
            per_second=per_second / 2, burst=max(1, burst // 2), now=now, entries=_SOURCES
        )

    def judge(self, address: str, name: bytes) -> Verdict:
        """Count a new call from *address* (IPv4 or IPv6).

        *name* tells calls apart. One that was admitted is not counted again: it is a retransmission.
        """
        if name in self._admitted:
            return Verdict.ADMIT
        if self._sources.retry_after(address_key(address)) is None and self._all.retry_after("") is None:
            self._admitted[name] = None
            if len(self._admitted) > _REMEMBERED:
                del self._admitted[next(iter(self._admitted))]
            return Verdict.ADMIT
        return Verdict.LATER if self._answers.retry_after("") is None else Verdict.DROP


class Connections:
    """TCP and TLS connections, by any number that names one. Times are seconds of one clock.

    *most*: open at a time; *silent_s*: how long one may be open without a message that passed the screen.
    """

    def __init__(self, *, most: int, silent_s: float) -> None:
        self._most = most
        self._silent_s = silent_s
        self._opened: dict[int, float] = {}
        self._heard: dict[int, float] = {}

    def opened(self, number: int, now: float) -> None:
        """A connection exists."""
        self._opened[number] = now

    def heard(self, number: int, now: float) -> None:
        """A message that passed the screen came by it."""
        if number in self._opened:
            # Moved to the end: the first is the one that was silent longest.
            self._heard.pop(number, None)
            self._heard[number] = now

    def closed(self, number: int) -> None:
        """The connection is gone."""
        self._opened.pop(number, None)
        self._heard.pop(number, None)

    def due(self, now: float) -> list[int]:
        """Return the connections to close now, and forget them."""
        silent = [number for number in self._opened if number not in self._heard]
        due = [number for number in silent if now - self._opened[number] >= self._silent_s]
        too_many = len(self._opened) - len(due) - self._most
        if too_many > 0:
            others = [number for number in silent if number not in due] + list(self._heard)
            due += others[:too_many]
        for number in due:
            self.closed(number)
        return due

    def __contains__(self, number: int) -> bool:
        return number in self._opened

    def __len__(self) -> int:
        return len(self._opened)
