"""Ten minutes of a call whose one end has a clock that is 200 ppm slow, in real time: gaps and delay.

Both engines at the same time, each between two agents with microphones and speakers of a PulseAudio server of
the benchmark's own. A tone with a burst of noise every two seconds goes into both microphones; both speakers
are recorded. The clock that paces one agent's calls is slow, so it disagrees with its own sound card and with
the peer. Needs pulseaudio and the extras `pjsua2`, `sound`, `codecs`:

    python -m benchmarks.sound.drift --minutes 10
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.sound import latency
from benchmarks.sound.latency import Recording, found
from sipmikey.sound.clock import Clock
from sipmikey.testing import agent_process
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kms import Kms, uri
from tests.sound.pulse import Pulse, write_wav

RATE = 16000
PPM = 200
ENGINES = ("native", "python")
EVERY_S = 2
SETTLING_S = 8.0
WINDOW = RATE // 100
QUIET = 0.3
LATEST = RATE
BURST = latency.noise()[:: latency.RATE // RATE]


class Drifting(Agent):
    """An agent whose calls are paced by a slow clock."""

    entry = "benchmarks.sound.drift:run"


def run() -> None:
    """Run an agent with a slow clock; the entry of its process."""
    right = Clock.__init__

    def slow(self: Clock, period_s: float, *more: object) -> None:
        right(self, period_s * (1 + PPM * 1e-6), *more)  # type: ignore[arg-type]

    Clock.__init__ = slow  # type: ignore[assignment, method-assign]
    agent_process.run()


def speech(minutes: float) -> bytes:
    """Return a tone with a burst every two seconds, 16-bit at `RATE`."""
    time_s = np.arange(EVERY_S * RATE) / RATE
    period = 1500 * np.sin(2 * np.pi * 440 * time_s)
    period[: len(BURST)] = BURST
    return np.tile(period.astype(np.int16), int(minutes * 60 / EVERY_S)).tobytes()


def delays(said: np.ndarray, heard: np.ndarray, later: int) -> list[tuple[float, float]]:
    """Return the second of each burst, and how much later it is heard, in milliseconds."""
    burst = BURST.astype(np.float32)
    first = found(burst, said[: EVERY_S * RATE + len(burst)])
    times: list[tuple[float, float]] = []
    at = first or 0
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


def gaps(heard: np.ndarray) -> list[int]:
    """Return how long each stretch is in which the tone is not there, in milliseconds."""
    windows = heard[: len(heard) // WINDOW * WINDOW].reshape(-1, WINDOW)
    loudness = np.sqrt(np.mean(windows**2, axis=1))
    quiet = loudness < QUIET * np.median(loudness)
    there = np.flatnonzero(~quiet)
    lengths, run_of = [], 0
    for one in quiet[there[0] : there[-1] + 1] if len(there) else ():
        if one:
            run_of += 1
        elif run_of:
            lengths.append(10 * run_of)
            run_of = 0
    return lengths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        pulse = stack.enter_context(Pulse(folder / "pulse"))
        _measure(folder, options.minutes, pulse, stack)


def _measure(folder: Path, minutes: float, pulse: Pulse, stack: ExitStack) -> None:
    kms = Kms(folder / "kms")
    people = {engine: (f"alice{engine}", f"bob{engine}") for engine in ENGINES}
    for pair in people.values():
        for person in pair:
            kms.add_user(person)
            pulse.add_person(person)
    stack.enter_context(kms)
    for engine, (alice, bob) in people.items():
        bobs = stack.enter_context(Agent(bob, _settings(bob, engine, kms)))
        alices = stack.enter_context(Drifting(alice, _settings(alice, engine, kms, peer=bobs)))
        alices.do("proven", call=alices.call(uri(bob)))
    wav = folder / "said.wav"
    write_wav(wav, speech(minutes), RATE)
    time.sleep(SETTLING_S)
    everybody = [person for pair in people.values() for person in pair]
    ends = [f"{person}_{end}.monitor" for person in everybody for end in ("mouth", "ear")]
    recordings = {end: Recording(end, RATE) for end in ends}
    time.sleep(1.0)
    loads = [os.getloadavg()[0]]
    players = [subprocess.Popen(["paplay", f"--device={person}_mouth", str(wav)]) for person in everybody]
    while any(player.poll() is None for player in players):
        time.sleep(10)
        loads.append(os.getloadavg()[0])
    time.sleep(1.5)
    sound = {end: (one.stop(), one.begun) for end, one in recordings.items()}
    print(f"{minutes:g} minutes, {PPM} ppm, load {min(loads):.1f} to {max(loads):.1f}\n")
    print("| engine | speaks | bursts heard | delay, first minute | last minute | gaps | gaps as said |")
    print("|---|---|---|---|---|---|---|")
    for engine, (alice, bob) in people.items():
        for which, speaker, hearer in (("the slow clock", alice, bob), ("the other", bob, alice)):
            said, said_at = sound[f"{speaker}_mouth.monitor"]
            heard, heard_at = sound[f"{hearer}_ear.monitor"]
            times = delays(said, heard, round((said_at - heard_at) * RATE))
            last = times[-1][0] if times else 0.0
            begin = [ms for at, ms in times if at < 60]
            end = [ms for at, ms in times if at > last - 60]
            print(
                f"| {engine} | {which} | {len(times)} of {int(minutes * 60 / EVERY_S)} "
                f"| {_median(begin)} | {_median(end)} | {_counted(gaps(heard))} | {_counted(gaps(said))} |"
            )


def _counted(lengths: list[int]) -> str:
    return f"{len(lengths)}, {sum(lengths)} ms"


def _median(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ms" if times else "none"


def _settings(person: str, engine: str, kms: Kms, **more: object) -> dict[str, object]:
    audio = {
        "codecs": ["G722"], "engine": engine, "device": "default",
        "sound": {"input": f"{person} mic", "output": f"{person} ear"},
    }  # fmt: skip
    return settings(person, kms, audio=audio, keys={"suites": ["128"]}, isolated=False, **more)


if __name__ == "__main__":
    main()
