"""Volume, mute, noise gate and level meter: what happens to samples on their way. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sipmikey.sound.samples import Samples

FLOOR_DB = -96.0
"""Level of silence, in decibels below full scale."""


def _decibels(amplitude: float) -> float:
    return FLOOR_DB if amplitude <= 0 else max(FLOOR_DB, 20 * math.log10(amplitude))


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Level of a stretch of sound, in decibels relative to full scale (0 is the loudest)."""

    rms_db: float
    peak_db: float


class Meter:
    """Measures levels over *window_s* seconds each."""

    def __init__(self, rate: int, window_s: float = 0.1) -> None:
        self._window = max(1, int(rate * window_s))
        self._count = 0
        self._energy = 0.0
        self._peak = 0.0

    def add(self, samples: Samples) -> Level | None:
        """Take samples; return the level of a window when one is complete."""
        if len(samples):
            self._count += len(samples)
            self._energy += float(np.dot(samples, samples))
            self._peak = max(self._peak, float(np.max(np.abs(samples))))
        if self._count < self._window:
            return None
        level = Level(rms_db=_decibels(math.sqrt(self._energy / self._count)), peak_db=_decibels(self._peak))
        self._count, self._energy, self._peak = 0, 0.0, 0.0
        return level


class Volume:
    """A volume in decibels, and mute; changes are faded over one block so that nothing clicks."""

    def __init__(self, db: float = 0.0, *, muted: bool = False) -> None:
        self.db = db
        self.muted = muted
        self._now = self._wanted

    @property
    def _wanted(self) -> float:
        return 0.0 if self.muted else 10.0 ** (self.db / 20.0)

    def apply(self, samples: Samples) -> Samples:
        """Return *samples* at this volume."""
        wanted = self._wanted
        if wanted == self._now:
            return samples if wanted == 1.0 else samples * np.float32(wanted)
        slope = np.linspace(self._now, wanted, len(samples), dtype=np.float32)
        self._now = wanted
        return samples * slope


class Gate:
    """A noise gate: what stays below *threshold_db* for *hold_s* is turned down to *closed_db*."""

    def __init__(
        self, rate: int, *, threshold_db: float = -50.0, hold_s: float = 0.25, closed_db: float = -24.0
    ) -> None:
        self._rate = rate
        self._threshold = 10.0 ** (threshold_db / 20.0)
        self._hold = hold_s
        self._volume = Volume()
        self._closed_db = closed_db
        self._quiet_s = 0.0

    @property
    def open(self) -> bool:
        """True while sound passes unchanged."""
        return self._volume.db == 0.0

    def apply(self, samples: Samples) -> Samples:
        """Return *samples*, turned down where they are only noise."""
        if len(samples) == 0:
            return samples
        loud = math.sqrt(float(np.dot(samples, samples)) / len(samples)) >= self._threshold
        self._quiet_s = 0.0 if loud else self._quiet_s + len(samples) / self._rate
        self._volume.db = self._closed_db if self._quiet_s > self._hold else 0.0
        return self._volume.apply(samples)
