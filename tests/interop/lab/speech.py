"""Speech to send and the proof that it arrived."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 8000
PIECE = RATE // 4
Samples = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How much of what was played is in what was recorded."""

    correlation: float
    """How alike a typical quarter of a second is in the two, 0 to 1."""
    seconds: float
    """Length of the recording."""


def write_speech(path: Path, *, seconds: float, seed: int) -> None:
    """Write 16-bit mono WAV at 8000 Hz: voiced syllables with pauses, in the telephone band, from *seed*."""
    random = np.random.default_rng(seed)
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    pitch = 110.0 + 15.0 * seed + 20.0 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice: Samples = np.zeros(count)
    for harmonic in range(3, 24):
        voice += np.sin(harmonic * phase + random.uniform(0, 2 * np.pi)) / harmonic
    voice += 0.2 * random.standard_normal(count)
    syllable = RATE // 5
    loudness = random.uniform(0.0, 1.0, count // syllable + 2) ** 2
    voice *= np.interp(np.arange(count), np.arange(len(loudness)) * syllable, loudness)
    voice *= 9000.0 / np.max(np.abs(voice))
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(voice.astype("<i2").tobytes())


def read_wav(path: Path) -> Samples:
    """Samples of a 16-bit mono WAV at 8000 Hz; a header whose length was never filled in is forgiven."""
    raw = path.read_bytes()
    rate = int.from_bytes(raw[24:28], "little")
    return _at_8000(_samples(raw[raw.find(b"data") + 8 :]), rate)


def _at_8000(samples: Samples, rate: int) -> Samples:
    """The same sound at 8000 Hz; what lies above 4000 Hz is cut off."""
    count = len(samples) * RATE // rate
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return np.fft.irfft(spectrum, count) * (count / max(len(samples), 1))


def compare(played: Path, recorded: Path | bytes) -> Match:
    """Correlate a WAV with a recording (WAV path, or raw 16-bit little-endian samples), at any delay.

    Each quarter of a second of the original that is not a pause is searched for in the recording, and the
    median of what is found counts: a jitter buffer that stretches here and there spoils few of them.
    Unrelated sound, noise and silence stay below 0.4, speech that went through G.711 comes above 0.95.
    """
    original = read_wav(played)
    received = read_wav(recorded) if isinstance(recorded, Path) else _samples(recorded)
    seconds = len(received) / RATE
    if len(received) < PIECE:
        return Match(correlation=0.0, seconds=seconds)
    pieces = original[: len(original) // PIECE * PIECE].reshape(-1, PIECE)
    energies = np.sum(pieces**2, axis=1)
    spoken = pieces[energies > np.max(energies) / 10]
    found = [_best_match(piece, received) for piece in spoken]
    return Match(correlation=float(np.median(found)), seconds=seconds)


def _best_match(piece: Samples, received: Samples) -> float:
    """Largest normalised correlation of *piece* with any stretch of *received* as long."""
    window = len(piece)
    size = 1 << (len(received) + window).bit_length()
    product = np.fft.irfft(np.fft.rfft(received, size) * np.conj(np.fft.rfft(piece, size)), size)
    shifts = np.abs(product[: len(received) - window + 1])
    power = np.concatenate(([0.0], np.cumsum(received**2)))
    local = np.sqrt(np.maximum(power[window:] - power[:-window], 0.0))
    scale = local * np.sqrt(np.sum(piece**2))
    return float(np.max(np.divide(shifts, scale, out=np.zeros_like(shifts), where=scale > 1e-3)))


def _samples(raw: bytes) -> Samples:
    return np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.float64)
