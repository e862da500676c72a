"""A buffer between two clocks that drift: what one side writes, the other reads a little faster or slower.

A sound card's crystal and the clock that paces RTP differ by up to some hundred parts per million. A plain
queue between them runs empty or grows without end. This one resamples what is read by as much as keeps its
filling at a target, and chooses the target by what the two sides' bursts demand. It does no I/O and reads no
clock: time is the samples that pass.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

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

_WINDOW_S = 10.0
_WINDOWS = 6
"""The lowest filling is that of so many windows: bursts of one side drift through those of the other."""

_GROWTH_S = 0.010
_SPARE_S = 0.008
_SHRINK_S = 0.001
_SHRINK_SHARE = 0.125
"""Of what is to spare: a busy minute is not to be heard as a delay for half an hour."""

_FADE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticState:
    """``filling_ms`` and ``target_ms``: samples waiting, and how many should. ``ppm``: present change of
    speed. ``gaps``: times the reader found too little; ``skips``: times old samples were thrown away."""

    filling_ms: float
    target_ms: float
    ppm: float
    gaps: int
    skips: int


class Elastic:
    """Samples at *rate* per second between a writer and a reader, each in a thread of its own.

    *least_ms*, *most_ms*: bounds of the target; what is more than twice *most_ms* behind is thrown away.
    Reading begins when the target is reached.
    """

    def __init__(self, rate: int, *, least_ms: float = 20.0, most_ms: float = 160.0) -> None:
        self._rate = rate
        self._least = least_ms / 1e3 * rate
        self._most = most_ms / 1e3 * rate
        self._target = self._least
        self._lock = threading.Lock()
        self._resampler = Resampler()
        self._waiting = silence(0)
        self._ready = silence(0)
        self._flowing = False
        self._smooth = 0.0
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
            surplus = len(self._waiting) - int(2 * self._most)
            if surplus > 0:
                self._skips += 1
                self._waiting = self._waiting[-int(self._target) :]

    def read(self, count: int) -> Samples:
        """Return *count* samples; silence where there are none."""
        with self._lock:
            filling = float(len(self._waiting) + len(self._ready))
            if not self._flowing:
                if filling < self._target + count / 2:
                    return silence(count)
                self._flowing = True
                # What waited for the reader to begin would be heard late for minutes.
                self._waiting = self._waiting[-int(self._target + count) :]
                filling = float(len(self._waiting) + len(self._ready))
                self._smooth = filling
            self._steer(filling, count)
            self._convert(count)
            if len(self._ready) < count:
                return self._gap(count)
            taken, self._ready = self._ready[:count], self._ready[count:]
            self._watch(float(len(self._waiting) + len(self._ready)), count)
            return taken

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

    def _steer(self, filling: float, count: int) -> None:
        """Choose the speed: a proportional and integral controller on the smoothed filling, in seconds."""
        step = count / self._rate
        self._smooth += (filling - self._smooth) * min(1.0, step / _SMOOTHING_S)
        error = (self._smooth - self._target - count / 2) / self._rate
        bound = 2 * _FASTEST * _SETTLING_S
        self._sum = max(-bound, min(bound, self._sum + error * step / (4 * _SETTLING_S)))
        change = (error + self._sum) / _SETTLING_S
        fastest = _HURRY if error > _FAR_S else _FASTEST
        self._ratio = 1.0 - max(-_FASTEST, min(fastest, change))

    def _convert(self, count: int) -> None:
        while len(self._ready) < count and len(self._waiting):
            needed = math.ceil((count - len(self._ready)) / self._ratio) + 1
            chunk, self._waiting = self._waiting[:needed], self._waiting[needed:]
            made = self._resampler.process(chunk, self._ratio)
            self._ready = np.concatenate((self._ready, made))

    def _gap(self, count: int) -> Samples:
        """Give what there is, faded out, and wait until more than before is there."""
        self._gaps += 1
        self._flowing = False
        self._target = min(self._most, self._target + _GROWTH_S * self._rate)
        self._lowest, self._passed = math.inf, 0
        self._lows.clear()
        given = silence(count)
        have = len(self._ready)
        given[:have] = self._ready
        fade = min(_FADE, have)
        given[have - fade : have] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        self._ready = silence(0)
        return given

    def _watch(self, left: float, count: int) -> None:
        """Lower the target where the filling never came near the bottom for a while."""
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
