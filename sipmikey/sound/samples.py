"""Samples as octets and as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono samples; full scale is 1.0."""

_FULL_SCALE = 32768.0
_HIGHEST = 32767.0 / 32768.0


def from_octets(octets: bytes | bytearray | memoryview) -> Samples:
    """Return 16-bit native-endian samples as numbers."""
    return np.frombuffer(octets, dtype=np.int16).astype(np.float32) / np.float32(_FULL_SCALE)


def to_octets(samples: Samples) -> bytes:
    """Return numbers as 16-bit native-endian samples; what is over full scale is clipped."""
    clipped = np.clip(samples, -1.0, _HIGHEST)
    return bytes(np.rint(clipped * np.float32(_FULL_SCALE)).astype(np.int16).tobytes())


def silence(count: int) -> Samples:
    """Return *count* samples of silence."""
    return np.zeros(count, dtype=np.float32)
