"""The operating system's clock and randomness: what the core is given at the edge."""

from __future__ import annotations

import os
import threading
import time

from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
from sipmikey.ticket.environment import Environment

_COARSE_NS = 1_000_000
"""A reading at most this far behind the last one is the same tick of a coarse clock, not a step back."""


class SystemClock:
    """The real-time clock in nanoseconds since 1970 (UTC), never the same value twice in a row.

    A clock set back is followed back. Safe to call from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def now_ns(self) -> int:
        """Return the time."""
        with self._lock:
            now = time.time_ns()
            if now <= self._last < now + _COARSE_NS:
                now = self._last + 1
            self._last = now
            return now


_clock = SystemClock()


def now_ns() -> int:
    """Return the time of the clock that all of this process share, in nanoseconds since 1970 (UTC)."""
    return _clock.now_ns()


def environment(*, limits: Limits = DEFAULT_LIMITS, clock_skew_s: int = 300) -> Environment:
    """Return the environment of a running program. All of a process share one clock."""
    return Environment(now_ns=now_ns, random=os.urandom, limits=limits, clock_skew_s=clock_skew_s)
