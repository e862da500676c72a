"""What is left of speech where packets are lost or late: PESQ (ITU-T P.862.2, 1 to 4.6), by codec.

Needs the extras `sound` and `codecs`, and `pip install pesq`. Nothing is sent: packets go from `Mouth` to
`Ear` by a simulated clock, so that a run says the same on every machine.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pesq import pesq

from sipmikey.media.codecs.codec import Decoder, frame_ticks
from sipmikey.media.codecs.known import codec_named
from sipmikey.media.voice.ear import Ear
from sipmikey.media.voice.jitter import JitterState
from sipmikey.media.voice.mouth import Mouth
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.media.wav import read_mono
from sipmikey.sound.samples import Samples, from_octets, silence, to_octets

RATE = 16000
BLOCK = RATE // 50
CODECS = ("PCMA", "G722", "opus")
LOSSES = (0, 1, 5, 10, 20)
JITTERS = (0, 5, 10, 20, 40)
SPEECH = Path(__file__).parents[2] / "sipmikey" / "cli" / "assets"

Arrival = Callable[[random.Random], float | None]


def speech(name: str) -> Samples:
    """Return a voice of the demonstration, 8 s of it."""
    voice = from_octets(read_mono(SPEECH / f"{name}.wav", RATE))
    return np.tile(voice, 8 * RATE // len(voice) + 1)[: 8 * RATE]


class _Unconcealed:
    """In place of a concealment: silence."""

    def heard(self, samples: Samples) -> Samples:
        return samples

    def lost(self, count: int) -> Samples:
        return silence(count)


class _Deaf:
    """A decoder that makes nothing up."""

    def __init__(self, decoder: Decoder) -> None:
        self.decode = decoder.decode

    def recover(self, following: bytes | None, samples: int) -> bytes | None:
        return None


def transmit(
    voice: Samples, name: str, arrival: Arrival, seed: int, *, concealed: bool = True
) -> tuple[Samples, JitterState]:
    """Return what is heard of *voice*, and the buffer's state at the end."""
    codec, rng, now = codec_named(name), random.Random(seed), 0.0
    payloads: list[bytes] = []
    mouth = Mouth(codec, rate=RATE, say=payloads.append)
    for at in range(0, len(voice) - BLOCK + 1, BLOCK):
        mouth.take(voice[at : at + BLOCK])
    arrivals = [(number, arrival(rng)) for number in range(len(payloads))]
    events = sorted((number * 0.02 + late, number) for number, late in arrivals if late is not None)
    ear = Ear(codec, rate=RATE, settings=JitterSettings(), clock=lambda: now)
    if not concealed:
        ear._concealment = _Unconcealed()  # type: ignore[assignment]
        ear._decoder = _Deaf(ear._decoder)
    heard, at = [], 0
    for number in range(len(payloads) + 20):
        due = number * 0.02 + 0.0123
        while at < len(events) and events[at][0] <= due:
            now, sent = events[at]
            ear.put(sent * frame_ticks(codec), payloads[sent])
            at += 1
        now = due
        heard.append(ear.read(BLOCK))
        if number == len(payloads) - 1:
            state = ear.state
    return np.concatenate(heard), state


def score(voice: Samples, heard: Samples) -> float:
    said, got = (np.frombuffer(to_octets(one), np.int16) for one in (voice, heard))
    return float(pesq(RATE, said, got, "wb"))


def lost(percent: int) -> Arrival:
    return lambda rng: None if rng.random() < percent / 100 else 0.0


def late(mean_ms: int) -> Arrival:
    return lambda rng: rng.expovariate(1e3 / mean_ms) if mean_ms else 0.0


def runs(seeds: int) -> list[tuple[Samples, int]]:
    return [(voice, seed) for voice in (speech("alice"), speech("bob")) for seed in range(seeds)]


def losses(seeds: int) -> None:
    print("| codec | " + " | ".join(f"{loss} %" for loss in LOSSES) + " |")
    print("|---|" + "---|" * len(LOSSES))
    for name in CODECS:
        for concealed in (True, False):
            cells = []
            for loss in LOSSES:
                scores = [
                    score(voice, transmit(voice, name, lost(loss), seed, concealed=concealed)[0])
                    for voice, seed in runs(seeds)
                ]
                cells.append(f"{statistics.median(scores):.2f}")
            what = "" if concealed else ", silence for what is lost"
            print(f"| {name}{what} | {' | '.join(cells)} |", flush=True)


def jitters(seeds: int) -> None:
    print("| jitter, mean | PESQ | packets too late | waits at the end |")
    print("|---|---|---|---|")
    for jitter in JITTERS:
        found = [(voice, *transmit(voice, "G722", late(jitter), seed)) for voice, seed in runs(seeds)]
        scores = statistics.median(score(voice, heard) for voice, heard, _ in found)
        missed = statistics.mean(state.late for _, _, state in found) / 400
        target = statistics.median(state.target_ms for _, _, state in found)
        print(f"| {jitter} ms | {scores:.2f} | {missed:.1%} | {target:.0f} ms |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each voice")
    options = parser.parse_args()
    losses(options.seeds)
    print()
    jitters(options.seeds)


if __name__ == "__main__":
    main()
