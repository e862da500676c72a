"""A speaker that is served late is opened again with longer blocks; others are left as they are."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from sipmikey.sound import line
from sipmikey.sound.devices import MICROPHONE_MS, SPEAKER_MS, Device, Direction
from sipmikey.sound.line import DEFAULT, Line

RATE = 16000


class Clock:
    """Stands for the module ``time``."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class There:
    """Devices, of which the system's default is used."""

    def all(self) -> tuple[Device, ...]:
        return ()


class Fixture:
    """A line on a device that takes or gives *share* of what it should. ``opened``: periods, in order."""

    def __init__(self, patch: pytest.MonkeyPatch, direction: Direction) -> None:
        self.clock = Clock()
        self.opened: list[int] = []
        self.told: list[str] = []
        self._generator: Any = None
        patch.setattr(line, "time", self.clock)
        patch.setattr(line, "open_output", self._open)
        patch.setattr(line, "open_input", self._open)
        self.line = Line(direction, RATE, DEFAULT, lambda state, name, detail: self.told.append(state))
        self._input = direction is Direction.INPUT

    def _open(self, rate: int, identifier: Any, generator: Generator[Any, Any, None], **more: int) -> Any:
        self.opened.append(more.get("period_ms", MICROPHONE_MS))
        next(generator)
        self._generator = generator
        return self

    def close(self) -> None:
        """Close the device."""

    def run(self, seconds: int, share: float) -> None:
        """Let the device run, and be looked at, for some seconds."""
        for _ in range(seconds):
            self.line.look(There())  # type: ignore[arg-type]
            count = int(RATE * share)
            self._generator.send(bytes(2 * count) if self._input else count)
            self.clock.now_s += 1.0


def test_longer_blocks_are_tried_where_the_speaker_takes_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Fixture(monkeypatch, Direction.OUTPUT)
    made.run(30, share=1.0)
    assert made.opened == [SPEAKER_MS]
    made.run(10, share=0.95)
    assert made.opened == [SPEAKER_MS, 2 * SPEAKER_MS]
    made.run(60, share=0.95)
    assert made.opened == [SPEAKER_MS, 2 * SPEAKER_MS], "longer ones would be heard as a delay"
    assert made.told == ["open"], "it is the same device"


def test_a_speaker_that_is_slow_to_start_is_not_served_late(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Fixture(monkeypatch, Direction.OUTPUT)
    made.run(2, share=0.1)
    made.run(30, share=1.0)
    assert made.opened == [SPEAKER_MS]


def test_the_microphone_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Fixture(monkeypatch, Direction.INPUT)
    made.run(20, share=0.9)
    assert made.opened == [MICROPHONE_MS]


def test_a_machine_that_slept_has_no_speaker_that_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Fixture(monkeypatch, Direction.OUTPUT)
    made.run(5, share=1.0)
    made.clock.now_s += 3600.0
    made.run(20, share=1.0)
    assert set(made.opened) == {SPEAKER_MS}, "it is lost, and opened as it was"
