"""Puts received frames into order for a recording. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.media.rtp import timestamps_apart

_LONGEST_GAP = 8000 * 10


class Playout:
    """Orders frames by timestamp, waits for late ones, and tells of gaps.

    ``write`` gets one payload after the other, ``missing`` how long a gap between two is, by the clock of the
    timestamps; a gap longer than *longest_gap* is cut to that. ``ticks``: how long a payload lasts; by itself
    one octet lasts a tick, as in G.711. ``depth`` is how many frames wait at most.
    """

    __slots__ = (
        "_depth",
        "_highest",
        "_longest_gap",
        "_missing",
        "_next",
        "_ticks",
        "_waiting",
        "_write",
        "late",
    )

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        missing: Callable[[int], object],
        ticks: Callable[[bytes], int] = len,
        longest_gap: int = _LONGEST_GAP,
        depth: int = 5,
    ) -> None:
        self._write = write
        self._missing = missing
        self._ticks = ticks
        self._longest_gap = longest_gap
        self._depth = depth
        self._waiting: dict[int, bytes] = {}
        self._next: int | None = None
        self._highest: int | None = None
        self.late = 0

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take one frame."""
        extended = self._extend(timestamp)
        if self._next is not None and extended < self._next:
            self.late += 1
            return
        self._waiting[extended] = payload
        while len(self._waiting) > self._depth:
            self._pop()
        while self._next in self._waiting:
            self._pop()

    def flush(self) -> None:
        """Write what waits."""
        while self._waiting:
            self._pop()

    def _extend(self, timestamp: int) -> int:
        if self._highest is None:
            self._highest = timestamp
            return timestamp
        extended = self._highest + timestamps_apart(timestamp, self._highest)
        self._highest = max(self._highest, extended)
        return extended

    def _pop(self) -> None:
        first = min(self._waiting)
        payload = self._waiting.pop(first)
        if self._next is not None and first > self._next:
            self._missing(min(first - self._next, self._longest_gap))
        self._write(payload)
        self._next = first + self._ticks(payload)
