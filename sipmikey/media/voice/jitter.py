"""Puts packets into order, and finds out how long they have to wait. No I/O; the times are passed in.

How long packets wait grows with each that comes too late, and shrinks where the buffer never came near its
bottom for a while. The wait itself is changed by who takes the frames: a little faster or slower, as
`JitterBuffer.excess_s` says.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from sipmikey.media.codecs.codec import Codec, frame_ticks
from sipmikey.media.rtp import timestamps_apart
from sipmikey.media.voice.settings import JitterSettings

_FAR_S = 2.0
"""A packet that far from the others begins something new."""

_TALK_ENDS_S = 0.2
"""After this time without a packet, the buffer fills again before the next one is heard."""

_WINDOW_S = 2.0
_WINDOWS = 5
_SPARE_S = 0.005
_SHRINK_S = 0.005
_GROWTH_S = 0.010
_MOST_GROWTH_S = 0.040
_SMOOTHING_S = 0.4

_RECOVERING_S = 0.020
"""How much longer packets wait where some are lost and those behind them carry their data as well."""


class Kind(Enum):
    """``FRAME``: here it is. ``LOST``: it will not come. ``LATE``: nothing is there yet. ``SILENT``: nobody
    talks."""

    FRAME = auto()
    LOST = auto()
    LATE = auto()
    SILENT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Playout:
    """What is to be heard next. ``payload``: of a frame. ``following``: of the frame after one that is lost,
    where that is there. ``ticks``: how long it lasts."""

    kind: Kind
    ticks: int
    payload: bytes = b""
    following: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterState:
    """``waiting_ms``: what is there, ``target_ms``: what should be. Packets ``lost`` and ``late`` so far,
    and the times the buffer ran ``dry``."""

    waiting_ms: float
    target_ms: float
    lost: int
    late: int
    dry: int


class JitterBuffer:
    """The packets of one stream, by their timestamps. In one thread."""

    def __init__(self, codec: Codec, settings: JitterSettings) -> None:
        self._codec = codec
        self._rate = codec.clock_rate
        self._frame = frame_ticks(codec)
        self._least_ever = self._least = settings.least_ms * self._rate / 1000
        self._most = settings.most_ms * self._rate / 1000
        self._target = self._least
        self._waiting: dict[int, bytes] = {}
        self._highest: int | None = None
        self._end = 0
        self._ended_at = 0.0
        self._next: int | None = None
        self._waited = 0
        self._dry_for = 0
        self._owed = 0
        self._smooth = 0.0
        self._lowest: float | None = None
        self._passed = 0
        self._lows: deque[float] = deque(maxlen=_WINDOWS)
        self._lost = self._late = self._dry = 0

    def put(self, timestamp: int, payload: bytes, now: float) -> None:
        """Take an authenticated payload, which came at *now* (seconds)."""
        ticks = self._codec.ticks(payload)
        if ticks <= 0:
            return
        extended = self._extend(timestamp)
        if self._next is not None and extended < self._next:
            self._was_late(self._next - extended)
            return
        self._waiting[extended] = payload
        if extended + ticks > self._end:
            self._end, self._ended_at = extended + ticks, now

    def _extend(self, timestamp: int) -> int:
        if self._highest is not None:
            ahead = timestamps_apart(timestamp, self._highest)
            if abs(ahead) <= _FAR_S * self._rate:
                extended = self._highest + ahead
                self._highest = max(self._highest, extended)
                return extended
            self._start_over()
        self._highest = timestamp
        self._end = timestamp
        return timestamp

    def _start_over(self) -> None:
        self._waiting.clear()
        self._next = None
        self._waited = self._dry_for = self._owed = 0

    def _was_late(self, by: int) -> None:
        """Wait longer from now on: a frame at once, the rest by and by."""
        self._late += 1
        self._grow(min(by, _MOST_GROWTH_S * self._rate))
        if not self._owed:
            self._owed = self._frame

    def _grow(self, ticks: float) -> None:
        self._target = min(self._most, self._target + ticks)
        self._lowest = None
        self._passed = 0
        self._lows.clear()

    def take(self, now: float) -> Playout:
        """Return what is to be heard next, from *now* on."""
        if self._next is None and not self._begin(now):
            return Playout(kind=Kind.SILENT, ticks=self._frame)
        assert self._next is not None
        self._catch_up()
        self._watch(self._ahead(now))
        if self._owed and self._end - self._next < self._most:
            self._owed = 0
            return Playout(kind=Kind.LATE, ticks=self._frame)
        if self._next in self._waiting:
            return self._give(self._next)
        if self._waiting:
            return self._missing(self._next, min(self._waiting))
        return self._run_dry()

    def _ahead(self, now: float) -> float:
        """Return how far what the peer has said is ahead of what was heard.

        Packets come by the frame: since the last one, the peer has said more.
        """
        since = (now - self._ended_at) * self._rate
        return self._end - (self._next or 0) + min(max(0.0, since), self._frame)

    def _begin(self, now: float) -> bool:
        """Begin where enough is there, or what is there has waited long enough."""
        if not self._waiting:
            self._waited = 0
            return False
        first = min(self._waiting)
        self._waited += self._frame
        if self._end - first < self._target - self._frame and self._waited <= self._target:
            return False
        # What waited for a key is not heard late: the peer was not heard at all before.
        fresh = (at for at in sorted(self._waiting) if self._end - at <= self._target + self._frame)
        self._next = next(fresh, max(self._waiting))
        self._waiting = {at: payload for at, payload in self._waiting.items() if at >= self._next}
        self._waited = self._dry_for = 0
        self._smooth = self._ahead(now)
        return True

    def _catch_up(self) -> None:
        """Throw away what waits longer than the most: the peer would be answered too late."""
        assert self._next is not None
        if self._end - self._next > 2 * self._most:
            self._next = self._end - int(self._target)
            self._waiting = {at: payload for at, payload in self._waiting.items() if at >= self._next}
            self._next = min(self._waiting, default=self._next)

    def _give(self, at: int) -> Playout:
        payload = self._waiting.pop(at)
        ticks = self._codec.ticks(payload)
        self._next = at + ticks
        # A peer may say that its frames overlap: what begins within this one is over when this one is.
        for overtaken in [one for one in self._waiting if one < self._next]:
            del self._waiting[overtaken]
            self._late += 1
        if self._dry_for:
            # It was only late: what was put in its place is what packets wait longer from now on.
            self._grow(_GROWTH_S * self._rate)
            self._dry_for = 0
        return Playout(kind=Kind.FRAME, ticks=ticks, payload=payload)

    def _missing(self, at: int, first: int) -> Playout:
        """Something is there, but not what comes next."""
        gap = first - at
        if self._dry_for:
            # What is missing was made up for while nothing was there.
            covered = min(self._dry_for, gap)
            self._dry_for = 0
            self._was_lost(max(1, covered // self._frame))
            gap -= covered
        if gap == 0 or gap > _TALK_ENDS_S * self._rate:
            return self._give(first)
        ticks = min(self._frame, gap)
        self._next = first - gap + ticks
        self._was_lost(1)
        return Playout(kind=Kind.LOST, ticks=ticks, following=self._waiting.get(self._next))

    def _was_lost(self, frames: int) -> None:
        self._lost += frames
        if self._codec.recovers:
            wanted = self._least_ever + _RECOVERING_S * self._rate
            self._least = min(self._most, wanted)
            self._target = max(self._target, self._least)

    def _run_dry(self) -> Playout:
        self._dry += 1
        self._dry_for += self._frame
        if self._dry_for > _TALK_ENDS_S * self._rate:
            self._start_over()
            return Playout(kind=Kind.SILENT, ticks=self._frame)
        return Playout(kind=Kind.LATE, ticks=self._frame)

    def _watch(self, filling: float) -> None:
        """Learn how full the buffer is; wait less where it was never nearly empty."""
        self._smooth += (filling - self._smooth) * min(1.0, self._frame / (_SMOOTHING_S * self._rate))
        self._lowest = filling if self._lowest is None else min(self._lowest, filling)
        self._passed += self._frame
        if self._passed < _WINDOW_S * self._rate:
            return
        self._lows.append(self._lowest)
        self._lowest, self._passed = None, 0
        if len(self._lows) == _WINDOWS:
            spare = min(self._lows) - self._frame - _SPARE_S * self._rate
            if spare > 0:
                self._target = max(self._least, self._target - min(spare, _SHRINK_S * self._rate))

    @property
    def excess_s(self) -> float:
        """How much more waits than should, in seconds; negative for less."""
        return 0.0 if self._next is None else (self._smooth - self._target) / self._rate

    @property
    def state(self) -> JitterState:
        """What waits, and the counts so far."""
        waiting = 0 if self._next is None else self._end - self._next
        return JitterState(
            waiting_ms=waiting / self._rate * 1e3,
            target_ms=self._target / self._rate * 1e3,
            lost=self._lost,
            late=self._late,
            dry=self._dry,
        )
