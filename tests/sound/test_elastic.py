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
    ppm: float,
    seconds: float,
    *,
    jitter_s: float = 0.004,
    seed: int = 7,
    written: int = RATE // 100,
    read: int = RATE // 50,
) -> tuple[list[Samples], list[ElasticState], Elastic]:
    """Write a tone in blocks by a clock that is *ppm* fast; read blocks by another.

    Both are late by up to *jitter_s* each time. Returns what was read and the state after every read.
    """
    rng = random.Random(seed)
    now = 0.0
    elastic = Elastic(RATE, clock=lambda: now)
    heard: list[Samples] = []
    states: list[ElasticState] = []
    blocks = 0
    period_s = written / (RATE * (1 + ppm * 1e-6))
    next_write = rng.random() * jitter_s
    for number in range(int(seconds * RATE / read)):
        now_read = number * read / RATE + rng.random() * jitter_s
        while next_write <= now_read:
            now = next_write
            time = (blocks * written + np.arange(written)) / RATE
            elastic.write((0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))
            blocks += 1
            next_write = max(now, blocks * period_s + rng.random() * jitter_s)
        now = now_read
        heard.append(elastic.read(read))
        states.append(elastic.state)
    return heard, states, elastic


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


@pytest.mark.parametrize("ppm", [-1500.0, 1500.0])
@pytest.mark.parametrize(("written", "read"), [(320, 160), (320, 640), (160, 320)])
def test_blocks_that_drift_through_each_other_leave_no_gap(ppm: float, written: int, read: int) -> None:
    """Where a block is read just before the next one is written, a whole block less is there."""
    _, states, _ = simulate(ppm, 40, jitter_s=0.002, written=written, read=read)
    assert states[-1].gaps == 0
    assert states[-1].skips == 0


def test_bursts_raise_the_target_until_they_leave_no_gap() -> None:
    _, states, _ = simulate(0, 120, jitter_s=0.060)
    assert states[-1].gaps == states[len(states) // 2].gaps


def test_a_writer_that_is_late_once_is_not_heard_as_a_hole() -> None:
    now = 0.0
    elastic = Elastic(RATE, clock=lambda: now)
    time = np.arange(RATE * 10) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    heard, waiting = [], 0
    for number in range(400):
        now = number * READ / RATE
        waiting += 1
        if not 300 <= number < 302:  # 40 ms late
            for at in range(number + 1 - waiting, number + 1):
                elastic.write(tone[at * READ : (at + 1) * READ])
            waiting = 0
        now += READ / RATE / 2
        heard.append(elastic.read(READ))
    assert elastic.state.gaps == 1
    assert elastic.state.target_ms > 16
    blocks = np.concatenate(heard[200:]).reshape(-1, RATE // 100)
    assert np.sqrt(np.mean(blocks**2, axis=1)).min() > 0.15


def test_a_side_that_was_away_begins_as_at_first() -> None:
    elastic = Elastic(RATE, clock=lambda: 0.0)
    for _ in range(20):
        elastic.write(np.ones(WRITTEN, dtype=np.float32))
    elastic.read(READ)
    for _ in range(10):  # nobody reads
        elastic.write(np.ones(WRITTEN, dtype=np.float32))
    elastic.start_over()
    elastic.read(READ)
    assert elastic.state.filling_ms < 40
    assert elastic.state.gaps == 0


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
