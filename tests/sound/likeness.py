"""Which speaker is heard? Told by the loudness of the syllables, which no jitter buffer changes.

A machine short of time stretches and cuts sound here and there. That shifts waves out of phase, and leaves
every syllable almost where it was: each second may lie up to 80 ms beside its place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.interop.lab.speech import RATE, read_wav

STEP = RATE // 50

SECOND = RATE // STEP
SHIFT = 4
"""Steps that a second may lie beside its place."""

SAME = 0.8
"""Likeness from which on it is the same speech; other voices reach 0.75 in 1.5 s, 0.65 in 4 s."""


def _loudness(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    frames = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    loudness: NDArray[np.float64] = np.sqrt(np.mean(frames**2, axis=1))
    return loudness


def likeness(played: Path, heard: bytes) -> float:
    """Return the best correlation of the loudness of *played* (WAV) with that in *heard* (8000 Hz, raw)."""
    wanted = _loudness(read_wav(played))
    there = _loudness(np.frombuffer(heard[: len(heard) // 2 * 2], dtype="<i2").astype(np.float64))
    if len(there) < len(wanted):
        return 0.0
    best = 0.0
    for start in range(len(there) - len(wanted) + 1):
        piece = there[start : start + len(wanted)]
        if np.std(piece) > 1.0:
            best = max(best, float(np.corrcoef(wanted, _aligned(wanted, there, start))[0, 1]))
    return best


def _aligned(wanted: NDArray[np.float64], there: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """Return what begins at *start* in *there*, each second moved to where it fits best."""
    parts = []
    for at in range(0, len(wanted), SECOND):
        part = wanted[at : at + SECOND]
        first = max(0, start + at - SHIFT)
        near = there[first : start + at + len(part) + SHIFT]
        windows = np.lib.stride_tricks.sliding_window_view(near, len(part))
        centred = windows - windows.mean(axis=1, keepdims=True)
        fits = centred @ (part - part.mean()) / (np.linalg.norm(centred, axis=1) + 1e-9)
        parts.append(windows[int(np.argmax(fits))])
    return np.concatenate(parts)
