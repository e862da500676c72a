"""One sound device in use: opened, watched, and opened again when it was pulled out and put back."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from sipmikey.sound.devices import SPEAKER_MS, Device, Devices, Direction, choose, open_input, open_output
from sipmikey.sound.elastic import Elastic
from sipmikey.sound.errors import NoSoundDevice
from sipmikey.sound.samples import from_octets, to_octets

_STALLED_S = 3.0
DEFAULT = ""

_WINDOW_S = 4.0
_LONGEST_WINDOW_S = 8.0
_STARTING_S = 3.0
"""What a speaker takes in its first seconds says nothing of how it is served."""

_ENOUGH = 0.98
_LONGEST_MS = 2 * SPEAKER_MS

Told = Callable[[str, str, str], None]
"""Takes what happened (``open``, ``lost``, ``failed``), the device's name (empty: the default), and why."""


class Line:
    """A microphone or speaker with the buffer between its clock and ours.

    *wanted* is a name, or a part of one; empty for the system's default. While the device of that name is
    not there, the default takes its place. All methods belong to one thread; `elastic` may be used by others.

    A speaker that is served late plays silence, and takes less than it should in that time. Where that is
    told by what it took, it is opened again with longer blocks, for as long as this object lives.
    """

    def __init__(self, direction: Direction, rate: int, wanted: str, tell: Told) -> None:
        self.elastic = Elastic(rate)
        self.wanted = wanted
        self._direction = direction
        self._rate = rate
        self._tell = tell
        self._device: Any = None
        self._name: str | None = None
        self._beat = self._opened_at = 0.0
        self._period_ms = SPEAKER_MS
        self._taken = 0
        self._counted_from: tuple[float, int] | None = None
        self._complained = ""

    def select(self, wanted: str) -> None:
        """Use another device from now on; `look` opens it."""
        self.wanted = wanted
        self._complained = ""

    def look(self, devices: Devices) -> None:
        """Open what is wanted and there; find out whether what is open still works.

        Raises ``NoSoundDevice`` where the sound system itself does not answer.
        """
        there = devices.all()
        name = self._best(there)
        if self._device is not None and self._lost(there):
            self._tell("lost", self._name or DEFAULT, "the device is gone")
            self.close()
        if self._device is None or name != self._name:
            if self._open(devices, name):
                self._tell("open", name, "")
        elif self._served_late():
            self._period_ms *= 2
            self._open(devices, name)

    def close(self) -> None:
        """Give the device back."""
        device, self._device, self._name = self._device, None, None
        if device is not None:
            device.close()

    def _best(self, there: tuple[Device, ...]) -> str:
        if self.wanted == DEFAULT:
            return DEFAULT
        try:
            return choose(self.wanted, self._direction, there)
        except NoSoundDevice as error:
            self.complain(str(error))
            return DEFAULT

    def _lost(self, there: tuple[Device, ...]) -> bool:
        named = self._name != DEFAULT
        gone = named and not any(
            device.name == self._name and device.direction is self._direction for device in there
        )
        return gone or time.monotonic() - self._beat > _STALLED_S

    def _served_late(self) -> bool:
        """Return whether the speaker took too little for some seconds, and longer blocks may help."""
        now, taken = time.monotonic(), self._taken
        if now - self._opened_at < _STARTING_S:
            return False
        before, self._counted_from = self._counted_from, self._counted_from or (now, taken)
        if before is None or now - before[0] < _WINDOW_S or self._direction is Direction.INPUT:
            return False
        self._counted_from = now, taken
        wanted = (now - before[0]) * self._rate * _ENOUGH
        # A machine that slept has no speaker that was late.
        late = taken - before[1] < wanted and now - before[0] < _LONGEST_WINDOW_S
        return late and self._period_ms < _LONGEST_MS

    def _open(self, devices: Devices, name: str) -> bool:
        """Open the device, and return whether that went well."""
        self.close()
        identifier = None if name == DEFAULT else devices.identifier(name, self._direction)
        self._beat = self._opened_at = time.monotonic()
        try:
            if self._direction is Direction.INPUT:
                self._device = open_input(self._rate, identifier, self._feed())
            else:
                self._device = open_output(self._rate, identifier, self._source(), period_ms=self._period_ms)
        except NoSoundDevice as error:
            self.complain(str(error))
            return False
        self._name, self._counted_from = name, None
        self.elastic.start_over()
        if name != DEFAULT or self.wanted == DEFAULT:
            self._complained = ""
        return True

    def complain(self, why: str) -> None:
        """Tell of a trouble once, not every second."""
        if why != self._complained:
            self._complained = why
            self._tell("failed", self.wanted, why)

    def _feed(self) -> Generator[None, bytes, None]:
        while True:
            octets = yield
            self._beat = time.monotonic()
            self.elastic.write(from_octets(octets))

    def _source(self) -> Generator[bytes, int, None]:
        made = b""
        while True:
            count = yield made
            self._beat = time.monotonic()
            self._taken += count
            made = to_octets(self.elastic.read(count))
