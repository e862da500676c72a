"""Two clocks that drift: no gap, no growing delay, the tone that goes in comes out."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sipmikey.sound.elastic import Elastic, ElasticState
from sipmikey.sound.samples import Samples

RATE = 16000
WRITTEN = RATE // 100
READ = RATE // 50


def simulate(
    ppm: float, seconds: float, *, jitter_s: float = 0.004, seed: int = 7
) -> tuple[list[Samples], list[ElasticState], Elastic]:
    """Write a tone in blocks of 10 ms by a clock that is *ppm* fast; read blocks of 20 ms by another.

    Both are late by up to *jitter_s* each time. Returns what was read and the state after every read.
    """
    rng = random.Random(seed)
    elastic = Elastic(RATE)
    written = 0
    read: list[Samples] = []
    states: list[ElasticState] = []
    writes = ((number * WRITTEN / (RATE * (1 + ppm * 1e-6))) for number in range(10**9))
    next_write = next(writes) + rng.random() * jitter_s
    for number in range(int(seconds * RATE / READ)):
        now = number * READ / RATE + rng.random() * jitter_s
        while next_write <= now:
            time = (written + np.arange(WRITTEN)) / RATE
            elastic.write((0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))
            written += WRITTEN
            next_write = next(writes) + rng.random() * jitter_s
        read.append(elastic.read(READ))
        states.append(elastic.state)
    return read, states, elastic


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_ten_minutes_of_drift_leave_no_gap_and_no_growing_delay(ppm: float) -> None:
    _, states, _ = simulate(ppm, 600)
    after_start = states[1500:]
    assert after_start[-1].gaps == after_start[0].gaps
    assert after_start[-1].skips == 0
    early = np.mean([state.filling_ms for state in after_start[:3000]])
    late = np.mean([state.filling_ms for state in after_start[-3000:]])
    assert abs(late - early) < 5.0
    assert max(state.filling_ms for state in after_start) < 80.0


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_the_speed_settles_at_the_drift(ppm: float) -> None:
    _, states, _ = simulate(ppm, 300)
    assert np.mean([state.ppm for state in states[-9000:]]) == pytest.approx(ppm, abs=60)


@pytest.mark.parametrize("ppm", [0.0, 200.0, -200.0])
def test_a_tone_comes_out_as_a_tone(ppm: float) -> None:
    read, _, _ = simulate(ppm, 60)
    sound = np.concatenate(read[1500:])
    steps = np.abs(np.diff(sound))
    assert steps.max() < 0.5 * 2 * np.pi * 440 / RATE * 1.05, "a jump in the wave is a click"
    spectrum = np.abs(np.fft.rfft(sound[: RATE * 20] * np.hanning(RATE * 20)))
    loudest = int(np.argmax(spectrum))
    assert loudest / 20 == pytest.approx(440, abs=0.5)
    near = spectrum[loudest - 60 : loudest + 60]
    noise = np.sum(spectrum**2) - np.sum(near**2)
    assert noise < 1e-5 * np.sum(near**2)


def test_bursts_raise_the_target_until_they_leave_no_gap() -> None:
    _, states, _ = simulate(0, 120, jitter_s=0.060)
    assert states[-1].gaps == states[len(states) // 2].gaps


def test_what_a_busy_minute_needed_is_given_back_within_minutes() -> None:
    elastic = Elastic(RATE)
    block = np.ones(WRITTEN, dtype=np.float32)
    for _ in range(20):  # the writer stops for longer and longer
        for _ in range(int(elastic.state.target_ms / 10) + 4):
            elastic.write(block)
        while elastic.state.filling_ms >= 20:
            elastic.read(READ)
        elastic.read(READ)
    busy = elastic.state
    for _ in range(5 * 60 * 50):
        elastic.write(block)
        elastic.write(block)
        elastic.read(READ)
    calm = elastic.state
    assert busy.target_ms == 160
    assert calm.target_ms < 60
    assert calm.gaps == busy.gaps


def test_a_reader_that_stops_does_not_hear_old_sound_for_ever() -> None:
    elastic = Elastic(RATE)
    for _ in range(1000):
        elastic.write(np.ones(WRITTEN, dtype=np.float32))
    assert elastic.state.filling_ms < 400
    assert elastic.state.skips > 0


def test_nothing_written_is_silence() -> None:
    elastic = Elastic(RATE)
    assert not elastic.read(READ).any()
    assert elastic.state.gaps == 0
