"""A buffer between two clocks that drift: what one side writes, the other reads a little faster or slower.

A sound card's crystal and the clock that paces RTP differ by up to some hundred parts per million. A plain
queue between them runs empty or grows without end. This one resamples what is read by as much as keeps its
filling where it should be, and learns how late the two sides may be. It does no I/O; the clock is passed in.

Both sides move blocks, and those of one drift through those of the other. So what counts is not what waits,
which changes by a block from one moment to the next, but what the writer has by now: what waits, and the time
since the last block.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sipmikey.sound.concealment import Concealment
from sipmikey.sound.resampling import Resampler
from sipmikey.sound.samples import Samples, silence

_SETTLING_S = 8.0
"""Time constant with which a wrong filling is corrected."""

_SMOOTHING_S = 0.5
_FASTEST = 2e-3
"""Largest change of speed, about 3 cents in pitch: nobody hears it."""

_HURRY = 1e-2
"""The same where far too much waits: a sixth of a semitone, which speech bears."""

_FAR_S = 0.04

_DRIFT = 1e-3
"""No two clocks differ by more; what is learned of them has this bound."""

_WINDOW_S = 10.0
_WINDOWS = 6
"""The lowest filling is that of so many windows."""

_STARTING_S = 2.0
"""How late the writer is in the beginning says little of how late it may be later."""

_STOPPED_S = 0.2
_GROWTH_S = 0.010
_MOST_GROWTH_S = 0.040
_SPARE_S = 0.008
_SHRINK_S = 0.001
_SHRINK_SHARE = 0.125
"""Of what is to spare: a busy minute is not to be heard as a delay for half an hour."""

_FADE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticState:
    """``filling_ms``: samples waiting. ``target_ms``: how late the writer may be. ``ppm``: present change of
    speed. ``gaps``: times the reader found too little; ``skips``: times old samples were thrown away."""

    filling_ms: float
    target_ms: float
    ppm: float
    gaps: int
    skips: int


class Elastic:
    """Samples at *rate* per second between a writer and a reader, each in a thread of its own.

    *least_ms*, *most_ms*: bounds of the target, which is how late the writer may be; what waits longer than
    twice *most_ms* is thrown away. Reading begins when that much is there. Where too little is there all the
    same, the sound goes on for some hundredths of a second (*conceals*) or stops. *clock* gives seconds.
    """

    def __init__(
        self,
        rate: int,
        *,
        least_ms: float = 16.0,
        most_ms: float = 160.0,
        conceals: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._least = least_ms / 1e3 * rate
        self._most = most_ms / 1e3 * rate
        self._target = self._least
        self._clock = clock
        self._lock = threading.Lock()
        self._resampler = Resampler()
        self._concealment = Concealment(rate)
        self._conceals = conceals
        self._waiting = silence(0)
        self._ready = silence(0)
        self._written = 0
        self._written_at = 0.0
        self._flowing = False
        self._starved = 0
        self._flown = 0
        self._error = 0.0
        self._sum = 0.0
        self._ratio = 1.0
        self._passed = 0
        self._lowest = math.inf
        self._lows: deque[float] = deque(maxlen=_WINDOWS)
        self._gaps = 0
        self._skips = 0

    def write(self, samples: Samples) -> None:
        """Take samples of any number."""
        with self._lock:
            self._waiting = np.concatenate((self._waiting, samples))
            self._written, self._written_at = len(samples), self._clock()
            surplus = len(self._waiting) - int(2 * self._most)
            if surplus > 0:
                self._skips += 1
                self._waiting = self._waiting[-int(self._target) - self._written :]

    def read(self, count: int) -> Samples:
        """Return *count* samples; what stands for them where there are none."""
        with self._lock:
            if not self._flowing and not self._begin(count):
                return self._instead(count)
            here = self._here()
            self._steer((here - self._wanted(count)) / self._rate, count / self._rate)
            self._convert(count)
            if len(self._ready) < count:
                return self._gap(count)
            taken, self._ready = self._ready[:count], self._ready[count:]
            self._flown += count
            self._watch(here - self._written - count, count)
            return self._concealment.heard(taken) if self._conceals else taken

    def start_over(self) -> None:
        """Wait until enough is there again, as at first: one of the two sides was away."""
        with self._lock:
            self._flowing, self._starved, self._flown = False, 0, 0

    @property
    def state(self) -> ElasticState:
        """The filling and the counts so far."""
        with self._lock:
            return ElasticState(
                filling_ms=(len(self._waiting) + len(self._ready)) / self._rate * 1e3,
                target_ms=self._target / self._rate * 1e3,
                ppm=(1.0 - self._ratio) * 1e6,
                gaps=self._gaps,
                skips=self._skips,
            )

    def _here(self) -> float:
        """Return what waits, and what the writer has got since its last block."""
        since = (self._clock() - self._written_at) * self._rate
        return len(self._waiting) + len(self._ready) + min(max(0.0, since), self._written)

    def _wanted(self, count: int) -> float:
        """Return what should be there at a read: the writer's next block may be that late, and the reader's
        block is read at once."""
        return self._target + self._written + count

    def _begin(self, count: int) -> bool:
        """Begin where enough is there; throw away what would be heard late for minutes."""
        here, enough = self._here(), self._wanted(count)
        if self._starved:
            # The writer was late, and may be there again: each moment longer would be heard.
            enough -= self._target / 2
        if not self._written or here < enough:
            return False
        if self._flown > _STARTING_S * self._rate:
            self._grow(min(self._starved, _MOST_GROWTH_S * self._rate) - _GROWTH_S * self._rate)
        surplus = int(here - self._wanted(count))
        if surplus > 0:
            self._waiting = self._waiting[surplus:]
        self._flowing, self._starved, self._error = True, 0, 0.0
        return True

    def _steer(self, error: float, step: float) -> None:
        """Choose the speed: a proportional and integral controller on the smoothed *error*, in seconds."""
        self._error += (error - self._error) * min(1.0, step / _SMOOTHING_S)
        change = self._error / _SETTLING_S + self._sum
        fastest = _HURRY if self._error > _FAR_S else _FASTEST
        self._ratio = 1.0 - max(-_FASTEST, min(fastest, change))
        if abs(change) < _FASTEST:
            learned = self._sum + self._error * step / (4 * _SETTLING_S**2)
            self._sum = max(-_DRIFT, min(_DRIFT, learned))

    def _convert(self, count: int) -> None:
        while len(self._ready) < count and len(self._waiting):
            needed = math.ceil((count - len(self._ready)) / self._ratio) + 1
            chunk, self._waiting = self._waiting[:needed], self._waiting[needed:]
            made = self._resampler.process(chunk, self._ratio)
            self._ready = np.concatenate((self._ready, made))

    def _gap(self, count: int) -> Samples:
        """Give what there is, and what stands for the rest; wait until more than before is there."""
        self._gaps += 1
        self._flowing = False
        self._grow(_GROWTH_S * self._rate)
        self._lowest, self._passed = math.inf, 0
        self._lows.clear()
        given, self._ready = self._ready, silence(0)
        self._starved = count - len(given)
        if self._conceals:
            given = self._concealment.heard(given)
            return np.concatenate((given, self._concealment.lost(self._starved)))
        fade = min(_FADE, len(given))
        given[len(given) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        return np.concatenate((given, silence(self._starved)))

    def _instead(self, count: int) -> Samples:
        """Return what is heard while nothing flows."""
        if not self._starved:
            return silence(count)
        self._starved += count
        if self._starved > _STOPPED_S * self._rate:
            self._starved = 0  # that late is nobody: the writer stopped
        return self._concealment.lost(count) if self._conceals else silence(count)

    def _grow(self, by: float) -> None:
        self._target = max(self._target, min(self._most, self._target + by))

    def _watch(self, left: float, count: int) -> None:
        """Lower the target where the writer was never that late for a while. *left*: what a read leaves at
        the worst moment, just before a block."""
        self._lowest = min(self._lowest, left)
        self._passed += count
        if self._passed < _WINDOW_S * self._rate:
            return
        self._lows.append(self._lowest)
        self._lowest, self._passed = math.inf, 0
        spare = min(self._lows) - _SPARE_S * self._rate
        if spare > 0 and len(self._lows) == _WINDOWS:
            step = min(spare, max(_SHRINK_S * self._rate, _SHRINK_SHARE * spare))
            self._target = max(self._least, self._target - step)
