"""From the packets of a stream to samples that never stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from sipmikey.media.codecs.codec import Codec
from sipmikey.media.voice.jitter import JitterBuffer, JitterState, Kind, Playout
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.sound.concealment import Concealment
from sipmikey.sound.resampling import Resampler
from sipmikey.sound.samples import Samples, from_octets, silence

_FASTEST = 0.01
"""Largest change of speed, a sixth of a semitone: nobody hears it."""

_SETTLING_S = 3.0
_HELD_BACK = 500
"""Parts of a second."""


class Ear:
    """Takes payloads in one thread (`Sink`), and gives *rate* samples per second in another.

    The clock of the peer, and ours, need not agree: what waits is heard a little faster or slower. *clock*
    gives seconds.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        rate: int,
        settings: JitterSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._codec = codec
        self._ratio = rate / codec.rate
        self._decoder = codec.decoder()
        self._jitter = JitterBuffer(codec, settings)
        self._concealment = Concealment(codec.rate)
        self._resampler = Resampler()
        self._rate = rate
        # What the resampler holds back; without it, each read would need two frames.
        self._ready = silence(rate // _HELD_BACK)
        self._lock = threading.Lock()

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take an authenticated payload."""
        with self._lock:
            self._jitter.put(timestamp, payload, self._clock())

    def read(self, count: int) -> Samples:
        """Return the next *count* samples."""
        while len(self._ready) < count:
            with self._lock:
                taken = self._jitter.take(self._clock())
                excess = self._jitter.excess_s
            if taken.kind is not Kind.SILENT:
                excess += len(self._ready) / self._rate
            change = max(-_FASTEST, min(_FASTEST, excess / _SETTLING_S))
            made = self._resampler.process(self._samples(taken), self._ratio * (1.0 - change))
            self._ready = np.concatenate((self._ready, made))
        given, self._ready = self._ready[:count], self._ready[count:]
        return given

    def _samples(self, taken: Playout) -> Samples:
        count = taken.ticks * self._codec.rate // self._codec.clock_rate
        if taken.kind is Kind.SILENT:
            return silence(count)
        if taken.kind is Kind.FRAME and (pcm := self._decoder.decode(taken.payload)):
            return self._concealment.heard(from_octets(pcm))
        recovered = self._decoder.recover(taken.following, count)
        return self._concealment.lost(count) if recovered is None else from_octets(recovered)

    @property
    def state(self) -> JitterState:
        """What waits, and the counts so far."""
        with self._lock:
            return self._jitter.state
