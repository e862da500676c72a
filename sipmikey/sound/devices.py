"""The sound devices of this machine, by name, through miniaudio.

miniaudio is one small wheel that loads PulseAudio (PipeWire speaks its protocol), ALSA, JACK, CoreAudio or
WASAPI when it runs, so that no system package is needed to install it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import miniaudio

from sipmikey.sound.errors import NoSoundDevice

MICROPHONE_MS = 10
"""Milliseconds from one block that a microphone gives to the next; it holds three of them."""

SPEAKER_MS = 20
"""The same of a speaker. A program that is served two blocks late is heard without a gap."""

UNHURRIED_MS = 40
"""The same where nobody waits for an answer: a ring tone, a recording that is played."""

_APPLICATION = "sipmikey"


class Direction(StrEnum):
    """``INPUT``: microphones; ``OUTPUT``: speakers and ringers."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A sound device. ``monitor``: it hears what a speaker plays (PulseAudio), and is not a microphone."""

    name: str
    direction: Direction
    monitor: bool = False


class Devices:
    """Looks at the devices there are. Raises ``NoSoundDevice`` where there is no sound system at all."""

    def __init__(self) -> None:
        try:
            self._found = miniaudio.Devices()
        except miniaudio.MiniaudioError as error:
            raise NoSoundDevice(f"no sound system answers here ({error})") from None
        self.backend = str(self._found.backend)
        if self.backend == "Null":
            raise NoSoundDevice("there is neither PulseAudio, PipeWire nor ALSA (CoreAudio on macOS) here")

    def all(self) -> tuple[Device, ...]:
        """Return the devices that are plugged in now. Raises ``NoSoundDevice`` when nobody answers."""
        return tuple(device for direction in Direction for device, _ in self._of(direction))

    def identifier(self, name: str, direction: Direction) -> Any:
        """Return miniaudio's identifier of the device with exactly this *name*, None when it is not there."""
        for device, identifier in self._of(direction):
            if device.name == name:
                return identifier
        return None

    def _of(self, direction: Direction) -> list[tuple[Device, Any]]:
        # miniaudio's own listing also asks each device for its formats, and crashes when one goes meanwhile.
        ffi, lib = miniaudio.ffi, miniaudio.lib
        infos, count = ffi.new("ma_device_info**"), ffi.new("ma_uint32*")
        nothing = (ffi.NULL, ffi.NULL)
        wanted = (*nothing, infos, count) if direction is Direction.INPUT else (infos, count, *nothing)
        status = lib.ma_context_get_devices(self._found._context, *wanted)
        if status != lib.MA_SUCCESS:
            raise NoSoundDevice(f"the sound system does not answer (miniaudio says {status})")
        listed = [infos[0][number] for number in range(count[0])]
        # The identifier is copied: the list is miniaudio's, until it is asked again.
        return [
            (
                _device(ffi.string(one.name).decode(errors="replace"), direction),
                ffi.new("ma_device_id*", one.id),
            )
            for one in listed
        ]


def _device(name: str, direction: Direction) -> Device:
    monitor = direction is Direction.INPUT and name.startswith("Monitor of ")
    return Device(name=name, direction=direction, monitor=monitor)


def choose(wanted: str, direction: Direction, devices: tuple[Device, ...]) -> str:
    """Return the full name of the device *wanted* names: all of it, or a part that only one has.

    Raises ``NoSoundDevice`` naming those there are.
    """
    names = [device.name for device in devices if device.direction is direction]
    if wanted in names:
        return wanted
    close = [name for name in names if wanted.lower() in name.lower()]
    if len(close) == 1:
        return close[0]
    which = f"{len(close)} devices have" if close else "no device has"
    there = "; ".join(close or names) or "none"
    raise NoSoundDevice(f"{which} {wanted!r} in the name; {direction} devices: {there}")


def open_input(rate: int, identifier: Any, feed: Generator[None, bytes, None]) -> Any:
    """Start a microphone that sends 16-bit mono samples at *rate* to *feed*; close it with ``close()``.

    *identifier* None: the system's default. Raises ``NoSoundDevice``.
    """
    return _started(miniaudio.CaptureDevice, "input_format", rate, identifier, feed, MICROPHONE_MS)


def open_output(
    rate: int, identifier: Any, source: Generator[bytes, int, None], *, period_ms: int = UNHURRIED_MS
) -> Any:
    """Start a speaker that asks *source* for so many 16-bit mono samples; close it with ``close()``.

    *identifier* None: the system's default. Raises ``NoSoundDevice``.
    """
    return _started(miniaudio.PlaybackDevice, "output_format", rate, identifier, source, period_ms)


def _started(kind: Any, format_name: str, rate: int, identifier: Any, generator: Any, period_ms: int) -> Any:
    try:
        device = kind(
            nchannels=1,
            sample_rate=rate,
            buffersize_msec=period_ms,
            device_id=identifier,
            app_name=_APPLICATION,
            **{format_name: miniaudio.SampleFormat.SIGNED16},
        )
    except miniaudio.MiniaudioError as error:
        raise NoSoundDevice(f"the sound device cannot be opened ({error})") from None
    next(generator)
    try:
        device.start(generator)
    except miniaudio.MiniaudioError as error:
        device.close()
        raise NoSoundDevice(f"the sound device does not start ({error})") from None
    return device
