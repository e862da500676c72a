"""A synthetic room: what is played in it, and what a microphone there hears of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sipmikey.sound.samples import Samples, from_octets, to_octets

RATE = 16000
BLOCK = 320
_SECONDS = 10


class Canceller(Protocol):
    def cancel(self, heard: bytes, played: bytes) -> bytes: ...


def echo() -> tuple[Samples, Samples]:
    """Return ten seconds of what is played, as loud and quiet as speech, and its echo of 30 to 120 ms."""
    random = np.random.default_rng(3)
    count = RATE * _SECONDS
    loudness = np.repeat(random.uniform(0, 1, count // 3200) ** 2, 3200)
    played = (random.standard_normal(count) * 0.15 * loudness).astype(np.float32)
    room = np.zeros(int(RATE * 0.12))
    start = int(RATE * 0.03)
    room[start] = 0.5
    tail = len(room) - start
    room[start:] += random.standard_normal(tail) * 0.08 * np.exp(-np.arange(tail) / (RATE * 0.03))
    return played, np.convolve(played, room)[:count].astype(np.float32)


def cancelled(canceller: Canceller, heard: Samples, played: Samples) -> Samples:
    """Return what *canceller* leaves of *heard*, block by block."""
    return np.concatenate(
        [
            from_octets(
                canceller.cancel(to_octets(heard[at : at + BLOCK]), to_octets(played[at : at + BLOCK]))
            )
            for at in range(0, len(heard), BLOCK)
        ]
    )


def power_db(samples: Samples) -> float:
    """Return the power of the second half: a canceller learns in the first."""
    return float(10 * np.log10(np.mean(samples[len(samples) // 2 :] ** 2) + 1e-12))


def return_loss_db(canceller: Canceller | None) -> float:
    """Return how much less of what is played comes back, with the *canceller*, or without one."""
    played, heard = echo()
    left = heard if canceller is None else cancelled(canceller, heard, played)
    return power_db(played) - power_db(left)
