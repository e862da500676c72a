"""The comparison must find a sound wherever it is, and must not find another one."""

from __future__ import annotations

import math
import random
import wave
from array import array
from pathlib import Path

import pytest

import sipmikey.cli
from sipmikey.media.similarity import RATE, compare, compare_files, read_wav
from sipmikey.mikey.errors import LocalError

ASSETS = Path(sipmikey.cli.__file__).parent / "assets"
ALICE, BOB = read_wav(ASSETS / "alice.wav"), read_wav(ASSETS / "bob.wav")


def write(path: Path, samples: list[float], *, rate: int = RATE, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setframerate(rate)
        file.setsampwidth(width)
        file.setnchannels(channels)
        if width == 2:
            data = array("h", (int(value) for value in samples for _ in range(channels)))
            file.writeframes(data.tobytes())
    return path


def mu_law(sample: float) -> float:
    """Quantise as G.711 does: 128 steps a side, logarithmic."""
    full = 32768.0
    compressed = math.log1p(255 * abs(sample) / full) / math.log1p(255)
    expanded = full * math.expm1(round(compressed * 127) / 127 * math.log1p(255)) / 255
    return math.copysign(expanded, sample)


@pytest.mark.parametrize("delay_s", [0.0, 0.73, 3.0])
def test_the_sound_is_found_after_a_delay_at_another_level_and_through_g711(delay_s: float) -> None:
    noise = random.Random(1)
    sound = [0.3 * mu_law(sample) + noise.gauss(0, 5) for sample in ALICE]
    recording = [0.0] * int(delay_s * RATE) + sound + [0.0] * RATE
    result = compare(ALICE, recording)
    assert result.same
    assert result.matched == result.sections >= 10
    assert result.score > 0.98
    assert abs(result.delay_s - delay_s) <= 0.01


def test_a_recording_that_began_late_misses_the_beginning_only() -> None:
    result = compare(ALICE, ALICE[RATE // 4 :])
    assert abs(result.delay_s + 0.25) <= 0.01
    assert result.matched >= result.sections - 1


def test_lost_packets_do_not_hide_the_sound() -> None:
    packet = RATE // 50
    third = len(ALICE) // 3
    recording = ALICE[:third] + ALICE[third + packet : 2 * third] + [0.0] * packet + ALICE[2 * third :]
    assert compare(ALICE, recording).same


@pytest.mark.parametrize("shift_ms", [20, -20])
def test_a_receiver_short_of_time_does_not_hide_the_sound(shift_ms: int) -> None:
    """Every 400 ms it repeats a packet, or leaves one out."""
    step, gap = RATE * 2 // 5, RATE * abs(shift_ms) // 1000
    recording: list[float] = []
    for start in range(0, len(ALICE), step):
        piece = ALICE[start : start + step]
        recording += [0.0] * gap + piece if shift_ms > 0 else piece[gap:]
    result = compare(ALICE, recording)
    assert abs(len(recording) - len(ALICE)) > 8 * gap
    assert result.same
    assert not compare(BOB, recording).same


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("the other speaker", BOB),
        ("noise", [random.Random(2).gauss(0, 3000) for _ in range(6 * RATE)]),
        ("silence", [0.0] * 6 * RATE),
        ("a tone", [9000 * math.sin(2 * math.pi * 440 * n / RATE) for n in range(6 * RATE)]),
        ("the sound backwards", ALICE[::-1]),
        ("half of the sound", ALICE[: len(ALICE) // 2]),
        ("nothing", []),
    ],
)
def test_what_is_not_the_sound_is_not_taken_for_it(name: str, recording: list[float]) -> None:
    result = compare(ALICE, recording)
    assert not result.same, name
    if not name.startswith("half"):
        assert result.matched == 0
        assert result.score < 0.4


def test_silence_is_never_found() -> None:
    assert not compare([0.0] * 4 * RATE, [0.0] * 4 * RATE).same
    assert not compare([], ALICE).same


@pytest.mark.parametrize(("rate", "channels"), [(4000, 1), (16000, 1), (48000, 2)])
def test_rates_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    samples = [sample for sample in ALICE for _ in range(rate // RATE)]
    file = write(tmp_path / "recorded.wav", samples, rate=rate, channels=channels)
    assert compare_files(ASSETS / "alice.wav", file).same
    assert not compare_files(ASSETS / "bob.wav", file).same


def test_files_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not a WAV file")
    for file in (text, tmp_path / "absent.wav", write(tmp_path / "b.wav", [], width=1)):
        with pytest.raises(LocalError, match=file.name):
            compare_files(file, file)
    with pytest.raises(LocalError, match="44100"):
        read_wav(write(tmp_path / "cd.wav", [], rate=44100))
