"""From samples to the payloads of a stream."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sipmikey.media.codecs.codec import Codec, frame_samples
from sipmikey.mikey.errors import LocalError
from sipmikey.sound.samples import Samples, silence, to_octets

_HALF_LENGTH = 12
"""Samples by which `_Halver` delays."""


class Mouth:
    """Gives *say* a payload for each 20 ms of samples; *rate* is that of the codec or twice as high."""

    def __init__(self, codec: Codec, *, rate: int, say: Callable[[bytes], object]) -> None:
        if rate not in (codec.rate, 2 * codec.rate):
            raise LocalError(f"{rate} samples a second do not fit {codec.name}, which has {codec.rate}")
        self._encoder = codec.encoder()
        self._halver = _Halver() if rate != codec.rate else None
        self._size = frame_samples(codec)
        self._waiting = silence(0)
        self._say = say

    def take(self, samples: Samples) -> None:
        """Take samples; what fills a frame is said."""
        if self._halver is not None:
            samples = self._halver.take(samples)
        self._waiting = np.concatenate((self._waiting, samples))
        while len(self._waiting) >= self._size:
            frame, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            self._say(self._encoder.encode(to_octets(frame)))


class _Halver:
    """Leaves every other sample, without what lies above half of the new rate."""

    def __init__(self) -> None:
        places = np.arange(-_HALF_LENGTH, _HALF_LENGTH + 1)
        self._taps = (0.5 * np.sinc(places / 2) * np.hamming(len(places))).astype(np.float32)
        self._before = silence(len(places) - 1)

    def take(self, samples: Samples) -> Samples:
        """Return half as many samples. *samples*: an even number."""
        whole = np.concatenate((self._before, samples))
        self._before = whole[-len(self._before) :]
        halved: Samples = np.convolve(whole, self._taps, "valid")[::2].astype(np.float32)
        return halved
