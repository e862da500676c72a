"""Time and randomness that a test decides: for the core, which takes both as arguments."""

from __future__ import annotations

import random

from sipmikey.ticket.environment import Environment

START_S = 1_767_225_600
"""2026-01-01 00:00:00 UTC, where a fake clock begins."""


class FakeClock:
    """A clock that stands still but for a nanosecond a reading: no two messages may have the same time."""

    def __init__(self, start_s: float = START_S) -> None:
        self._now_ns = round(start_s * 1e9)

    def now_ns(self) -> int:
        """Return the time in nanoseconds since 1970 (UTC), never the same value twice."""
        self._now_ns += 1
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass; negative: set the clock back."""
        self._now_ns += round(seconds * 1e9)


def seeded_environment(seed: int, clock: FakeClock | None = None, *, clock_skew_s: int = 300) -> Environment:
    """Return an environment whose messages are the same in every run with the same *seed*.

    For tests only: its keys can be guessed.
    """
    source = random.Random(seed)
    time = clock or FakeClock()
    return Environment(now_ns=time.now_ns, random=source.randbytes, clock_skew_s=clock_skew_s)
