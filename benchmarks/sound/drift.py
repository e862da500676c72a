"""Ten minutes of a call whose one end has a clock that is 200 ppm slow, in real time: gaps and delay.

Both engines at the same time, each between two agents with microphones and speakers of a PulseAudio server of
the benchmark's own. A tone with a burst of noise every two seconds goes into all microphones; the speakers
are recorded. The clock that paces one agent's calls is slow, so it disagrees with its own sound card and with
the peer. In the same run, as the control, ``parec`` gives what another microphone hears to ``pacat``, which
plays it: no program of ours, no network, no clocks that drift. `counts` has what the agents themselves count.
Needs pulseaudio and the extras `pjsua2`, `sound`, `codecs`:

    python -m benchmarks.sound.drift --minutes 10
    python -m benchmarks.sound.drift --minutes 10 --ppm 0     # the same without drift
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.sound import counts, latency
from benchmarks.sound.latency import Recording, found
from sipmikey.testing.agent_driver import AgentProcess
from sipmikey.testing.process import Process
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kms import Kms, uri
from tests.sound.pulse import Pulse, write_wav

RATE = 16000
PPM = 200
ENGINES = ("native", "python")
CONTROL = "control"
EVERY_S = 2
SETTLING_S = 8.0
WINDOW = RATE // 100
QUIET = 0.3
LATEST = RATE
LOUD = 8000
"""Samples this large are of a burst only."""

NEAR_S = 0.05
APART_S = 0.2
"""PulseAudio refuses programs that come all at once."""

BURST = latency.noise()[:: latency.RATE // RATE]


class Counting(Agent):
    """An agent that counts what its sound goes through, and whose clock may be slow."""

    entry = "benchmarks.sound.counts:run"

    def __exit__(self, *_: object) -> None:
        """End it politely: its counts are written at its end."""
        AgentProcess.stop(self)


class Subject(NamedTuple):
    """What is spoken into one microphone and heard at one speaker."""

    name: str
    which: str
    mouth: str
    ear: str


class Gap(NamedTuple):
    """A stretch in which the tone is not there: since when (seconds), and how long."""

    at: float
    ms: int


def speech(minutes: float) -> bytes:
    """Return a tone with a burst every two seconds, 16-bit at `RATE`."""
    time_s = np.arange(EVERY_S * RATE) / RATE
    period = 1500 * np.sin(2 * np.pi * 440 * time_s)
    period[: len(BURST)] = BURST
    return np.tile(period.astype(np.int16), int(minutes * 60 / EVERY_S)).tobytes()


def delays(said: np.ndarray, heard: np.ndarray, later: int) -> list[tuple[float, float]]:
    """Return the second of each burst, and how much later it is heard, in milliseconds."""
    burst = BURST.astype(np.float32)
    times: list[tuple[float, float]] = []
    at = int(np.argmax(np.abs(said) > LOUD))
    while at + LATEST < len(said):
        near = max(0, at - RATE // 10)
        place = found(burst, said[near : at + RATE // 10 + len(burst)])
        if place is not None:
            begin = near + place
            there = begin + later
            window = heard[max(0, there) : there + LATEST]
            if len(window) > len(burst) and (reached := found(burst, window)) is not None:
                times.append((begin / RATE, reached / RATE * 1e3))
        at += EVERY_S * RATE
    return times


def gaps(heard: np.ndarray, begun: float) -> list[Gap]:
    """Return the stretches in which the tone is not there, in a recording that began at *begun*."""
    windows = heard[: len(heard) // WINDOW * WINDOW].reshape(-1, WINDOW)
    loudness = np.sqrt(np.mean(windows**2, axis=1))
    quiet = loudness < QUIET * np.median(loudness)
    there = np.flatnonzero(~quiet)
    found_there, since = [], -1
    for number in range(there[0], there[-1] + 1) if len(there) else ():
        if quiet[number]:
            since = number if since < 0 else since
        elif since >= 0:
            found_there.append(Gap(begun + since / 100, 10 * (number - since)))
            since = -1
    return found_there


def shared(some: list[Gap], others: list[Gap]) -> int:
    """Return how many of *some* are at the time of one of *others*."""
    return sum(
        any(one.at - NEAR_S < other.at + other.ms / 1e3 and other.at < one.at + one.ms / 1e3 + NEAR_S
            for other in others)
        for one in some
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--ppm", type=float, default=PPM)
    parser.add_argument(
        "--realtime", action="store_true", help="take the processors before all other programs"
    )
    options = parser.parse_args()
    if options.realtime:
        _hurry(0)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        pulse = stack.enter_context(Pulse(folder / "pulse"))
        if options.realtime:
            _hurry(pulse.pid)  # it gives back what it inherits
        _measure(folder, options.minutes, options.ppm, pulse, stack)


def _hurry(pid: int) -> None:
    os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


@contextmanager
def calls(folder: Path, ppm: float, pulse: Pulse) -> Iterator[list[Subject]]:
    """Have a call of each engine, and the control; each agent's counts are written when it ends."""
    kms = Kms(folder / "kms")
    subjects = [Subject(CONTROL, "parec and pacat", f"{CONTROL}_mouth.monitor", f"{CONTROL}_ear.monitor")]
    pulse.add_person(CONTROL)
    for engine in ENGINES:
        alice, bob = people = f"alice{engine}", f"bob{engine}"
        for person in people:
            kms.add_user(person)
            pulse.add_person(person)
        for which, speaker, hearer in (("the slow clock", alice, bob), ("the other", bob, alice)):
            subjects.append(Subject(engine, which, f"{speaker}_mouth.monitor", f"{hearer}_ear.monitor"))
    with ExitStack() as stack:
        stack.enter_context(kms)
        for engine in ENGINES:
            alice, bob = f"alice{engine}", f"bob{engine}"
            bobs = stack.enter_context(_agent(folder, bob, engine, kms, 0.0))
            alices = stack.enter_context(_agent(folder, alice, engine, kms, ppm, peer=bobs))
            alices.do("proven", call=alices.call(uri(bob)))
        loop = (
            f"parec --raw --device={CONTROL}_mouth.monitor --rate={RATE} --channels=1 --latency-msec=10 | "
            f"pacat --raw --device={CONTROL}_ear --rate={RATE} --channels=1 --latency-msec=30"
        )
        stack.callback(Process(["sh", "-c", loop], name=CONTROL).stop)
        yield subjects


