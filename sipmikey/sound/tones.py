"""What a telephone plays by itself: ring, ring-back, call waiting, busy, and the digits dialled. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sipmikey.mikey.errors import LocalError
from sipmikey.sound.samples import Samples, silence

_FADE_S = 0.005
_LOUDNESS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """*frequencies* in hertz, sounding and silent in turn as *cadence* says (seconds), over and over while
    ``repeat``. ``warble``: with two frequencies or more, let them take turns at so many changes a second
    instead of sounding together."""

    frequencies: tuple[float, ...]
    cadence: tuple[float, ...]
    repeat: bool = True
    warble: float = 0.0
    loudness: float = _LOUDNESS


RING = Tone(frequencies=(740.0, 880.0), cadence=(1.2, 2.8), warble=20.0, loudness=0.5)
RING_BACK = Tone(frequencies=(425.0,), cadence=(1.0, 4.0))
"""ETSI TR 101 041-2: 425 Hz, one second on, four seconds off."""
CALL_WAITING = Tone(frequencies=(425.0,), cadence=(0.2, 0.6, 0.2, 4.0))
BUSY = Tone(frequencies=(425.0,), cadence=(0.5, 0.5))

NAMES = {"ring": RING, "ring-back": RING_BACK, "call-waiting": CALL_WAITING, "busy": BUSY}
"""The tones that go on until they are stopped."""

_ROWS = (697.0, 770.0, 852.0, 941.0)
_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS = "123A456B789C*0#D"


def digit(key: str) -> Tone:
    """Return the two tones of a DTMF *key* (ITU-T Q.23), once. Raises ``LocalError`` for another key."""
    place = _KEYS.find(key.upper()) if len(key) == 1 else -1
    if place < 0:
        raise LocalError(f"{key!r}: DTMF has the digits 0-9, *, # and A-D")
    return Tone(
        frequencies=(_ROWS[place // 4], _COLUMNS[place % 4]), cadence=(0.12, 0.04), repeat=False, loudness=0.2
    )


def tone_of(name: str) -> Tone:
    """Return the tone of a name in ``NAMES``, or of a DTMF key. Raises ``LocalError`` for another word."""
    return NAMES[name] if name in NAMES else digit(name)


class TonePlayer:
    """Gives the samples of a tone in blocks of any size."""

    def __init__(self, tone: Tone, rate: int) -> None:
        self._rate = rate
        self._period = _render(tone, rate)
        self._repeat = tone.repeat
        self._at = 0

    @property
    def repeats(self) -> bool:
        """False for a tone that ends by itself."""
        return self._repeat

    @property
    def over(self) -> bool:
        """True when a tone that does not repeat has been played."""
        return not self._repeat and self._at >= len(self._period)

    def next(self, count: int) -> Samples:
        """Return the next *count* samples; silence after the end."""
        if self._repeat:
            places = (self._at + np.arange(count)) % len(self._period)
            self._at = (self._at + count) % len(self._period)
            return self._period[places]
        made = silence(count)
        piece = self._period[self._at : self._at + count]
        made[: len(piece)] = piece
        self._at += count
        return made


def _render(tone: Tone, rate: int) -> Samples:
    """Return one period of *tone*."""
    parts = [
        _sounding(tone, round(length * rate), rate) if number % 2 == 0 else silence(round(length * rate))
        for number, length in enumerate(tone.cadence)
    ]
    return np.concatenate(parts)


def _sounding(tone: Tone, count: int, rate: int) -> Samples:
    time = np.arange(count) / rate
    if tone.warble:
        turn = (time * tone.warble).astype(int) % len(tone.frequencies)
        wave = np.sin(2 * np.pi * np.cumsum(np.array(tone.frequencies)[turn]) / rate)
    else:
        wave = np.sum([np.sin(2 * np.pi * one * time) for one in tone.frequencies], axis=0)
        wave /= len(tone.frequencies)
    fade = min(count // 2, round(_FADE_S * rate))
    wave[:fade] *= np.linspace(0, 1, fade)
    wave[count - fade :] *= np.linspace(1, 0, fade)
    return (tone.loudness * wave).astype(np.float32)
