"""Makes up for lost frames from what was heard before, as ITU-T G.711 Appendix I does. No I/O.

The last period of the voice is repeated, faded out from 10 ms on, and gone after 60 ms. Where the next
frame comes, both are faded into each other.
"""

from __future__ import annotations

import numpy as np

from sipmikey.sound.samples import Samples, silence

_SHORTEST_S = 1 / 200
_LONGEST_S = 1 / 66
"""The voice's period: 66 to 200 Hz."""

_COMPARED_S = 0.020
_KEPT_S = 0.050
_FULL_S = 0.010
_GONE_S = 0.060
_OVERLAP_S = 0.004


class Concealment:
    """The sound of one stream, frame by frame."""

    def __init__(self, rate: int) -> None:
        self._shortest = int(rate * _SHORTEST_S)
        self._longest = int(rate * _LONGEST_S)
        self._compared = int(rate * _COMPARED_S)
        self._overlap = int(rate * _OVERLAP_S)
        self._kept = int(rate * _KEPT_S)
        self._full, self._gone = rate * _FULL_S, rate * _GONE_S
        self._heard = silence(self._kept)
        self._period = silence(0)
        self._at = 0

    def heard(self, samples: Samples) -> Samples:
        """Take a frame that came; return it, its beginning smoothed where the one before it did not come."""
        if self._at and len(samples) >= self._overlap:
            rising = np.linspace(0.0, 1.0, self._overlap, dtype=np.float32)
            made = self._continue(self._overlap)
            samples = samples.copy()
            samples[: self._overlap] = samples[: self._overlap] * rising + made * (1 - rising)
        self._at = 0
        self._heard = np.concatenate((self._heard, samples))[-self._kept :]
        return samples

    def lost(self, count: int) -> Samples:
        """Return *count* samples in place of a frame that did not come."""
        if self._at == 0:
            self._period = self._heard[-self._best_period() :]
        return self._continue(count)

    def _continue(self, count: int) -> Samples:
        places = self._at + np.arange(count)
        self._at += count
        loudness = np.clip((self._gone - places) / (self._gone - self._full), 0.0, 1.0)
        made: Samples = (self._period[places % len(self._period)] * loudness).astype(np.float32)
        return made

    def _best_period(self) -> int:
        """Return the distance at which the end of what was heard is most like itself."""
        end = self._heard[-self._compared :]
        reach = self._heard[-self._compared - self._longest :]
        likeness = np.correlate(reach, end, "valid")[: self._longest - self._shortest + 1]
        energy = np.convolve(reach**2, np.ones(self._compared, dtype=np.float32), "valid")[: len(likeness)]
        best = int(np.argmax(likeness / np.sqrt(energy + 1e-9)))
        return self._longest - best
