"""What can be asked of the sound while it runs: plain data, so that it can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.sound.settings import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectDevice:
    """Use the device of that name, or with that part of a name; empty: the system's default."""

    role: Role
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Send silence instead of the microphone, or no longer."""

    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVolume:
    """Set the volume of the microphone or the speaker; 0 decibels is as it comes."""

    role: Role
    db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayTone:
    """Let a tone of `tones.NAMES`, or the tones of a DTMF key, be heard in the speaker."""

    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTones:
    """Stop the tones in the speaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Ring on the ringer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRinging:
    """Stop ringing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLevels:
    """Tell the levels ten times a second, or no longer."""

    watched: bool


Command = SelectDevice | Mute | SetVolume | PlayTone | StopTones | Ring | StopRinging | WatchLevels
