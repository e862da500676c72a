"""Tones that tell the parties of a conference apart, and who of them is heard in a recording that grows."""

from __future__ import annotations

import array
import asyncio
import math
import wave
from collections.abc import Mapping
from pathlib import Path

TONES: Mapping[str, int] = {"alice": 500, "bob": 800, "carol": 1300, "dave": 1900}
"""Name -> Hz: none is a multiple of another, and each has whole periods in a frame of 20 ms or 100 ms."""

RATE = 16000
"""Samples a second of the files that are played, and of pjmedia's recordings."""

LOUD = 0.02
"""Of full scale; the tones are sent at 0.2."""

_HEADER = 44
_RATE_AT = slice(24, 28)
_WAIT_S = 15.0
_LOOK_S = 0.1


def write_voice(folder: Path, name: str) -> str:
    """Write a second of that party's tone and return the file's name."""
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        step = 2 * math.pi * TONES[name] / RATE
        file.writeframes(array.array("h", [round(6500 * math.sin(step * n)) for n in range(RATE)]).tobytes())
    return str(path)


def voices(samples: array.array[int], rate: int) -> set[str]:
    """Return whose tones are in *samples*, of which a second has *rate*."""
    return {name for name, hertz in TONES.items() if _level(samples, hertz, rate) > LOUD}


def _level(samples: array.array[int], hertz: int, rate: int) -> float:
    """Return the amplitude of a tone, of full scale (Goertzel's algorithm)."""
    coefficient = 2 * math.cos(2 * math.pi * hertz / rate)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power = before**2 + last**2 - coefficient * before * last
    return 2 * math.sqrt(max(0.0, power)) / len(samples) / 32768


def _recorded(path: Path) -> bytes:
    """Return what was written so far; a recording comes to be with its first sound."""
    return path.read_bytes() if path.exists() else b""


async def until_heard(path: Path, names: set[str]) -> None:
    """Wait until a quarter of a second that is recorded from now on has the tones of *names* and no other."""
    start, heard = len(_recorded(path)) & ~1, set[str]()
    deadline = asyncio.get_running_loop().time() + _WAIT_S
    while asyncio.get_running_loop().time() < deadline:
        whole = _recorded(path)
        # The stack in Python records at the rate of the codec.
        rate = int.from_bytes(whole[_RATE_AT], "little")
        octets, wanted = whole[max(start, _HEADER) :], rate // 4
        if wanted and len(octets) >= 2 * wanted:
            tail = len(octets) - len(octets) % 2
            samples = array.array("h", octets[tail - 2 * wanted : tail])
            heard = await asyncio.to_thread(voices, samples, rate)
            if heard == names:
                return
            start += len(octets) - len(octets) % 2
        await asyncio.sleep(_LOOK_S)
    raise AssertionError(f"{path.name} has {sorted(heard)}, not {sorted(names)}")
