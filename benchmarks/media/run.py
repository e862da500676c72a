"""CPU per packet of the Python endpoint beside what else protects RTP on this machine.

    run.py [--rounds 3] [--seconds 5] [--calls 300] [--capacity] [--json]

One interleaved run: in each round every subject is measured once, on core 0, its load on core 1; medians and
ratios are printed. --capacity also looks for how many calls one core holds without loss. Needs taskset,
rtpengine and the extras media and pjsua2; takes about rounds * (seconds + 3) * 7 seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import struct
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from processes import LOAD, UNDER_TEST, Span, line_of, running, tell
from rtpengine import relay_all, rtpengine

from sipmikey.testing.kms import TestKms

SUITE = "AES_CM_128_HMAC_SHA1_80"
GCM = "AEAD_AES_128_GCM"
PURE = f"endpoint in Python {SUITE}"
"""The endpoint without the native core; the others have it where it is installed."""
SETTLE_S = 1.0
BARE_PACKETS = 40_000
CAPACITY_STEPS = (200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 2500, 3000, 4000)


def counts(process: Any) -> dict[str, int]:
    tell(process, "counts")
    found: dict[str, int] = json.loads(line_of(process, "counts"))
    return found


def measured(
    process: Any, seconds: float, counting: Any = None, also: tuple[int, ...] = ()
) -> dict[str, float]:
    """CPU of *process* over what *counting* (else itself) counts in the same time."""
    counting = counting or process
    time.sleep(SETTLE_S)
    before = counts(counting)
    with Span(process.pid, *also) as span:
        time.sleep(seconds)
    after = counts(counting)
    found: dict[str, float] = {name: after[name] - before[name] for name in after}
    return found | {"cpu_s": sum(span.cpu), "seconds": span.seconds, "foreign_cores": span.foreign}


def bare(suite: str) -> dict[str, float]:
    with running("bare_srtp.py", suite, BARE_PACKETS, core=UNDER_TEST) as process:
        result: dict[str, float] = json.loads(line_of(process, "result"))
        return result


def endpoint(calls: int, suite: str, seconds: float, *, pure: bool = False) -> dict[str, float]:
    os.environ["SIPMIKEY_PURE"] = "1" if pure else ""
    with (
        running("reflector.py", core=LOAD) as reflector,
        running("endpoint_load.py", calls, line_of(reflector, "port"), suite, core=UNDER_TEST) as process,
    ):
        line_of(process, "ready")
        return measured(process, seconds)


def relay(calls: int, seconds: float) -> dict[str, float]:
    with rtpengine(UNDER_TEST) as engine, running("rtp_flows.py", calls, core=LOAD) as flows:
        sources, sink = json.loads(line_of(flows, "ports"))
        tell(flows, json.dumps(relay_all(engine, sources, sink)))
        line_of(flows, "ready")
        return measured(engine.process, seconds, counting=flows)


def native(mode: str, wav: str, seconds: float) -> dict[str, float]:
    with running("native_calls.py", "callee", mode, wav, core=LOAD) as callee:
        port = line_of(callee, "port")
        with running("native_calls.py", "caller", mode, wav, port, core=UNDER_TEST) as caller:
            line_of(caller, "ready")
            return measured(caller, seconds)


@contextmanager
def key_management() -> Iterator[dict[str, dict[str, str]]]:
    """Run a KMS with two subscribers; give the settings of an agent for each, and a tone to play."""
    with tempfile.TemporaryDirectory() as folder:
        tone = Path(folder) / "tone.wav"
        with wave.open(str(tone), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            samples = [int(8000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(8000)]
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
        kms = TestKms(Path(folder))
        kms.start()
        try:
            yield {
                name: {
                    "identity": user.identity,
                    "psk": user.psk,
                    "psk_id": user.psk_id,
                    "kms_url": kms.url,
                    "play": str(tone),
                }
                for name in ("alice", "bob")
                for user in (kms.user(f"sip:{name}@example.com"),)
            }
        finally:
            kms.stop()


def agents(settings: dict[str, dict[str, str]], seconds: float) -> dict[str, float]:
    with running("agent_calls.py", json.dumps(settings["bob"]), core=LOAD) as callee:
        via = line_of(callee, "port")
        caller_settings = settings["alice"] | {"called": settings["bob"]["identity"], "via": via}
        with running("agent_calls.py", json.dumps(caller_settings), core=UNDER_TEST) as caller:
            line_of(caller, "ready")
            return measured(caller, seconds)


def per_handled(run: dict[str, float]) -> float:
    """Microseconds for each packet sent or received."""
    return run["cpu_s"] / (run["sent"] + run["received"]) * 1e6


def per_pass(run: dict[str, float]) -> float:
    """Microseconds for each packet received and one sent, which is what a relay does with one packet."""
    return run["cpu_s"] / min(run["sent"], run["received"]) * 1e6


def capacity(seconds: float) -> list[dict[str, float]]:
    """Steps of calls, up to the first with a packet lost or a tick skipped."""
    steps = []
    for calls in CAPACITY_STEPS:
        run = endpoint(calls, SUITE, seconds)
        expected = calls * 50 * run["seconds"]
        step = {
            "calls": calls,
            "core": run["cpu_s"] / run["seconds"],
            "lost": run["lost"],
            "skipped_ticks": run["skipped_ticks"],
            "sent_share": run["sent"] / expected,
            "foreign_cores": run["foreign_cores"],
        }
        steps.append(step)
        if run["lost"] > 0 or run["skipped_ticks"] or step["sent_share"] < 0.98:
            break
    return steps


def table(rounds: dict[str, list[dict[str, float]]], calls: int) -> list[str]:
    lines = []
    for suite in (SUITE, GCM):
        runs = rounds[f"bare {suite}"]
        protect, unprotect = (median(run[f"{way}_us"] for run in runs) for way in ("protect", "unprotect"))
        lines.append(f"bare pylibsrtp, {suite}: protect {protect:.2f} us, unprotect {unprotect:.2f} us")
    for name in (f"endpoint {SUITE}", f"endpoint {GCM}", PURE, "rtpengine"):
        runs = rounds[name]
        handled, passed = median(map(per_handled, runs)), median(map(per_pass, runs))
        core = median(run["cpu_s"] / run["seconds"] for run in runs)
        foreign = median(run["foreign_cores"] for run in runs)
        lines.append(
            f"{name}, {calls} x 50/s: {handled:.1f} us per packet sent or received, {passed:.1f} us per one "
            f"in and one out, {core:.0%} of a core, lost {sum(run.get('lost', 0) for run in runs):.0f} "
            f"(others used {foreign:.1f} cores)"
        )
    for name in ("pjmedia rtp", "pjmedia sdes", "pjmedia keyed", "agent"):
        runs = rounds[name]
        call = median(run["cpu_s"] / run["seconds"] / 4 for run in runs)
        lines.append(
            f"{name}, 4 calls: {call * 1e3:.2f} ms of CPU per call and second, "
            f"{median(map(per_handled, runs)):.1f} us per packet sent or received, codec and mixer included"
        )
    return lines + ratios(rounds)


def ratios(rounds: dict[str, list[dict[str, float]]]) -> list[str]:
    def ratio(name: str, other: str, what: Callable[[dict[str, float]], float]) -> str:
        pairs = [what(a) / what(b) for a, b in zip(rounds[name], rounds[other], strict=True)]
        return f"{median(pairs):.2f} (rounds {', '.join(f'{pair:.2f}' for pair in pairs)})"

    def cpu(run: dict[str, float]) -> float:
        return run["cpu_s"] / run["seconds"]

    ours = f"endpoint {SUITE}"
    return [
        f"endpoint packet handled / rtpengine packet relayed: {mixed(rounds, ours)}",
        f"endpoint one in and one out / rtpengine packet relayed: {ratio(ours, 'rtpengine', per_pass)}",
        f"endpoint in Python, one in and one out / rtpengine: {ratio(PURE, 'rtpengine', per_pass)}",
        f"pjmedia call keyed by the application / by SDES: {ratio('pjmedia keyed', 'pjmedia sdes', cpu)}",
        f"pjmedia call keyed by the application / plain RTP: {ratio('pjmedia keyed', 'pjmedia rtp', cpu)}",
        f"agent's call keyed with a ticket / pjmedia call by SDES: {ratio('agent', 'pjmedia sdes', cpu)}",
    ]


def mixed(rounds: dict[str, list[dict[str, float]]], ours: str) -> str:
    pairs = [per_handled(a) / per_pass(b) for a, b in zip(rounds[ours], rounds["rtpengine"], strict=True)]
    return f"{median(pairs):.2f} (rounds {', '.join(f'{pair:.2f}' for pair in pairs)})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--capacity", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for program in ("taskset", "rtpengine"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not installed: apt-get install {program}")
    if (os.cpu_count() or 1) < 2:
        parser.error("two cores are needed: one under test, one for its load")
    with key_management() as settings:
        return measure_all(options, settings)


def measure_all(options: argparse.Namespace, settings: dict[str, dict[str, str]]) -> int:
    wav = settings["alice"]["play"]
    subjects: dict[str, Callable[[], dict[str, float]]] = {
        f"bare {SUITE}": lambda: bare(SUITE),
        f"bare {GCM}": lambda: bare(GCM),
        f"endpoint {SUITE}": lambda: endpoint(options.calls, SUITE, options.seconds),
        PURE: lambda: endpoint(options.calls, SUITE, options.seconds, pure=True),
        "rtpengine": lambda: relay(options.calls, options.seconds),
        f"endpoint {GCM}": lambda: endpoint(options.calls, GCM, options.seconds),
        "pjmedia rtp": lambda: native("rtp", wav, options.seconds),
        "pjmedia sdes": lambda: native("sdes", wav, options.seconds),
        "pjmedia keyed": lambda: native("keyed", wav, options.seconds),
        "agent": lambda: agents(settings, options.seconds),
    }
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for number in range(options.rounds):
        for name, measure in subjects.items():
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
            rounds[name].append(measure())
    steps = capacity(options.seconds) if options.capacity else []
    if options.json:
        print(json.dumps({"rounds": rounds, "capacity": steps}))
        return 0
    print("\n".join(table(rounds, options.calls)))
    for step in steps:
        print(
            f"{step['calls']} calls: {step['core']:.0%} of a core, lost {step['lost']:.0f}, "
            f"{step['skipped_ticks']:.0f} ticks skipped, {step['sent_share']:.1%} of the packets sent "
            f"(others used {step['foreign_cores']:.1f} cores)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
