"""What every speech codec can do. PCM here is 16-bit native-endian mono at the codec's ``rate``."""

from __future__ import annotations

from typing import Protocol

FRAME_MS = 20
"""Default packet time (RFC 3551 section 4.2)."""


class Encoder(Protocol):
    """One direction of one stream."""

    def encode(self, pcm: bytes) -> bytes:
        """Return the payload of a frame of 20 ms."""
        ...


class Decoder(Protocol):
    """The other direction."""

    def decode(self, payload: bytes) -> bytes:
        """Return the samples of a payload; b"" where it cannot be decoded."""
        ...

    def recover(self, following: bytes | None, samples: int) -> bytes | None:
        """Return *samples* in place of a payload that was lost, before the payload *following* it.

        None where the codec has no concealment of its own.
        """
        ...


class Codec(Protocol):
    """``name`` as in a=rtpmap, ``payload_type`` of its packets, ``clock_rate`` of their timestamps (Hz).

    ``rate``: samples per second. ``recovers``: a payload also carries data of the one before it.
    """

    @property
    def name(self) -> str: ...

    @property
    def payload_type(self) -> int: ...

    @property
    def clock_rate(self) -> int: ...

    @property
    def rate(self) -> int: ...

    @property
    def recovers(self) -> bool: ...

    def encoder(self) -> Encoder:
        """Return the encoder of one more stream."""
        ...

    def decoder(self) -> Decoder:
        """Return the decoder of one more stream."""
        ...

    def ticks(self, payload: bytes) -> int:
        """Return how long a payload lasts, by the clock of the timestamps; 0 where it makes no sense."""
        ...

    def of_type(self, payload_type: int) -> Codec:
        """Return the codec with the payload type that a description gave it."""
        ...


def frame_ticks(codec: Codec) -> int:
    """Return what the timestamp grows by in 20 ms."""
    return codec.clock_rate * FRAME_MS // 1000


def frame_samples(codec: Codec) -> int:
    """Return the samples of 20 ms."""
    return codec.rate * FRAME_MS // 1000
