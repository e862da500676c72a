"""Tones have their frequencies and cadences; volume, gate and meter do what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sipmikey.mikey.errors import LocalError
from sipmikey.sound.bridge import SoundBridge
from sipmikey.sound.clock import Clock
from sipmikey.sound.commands import PlayTone, StopTones
from sipmikey.sound.device_room import DeviceRoom
from sipmikey.sound.samples import from_octets, silence, to_octets
from sipmikey.sound.settings import SoundSettings
from sipmikey.sound.shaping import FLOOR_DB, Gate, Meter, Volume
from sipmikey.sound.tones import NAMES, RING_BACK, Tone, TonePlayer, digit

RATE = 16000


def loudest(samples: np.ndarray, count: int) -> list[float]:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    found = []
    for _ in range(count):
        peak = int(np.argmax(spectrum))
        found.append(peak * RATE / len(samples))
        spectrum[max(0, peak - 20) : peak + 20] = 0
    return sorted(found)


def test_octets_and_samples_are_each_others_inverse() -> None:
    octets = np.arange(-32768, 32768, dtype=np.int16).tobytes()
    assert to_octets(from_octets(octets)) == octets


def test_what_is_too_loud_is_clipped() -> None:
    assert np.frombuffer(to_octets(np.array([2.0, -2.0], dtype=np.float32)), np.int16).tolist() == [
        32767,
        -32768,
    ]


@pytest.mark.parametrize(("key", "low", "high"), [("1", 697, 1209), ("0", 941, 1336), ("D", 941, 1633)])
def test_a_digit_has_the_two_tones_of_its_row_and_column(key: str, low: float, high: float) -> None:
    player = TonePlayer(digit(key), RATE)
    heard = player.next(int(0.12 * RATE))
    assert loudest(heard, 2) == pytest.approx([low, high], abs=10)
    player.next(RATE)
    assert player.over


@pytest.mark.parametrize("key", ["", "12", "x"])
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(LocalError, match="DTMF"):
        digit(key)


def test_ring_back_sounds_one_second_in_five() -> None:
    player = TonePlayer(RING_BACK, RATE)
    # Blocks of a size that does not divide the period.
    sound = np.concatenate([player.next(317) for _ in range(10 * RATE // 317 + 1)])[: 10 * RATE]
    active = np.abs(sound).reshape(-1, RATE // 10).max(axis=1) > 0.01
    assert active.tolist() == ([True] * 10 + [False] * 40) * 2
    assert loudest(sound[: RATE // 2], 1) == pytest.approx([425], abs=4)


@pytest.mark.parametrize("tone", NAMES.values(), ids=NAMES)
def test_tones_neither_click_nor_clip(tone: Tone) -> None:
    sound = TonePlayer(tone, RATE).next(RATE * 6)
    assert 0.05 < np.abs(sound).max() < 0.9
    assert np.abs(np.diff(sound)).max() < 0.5


def test_a_meter_tells_the_level_of_every_window() -> None:
    meter = Meter(RATE)
    wave = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / RATE)).astype(np.float32)
    level = meter.add(wave)
    assert level is not None
    assert level.rms_db == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.05)
    assert level.peak_db == pytest.approx(-6.0, abs=0.1)
    quiet = meter.add(silence(1600))
    assert quiet is not None
    assert quiet.rms_db == FLOOR_DB
    assert meter.add(silence(10)) is None


def test_a_change_of_volume_does_not_click() -> None:
    volume = Volume()
    ones = np.ones(320, dtype=np.float32)
    assert volume.apply(ones) is ones
    volume.muted = True
    faded = volume.apply(ones)
    assert faded[0] == 1.0
    assert faded[-1] == 0.0
    assert np.abs(np.diff(faded)).max() < 0.01
    assert not volume.apply(ones).any()
    volume.muted, volume.db = False, -20.0
    volume.apply(ones)
    assert volume.apply(ones)[0] == pytest.approx(0.1)


def test_the_gate_lets_speech_pass_and_turns_noise_down() -> None:
    rng = np.random.default_rng(1)
    gate = Gate(RATE, threshold_db=-40)
    noise = (rng.standard_normal(RATE) * 0.003).astype(np.float32)
    shaped = np.concatenate([gate.apply(noise[i : i + 320]) for i in range(0, RATE, 320)])
    assert np.std(shaped[-3200:]) < np.std(noise) / 10
    assert not gate.open
    speech = (rng.standard_normal(320) * 0.1).astype(np.float32)
    gate.apply(speech)
    assert np.array_equal(gate.apply(speech), speech)


def test_keys_pressed_are_heard_one_after_the_other_beside_the_call() -> None:
    bridge = SoundBridge(SoundSettings(), rate=RATE, tell=lambda news: None)
    for command in (PlayTone(tone="1"), PlayTone(tone="9")):
        bridge.obey(command)
    block = RATE // 50
    played: list[np.ndarray] = []
    speaker = bridge._speaker.elastic
    speaker.write = played.append  # type: ignore[assignment, method-assign]
    for _ in range(20):
        bridge.exchange(to_octets(silence(block)))
    sound = np.concatenate(played)
    assert loudest(sound[: int(0.12 * RATE)], 2) == pytest.approx([697, 1209], abs=10)
    assert loudest(sound[int(0.16 * RATE) : int(0.28 * RATE)], 2) == pytest.approx([852, 1477], abs=10)
    assert not sound[int(0.33 * RATE) :].any()


def test_the_tone_of_a_key_keeps_no_device_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that a ring-back tone opened are given back when it stops."""
    wished: list[str] = []
    for name in ("begin", "end"):
        monkeypatch.setattr(SoundBridge, name, lambda self, name=name: wished.append(name))
    monkeypatch.setattr(Clock, "start", lambda self: None)
    room = DeviceRoom(SoundSettings(), lambda news: None)
    room.obey(PlayTone(tone="5"))
    assert wished == []
    room.obey(PlayTone(tone="ring-back"))
    room.obey(StopTones())
    assert wished == ["begin", "end"]
