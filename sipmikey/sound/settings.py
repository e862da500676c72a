"""What can be set about sound, and what sound tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sipmikey.mikey.errors import LocalError

_LOUDEST_DB = 20.0
_QUIETEST_DB = -60.0
_LONGEST_TAIL_MS = 500


class Role(StrEnum):
    """What a device is used for."""

    INPUT = "input"
    OUTPUT = "output"
    RINGER = "ringer"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSettings:
    """``input``, ``output``, ``ringer``: names of devices, or parts of them; empty: the system's default.

    ``input_db``, ``output_db``: volume in decibels (0: as it comes). ``gate_db``: what stays below is noise
    and turned down; None: no gate. ``echo_tail_ms``: how long an echo the canceller looks for; 0: it is off.
    """

    input: str = ""
    output: str = ""
    ringer: str = ""
    input_db: float = 0.0
    output_db: float = 0.0
    gate_db: float | None = None
    echo_tail_ms: int = 0

    def __post_init__(self) -> None:
        for name in ("input_db", "output_db"):
            if not _QUIETEST_DB <= getattr(self, name) <= _LOUDEST_DB:
                raise LocalError(f"sound.{name}: {_QUIETEST_DB:g} to {_LOUDEST_DB:g} decibels")
        if self.gate_db is not None and not _QUIETEST_DB - 36 <= self.gate_db < 0:
            raise LocalError("sound.gate_db: decibels below full scale, such as -50")
        if not 0 <= self.echo_tail_ms <= _LONGEST_TAIL_MS:
            raise LocalError(f"sound.echo_tail_ms: 0 to {_LONGEST_TAIL_MS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNews:
    """A device was opened (``open``), pulled out (``lost``) or could not be used (``failed``).

    ``name`` is empty for the system's default.
    """

    role: Role
    state: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelNews:
    """How loud it was in the last 100 ms, in decibels relative to full scale."""

    role: Role
    rms_db: float
    peak_db: float


News = DeviceNews | LevelNews