def _measure(folder: Path, minutes: float, ppm: float, pulse: Pulse, stack: ExitStack) -> None:
    with calls(folder, ppm, pulse) as subjects:
        wav = folder / "said.wav"
        write_wav(wav, speech(minutes), RATE)
        time.sleep(SETTLING_S)
        ends = {end for one in subjects for end in (one.mouth, one.ear)}
        recordings = {}
        for end in ends:
            recordings[end] = Recording(end, RATE)
            time.sleep(APART_S)
        time.sleep(1.0)
        since, loads = time.monotonic(), [os.getloadavg()[0]]
        mouths = [one.mouth.removesuffix(".monitor") for one in subjects]
        players = []
        for mouth in mouths:
            players.append(subprocess.Popen(["paplay", f"--device={mouth}", str(wav)]))
            time.sleep(APART_S)
        while any(player.poll() is None for player in players):
            time.sleep(10)
            loads.append(os.getloadavg()[0])
        time.sleep(1.5)
        sound = {end: (one.stop(), one.begun) for end, one in recordings.items()}
    print(f"{minutes:g} minutes, {ppm:g} ppm, load {min(loads):.1f} to {max(loads):.1f}\n")
    _tell_heard(subjects, sound, int(minutes * 60 / EVERY_S))
    counts.tell(folder, since)
    _tell_causes(folder, subjects, sound)


def _tell_heard(subjects: list[Subject], sound: dict[str, tuple[np.ndarray, float]], bursts: int) -> None:
    missing = {one: gaps(*sound[one.ear]) for one in subjects}
    print("| | speaks | bursts heard | delay, first minute | last minute | gaps | in the last half | "
          "when the control has one | when another call has one |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    control = next(one for one in subjects if one.name == CONTROL)
    for one in subjects:
        (said, said_at), (heard, heard_at) = sound[one.mouth], sound[one.ear]
        times = delays(said, heard, round((said_at - heard_at) * RATE))
        last = times[-1][0] if times else 0.0
        begin = [ms for at, ms in times if at < 60]
        end = [ms for at, ms in times if at > last - 60]
        half = heard_at + len(heard) / RATE / 2
        elsewhere = [
            gap for other in subjects if other.name not in (one.name, CONTROL) for gap in missing[other]
        ]
        print(
            f"| {one.name} | {one.which} | {len(times)} of {bursts} | {_median(begin)} | {_median(end)} "
            f"| {_counted(missing[one])} | {_counted([gap for gap in missing[one] if gap.at > half])} "
            f"| {shared(missing[one], missing[control])} | {shared(missing[one], elsewhere)} |"
        )


def _tell_causes(folder: Path, subjects: list[Subject], sound: dict[str, tuple[np.ndarray, float]]) -> None:
    """Print each gap with what the two agents counted in the 0.4 s before it ended."""
    print()
    for one in subjects:
        people = [end.split("_")[0] for end in (one.mouth, one.ear)] if one.name != CONTROL else []
        for gap in gaps(*sound[one.ear]):
            print(f"{one.name}, {one.which}: {gap.ms} ms at {gap.at - sound[one.ear][1]:.2f}: "
                  f"{counts.causes(folder, people, gap.at)}")  # fmt: skip


def _counted(some: list[Gap]) -> str:
    return f"{len(some)}, {sum(gap.ms for gap in some)} ms"


def _median(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ms" if times else "none"


@contextmanager
def _agent(folder: Path, person: str, engine: str, kms: Kms, ppm: float, **more: object) -> Iterator[Agent]:
    audio = {
        "codecs": ["G722"], "engine": engine, "device": "default",
        "sound": {"input": f"{person} mic", "output": f"{person} ear"},
    }  # fmt: skip
    counts.order(folder, person, ppm)
    given = settings(person, kms, audio=audio, keys={"suites": ["128"]}, isolated=False, **more)
    with Counting(person, given) as agent:
        yield agent


if __name__ == "__main__":
    main()
