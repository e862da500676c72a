"""How many media sockets may be open, so that pjlib never runs out of socket handles.

pjmedia's I/O queue has 64 handles, gives a closed one back half a second later at the earliest, when it is
polled next, and ends the process by an assertion when none is left. So this side counts, with a delay that is
longer: a call that would not fit waits or is refused. Incoming calls get half of them, so that a flood of
calls cannot keep us from calling.
"""

from __future__ import annotations

from collections import deque

_TOTAL = 64
_SPARE = 6
_RELEASE_DELAY_S = 1.5
HANDLES_PER_STREAM = 2
"""One socket for RTP and one for RTCP; both are opened even where they are multiplexed later."""


class HandleBudget:
    """Counts handles in use and those not given back yet. Times are monotonic seconds."""

    def __init__(self, total: int = _TOTAL - _SPARE, delay_s: float = _RELEASE_DELAY_S) -> None:
        self._total = total
        self._delay_s = delay_s
        self._held = 0
        self._closing: deque[tuple[float, int]] = deque()

    def available(self, now: float) -> int:
        """Return how many handles may be taken at *now*."""
        while self._closing and self._closing[0][0] <= now:
            self._closing.popleft()
        return self._total - self._held - sum(count for _, count in self._closing)

    def take(self, count: int, now: float) -> bool:
        """Take *count* handles, or return False and take none."""
        if count > self.available(now):
            return False
        self._held += count
        return True

    def give_back(self, count: int, now: float) -> None:
        """Return *count* handles whose sockets were closed at *now*; they count until the delay is over."""
        self._held -= count
        self._closing.append((now + self._delay_s, count))

    def admits(self, count: int, now: float) -> bool:
        """Return whether an incoming call of *count* handles may have them at *now*."""
        return self.available(now) - count >= self._total // 2

    def wait_s(self, count: int, now: float) -> float | None:
        """Return seconds until *count* handles can be taken; None when calls must end first."""
        short = count - self.available(now)
        if short <= 0:
            return 0.0
        for when, freed in self._closing:
            short -= freed
            if short <= 0:
                return when - now
        return None
