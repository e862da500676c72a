"""Is what was recorded what was played? Normalised cross-correlation of two WAV files, in plain Python.

The recording may start earlier or later than the sound, hold more than it, have another sampling rate and
level, and have gone through a speech codec. A lost or repeated packet shifts what follows it, so each section
of the sound looks for its own best place, near the place where the loudness of the whole fits best, and then
near the place of a neighbour that was found: a receiver short of time shifts the sound again and again.
"""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from pathlib import Path
from statistics import fmean, median

from sipmikey.mikey.errors import LocalError

RATE = 4000
"""Samples per second compared: speech has most of its power below 2 kHz."""

FRAME = RATE // 100
"""Samples of 10 ms: the step of the search by loudness."""

SECTION = RATE * 2 // 5
"""Samples of 400 ms: long enough that another voice does not fit by chance."""

SEARCH = RATE // 20
"""Samples of 50 ms that a section may lie away from where the loudness, or its neighbour, has it."""

SMOOTHING = 4
"""Times neighbours are added: what is left lies below 1 kHz, where half a sample of delay changes little."""

MATCH = 0.6
"""Correlation from which on a section is the same sound; other voices reach 0.4. A packet lost within a
section shifts its second part, and leaves the correlation of the longer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How well a recording holds a sound.

    ``score``: median over the sections of the best correlation, -1 to 1; 0 when there is nothing to compare.
    ``sections``: sections of 400 ms of the sound that are not silent. ``matched``: those of them found with a
    correlation of at least 0.6. ``delay_s``: where in the recording the sound begins, seconds.
    """

    score: float
    sections: int
    matched: int
    delay_s: float

    @property
    def same(self) -> bool:
        """True when the sound is there: four fifths of its sections are."""
        return self.sections > 0 and self.matched >= 0.8 * self.sections


def compare_files(played: Path, recorded: Path) -> Likeness:
    """Compare two WAV files of 16-bit samples at a multiple of 4000 Hz. Raises LocalError for others."""
    return compare(read_wav(played), read_wav(recorded))


def read_wav(path: Path) -> list[float]:
    """Return the first channel of a WAV file at 4000 samples per second, smoothed and without its mean.

    Raises LocalError when the file is not a WAV file with 16-bit samples at a multiple of 4000 Hz.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            octets = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise LocalError(f"{path}: not a WAV file: {error}") from None
    if width != 2 or rate % RATE:
        raise LocalError(
            f"{path}: 16-bit samples at a multiple of {RATE} Hz are compared, not {8 * width} at {rate}"
        )
    samples = array("h", octets[: len(octets) // 2 * 2])
    factor = rate // RATE
    mono = samples[::channels]
    reduced = [fmean(mono[start : start + factor]) for start in range(0, len(mono) - factor + 1, factor)]
    for _ in range(SMOOTHING):
        reduced = [(one + other) / 2 for one, other in pairwise(reduced)]
    mean = fmean(reduced) if reduced else 0.0
    return [sample - mean for sample in reduced]


def compare(played: Sequence[float], recorded: Sequence[float]) -> Likeness:
    """Say how well *recorded* holds *played*; both at 4000 samples per second."""
    loudness = _loudness(played)
    threshold = 0.2 * max(loudness, default=0.0)
    starts = [
        start
        for start in range(0, len(played) - SECTION + 1, SECTION)
        if math.sqrt(_power(played[start : start + SECTION])) > threshold
    ]
    if not starts or len(recorded) < SECTION:
        return Likeness(score=0.0, sections=len(starts), matched=0, delay_s=0.0)
    shift = _shift(loudness, _loudness(recorded)) * FRAME
    scores = _scores(played, recorded, starts, shift)
    return Likeness(
        score=round(median(scores), 4),
        sections=len(scores),
        matched=sum(score >= MATCH for score in scores),
        delay_s=round(shift / RATE, 3),
    )


def _scores(
    played: Sequence[float], recorded: Sequence[float], starts: Sequence[int], shift: int
) -> list[float]:
    """Return the best correlation of each section, looked for at *shift* and at its neighbours' shifts."""

    def find(start: int, shift: int) -> tuple[float, int]:
        fit, place = _best(played[start : start + SECTION], recorded, start + shift)
        return fit, place - start

    found = [find(start, shift) for start in starts]
    for order in (range(len(starts)), reversed(range(len(starts)))):
        near = shift
        for index in order:
            if found[index][0] < MATCH and near != shift:
                found[index] = max(found[index], find(starts[index], near))
            if found[index][0] >= MATCH:
                near = found[index][1]
    return [score for score, _ in found]


def _power(samples: Sequence[float]) -> float:
    return float(sum(map(mul, samples, samples))) / len(samples)


def _loudness(samples: Sequence[float]) -> list[float]:
    """Return the root mean square of each 10 ms."""
    return [math.sqrt(_power(samples[at : at + FRAME])) for at in range(0, len(samples) - FRAME + 1, FRAME)]


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the normalised correlation of two sequences of the same length; 0 when one of them is zero."""
    norm = math.sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / norm if norm else 0.0


def _shift(sound: Sequence[float], recording: Sequence[float]) -> int:
    """Return by how many frames the sound must move for its loudness to fit the recording's best.

    At least half of the shorter one has to overlap.
    """
    least = min(len(sound), len(recording)) // 2
    best, place = -2.0, 0
    for shift in range(least - len(sound), len(recording) - least + 1):
        first, last = max(0, -shift), min(len(sound), len(recording) - shift)
        one, other = sound[first:last], recording[first + shift : last + shift]
        one_mean, other_mean = fmean(one), fmean(other)
        fit = _correlation([x - one_mean for x in one], [y - other_mean for y in other])
        fit *= math.sqrt((last - first) / len(sound))  # a short overlap fits by chance more easily
        if fit > best:
            best, place = fit, shift
    return place


def _best(section: Sequence[float], recording: Sequence[float], around: int) -> tuple[float, int]:
    """Return the best correlation of *section* with the recording within 50 ms of *around*, and its place."""
    first, last = max(0, around - SEARCH), min(len(recording) - len(section), around + SEARCH)

    def fit(at: int) -> float:
        return _correlation(section, recording[at : at + len(section)])

    # What is compared has no power above 1 kHz: every other place is enough to find the best one's neighbour.
    near = max(range(first, last + 1, 2), key=fit, default=None)
    if near is None:
        return 0.0, around
    return max((fit(at), at) for at in range(max(first, near - 1), min(last, near + 1) + 1))
