"""From one number of samples per second to another, by libsamplerate."""

from __future__ import annotations

import numpy as np
import samplerate

from sipmikey.sound.samples import Samples


class Resampler:
    """Gives *ratio* samples for each that comes in; the ratio may change a little from block to block."""

    def __init__(self) -> None:
        self._resampler = samplerate.Resampler("sinc_fastest", channels=1)

    def process(self, samples: Samples, ratio: float) -> Samples:
        """Return what can be told of *samples* by now; the rest comes with the next block."""
        made: Samples = self._resampler.process(samples, ratio).astype(np.float32, copy=False)
        return made
