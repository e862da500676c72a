"""G.722 at 64 kbit/s, by the package G722: 16000 samples a second, in packets whose clock counts 8000.

RFC 3551 section 4.5.2 keeps that clock, which was a mistake in the first place.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace

import G722 as libg722  # noqa: N811 - the package is not a constant

from sipmikey.media.codecs.codec import Decoder, Encoder

_RATE = 16000
_BIT_RATE = 64000


@dataclass(frozen=True, slots=True, kw_only=True)
class G722:
    """One octet for two samples."""

    name: str = "G722"
    payload_type: int = 9
    clock_rate: int = 8000
    rate: int = _RATE
    recovers: bool = False

    def encoder(self) -> Encoder:
        """Return the encoder of one more stream."""
        return _Encoder()

    def decoder(self) -> Decoder:
        """Return the decoder of one more stream."""
        return _Decoder()

    def ticks(self, payload: bytes) -> int:
        """Return how long a payload lasts."""
        return len(payload)

    def of_type(self, payload_type: int) -> G722:
        """Return the codec with another payload type."""
        return replace(self, payload_type=payload_type)


class _Encoder:
    def __init__(self) -> None:
        self._state = libg722.G722(_RATE, _BIT_RATE)

    def encode(self, pcm: bytes) -> bytes:
        return bytes(self._state.encode(array("h", pcm)))


class _Decoder:
    def __init__(self) -> None:
        self._state = libg722.G722(_RATE, _BIT_RATE)

    def decode(self, payload: bytes) -> bytes:
        return bytes(self._state.decode(payload).tobytes()) if payload else b""

    def recover(self, following: bytes | None, samples: int) -> bytes | None:
        return None
