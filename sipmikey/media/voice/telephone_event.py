"""DTMF keys as telephone events in RTP (RFC 4733). No I/O."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

KEYS = "0123456789*#ABCD"
"""The keys, each at its event code (RFC 4733 section 3.2)."""

_PAYLOAD = struct.Struct("!BBH")
_END = 0x80
_VOLUME = 10
"""Loudness in -dBm0."""

_FRAMES = 6
"""Frames of 20 ms that a key is held."""

_ENDS = 3
"""Packets that tell the end (RFC 4733 section 2.5.1.4)."""

_PAUSE = 4
"""Frames between two keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is sent in one frame's time. ``payload``: None in a pause. ``begins``, ``ends``: an event.

    ``lasted``: from the begin of the event to now, by the clock of the timestamps.
    """

    payload: bytes | None = None
    begins: bool = False
    ends: bool = False
    lasted: int = 0


class Digits:
    """Keys that wait to be sent. *ticks*: what the timestamp grows by in a frame's time."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks
        self._waiting: deque[str] = deque()
        self._frame = 0

    def add(self, digits: str) -> None:
        """Send *digits* after those that wait. Raises ``ValueError`` for one that is not a key."""
        for digit in digits:
            KEYS.index(digit)
        self._waiting.extend(digits)

    @property
    def over(self) -> bool:
        """True when all was sent."""
        return not self._waiting

    def next(self) -> Step:
        """Return what is sent in the next frame's time."""
        frame, self._frame = self._frame, self._frame + 1
        sent = _FRAMES + _ENDS - 1
        if frame >= sent:
            if frame == sent + _PAUSE - 1:
                self._frame = 0
                self._waiting.popleft()
            return Step()
        event = KEYS.index(self._waiting[0])
        over = frame >= _FRAMES - 1
        # The duration of the end is told again in each of its packets.
        duration = min(frame + 1, _FRAMES) * self._ticks
        payload = _PAYLOAD.pack(event, _END | _VOLUME if over else _VOLUME, duration)
        return Step(
            payload=payload, begins=frame == 0, ends=frame == sent - 1, lasted=(frame + 1) * self._ticks
        )


class HeardDigits:
    """Tells each key once, although many packets tell of it."""

    def __init__(self) -> None:
        self._last: int | None = None

    def take(self, timestamp: int, payload: bytes) -> str:
        """Return the key that was pressed, "" where it is known already or is not a DTMF key."""
        if len(payload) < _PAYLOAD.size or timestamp == self._last:
            return ""
        event, _, _ = _PAYLOAD.unpack_from(payload)
        if event >= len(KEYS):
            return ""
        self._last = timestamp
        return KEYS[event]
