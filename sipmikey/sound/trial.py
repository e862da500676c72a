"""Trying the devices out: play a tone, record, play what was recorded."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from sipmikey.sound.devices import Devices, Direction, choose, open_input, open_output
from sipmikey.sound.errors import NoSoundDevice
from sipmikey.sound.samples import Samples, from_octets, to_octets
from sipmikey.sound.shaping import Level, Meter

RATE = 16000
_SLACK_S = 3.0
_RUNS_S = 1.5
_AUDIBLE_DB = -60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a microphone took up, 16000 samples a second, and how loud it was."""

    samples: Samples
    level: Level

    @property
    def audible(self) -> bool:
        """False when the microphone gave silence: it is muted, or the wrong one."""
        return self.level.peak_db > _AUDIBLE_DB


def play(samples: Samples, name: str = "", *, stop: threading.Event | None = None) -> None:
    """Play *samples* on the output device *name* (empty: the default), at most until *stop* is set.

    Raises ``NoSoundDevice``.
    """
    octets = to_octets(samples)
    done = stop or threading.Event()

    def source() -> Generator[bytes, int, None]:
        at, made = 0, b""
        while True:
            size = 2 * (yield made)
            made = octets[at : at + size].ljust(size, b"\0")
            at += size
            if at > len(octets) + RATE // 5:
                done.set()

    device = open_output(RATE, _identifier(name, Direction.OUTPUT), source())
    try:
        if not done.wait(len(samples) / RATE + _SLACK_S):
            raise NoSoundDevice("the speaker does not take what is played")
    finally:
        device.close()


def record(seconds: float, name: str = "", *, stop: threading.Event | None = None) -> Recording:
    """Record from the input device *name* (empty: the default), at most until *stop* is set.

    Raises ``NoSoundDevice``.
    """
    wanted = int(seconds * RATE)
    blocks: list[Samples] = []
    done = stop or threading.Event()

    def feed() -> Generator[None, bytes, None]:
        taken = 0
        while True:
            block = from_octets((yield))
            if taken < wanted:
                blocks.append(block)
                taken += len(block)
            if taken >= wanted:
                done.set()

    device = open_input(RATE, _identifier(name, Direction.INPUT), feed())
    try:
        if not done.wait(seconds + _SLACK_S):
            raise NoSoundDevice("the microphone gives nothing")
    finally:
        device.close()
    if not blocks:
        raise NoSoundDevice("the microphone gives nothing")
    samples = np.concatenate(blocks)[:wanted]
    level = Meter(RATE, len(samples) / RATE).add(samples)
    assert level is not None, "a meter whose window is what was recorded"
    return Recording(samples=samples, level=level)


def open_and_close(direction: Direction, name: str = "") -> None:
    """Find out whether the device *name* (empty: the default) runs. Nothing is heard or kept.

    Raises ``NoSoundDevice``.
    """
    runs = threading.Event()

    def feed() -> Generator[None, bytes, None]:
        while True:
            yield
            runs.set()

    def source() -> Generator[bytes, int, None]:
        made = b""
        while True:
            made = bytes(2 * (yield made))
            runs.set()

    identifier = _identifier(name, direction)
    if direction is Direction.INPUT:
        device, what = open_input(RATE, identifier, feed()), "microphone gives"
    else:
        device, what = open_output(RATE, identifier, source()), "speaker takes"
    try:
        if not runs.wait(_RUNS_S):
            raise NoSoundDevice(f"the {what} nothing")
    finally:
        device.close()


def _identifier(name: str, direction: Direction) -> object:
    if not name:
        return None
    devices = Devices()
    return devices.identifier(choose(name, direction, devices.all()), direction)
