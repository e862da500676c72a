"""DTMF keys as telephone events in RTP (RFC 4733). No I/O."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

from sipmikey.media.rtp import timestamps_apart

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

_LATEST = 16000
"""A packet up to so many ticks before the newest event tells of an old one; from longer ago, of a new one."""

_KEY_S = 0.063
"""The least time from one key to the next: 40 ms of tone and 23 ms of pause (ITU-T Q.24)."""

_BURST = 16
"""Keys that may come at once, after a network held them back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is sent in one frame's time. ``payload``: None in a pause. ``begins``, ``ends``: an event.

    ``lasted``: from the beginning of the event to now, by the clock of the timestamps.
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


class DigitRate:
    """Lets so many keys pass as a machine that dials fast can press, and not a flood of them."""

    def __init__(self) -> None:
        self._full_at: float | None = None

    def passes(self, now: float) -> bool:
        """Return whether a key heard at *now*, in seconds, is to be told."""
        full_at = now if self._full_at is None else max(now, self._full_at)
        if full_at - now > (_BURST - 1) * _KEY_S:
            return False
        self._full_at = full_at + _KEY_S
        return True


class HeardDigits:
    """Tells each key once, although many packets tell of it, in any order and more than once.

    Packets of one event have one timestamp (RFC 4733 section 2.5.1.2); what goes on longer than a duration
    can say is told in segments, each of which begins where the one before ended (section 2.5.1.3).
    """

    def __init__(self) -> None:
        self._rate = DigitRate()
        self._last: int | None = None
        self._event = 0
        self._lasted = 0
        self._ended = False

    def take(self, timestamp: int, payload: bytes, now: float) -> str:
        """Return the key that was pressed, "" where it is known already or is not a DTMF key.

        *now*: when the packet came, in seconds.
        """
        if len(payload) < _PAYLOAD.size:
            return ""
        event, flags, duration = _PAYLOAD.unpack_from(payload)
        if event >= len(KEYS):
            return ""
        ahead = 1 if self._last is None else timestamps_apart(timestamp, self._last)
        if ahead == 0:
            self._lasted = max(self._lasted, duration)
            self._ended = self._ended or bool(flags & _END)
            return ""
        if -_LATEST <= ahead < 0:
            return ""
        goes_on = not self._ended and event == self._event and ahead == self._lasted
        self._last, self._event = timestamp, event
        self._lasted, self._ended = duration, bool(flags & _END)
        return KEYS[event] if not goes_on and self._rate.passes(now) else ""
