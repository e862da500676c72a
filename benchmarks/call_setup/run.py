"""Set-up time of a call: MIKEY-TICKET beside plain RTP and SDES on the same SIP stack, in one run.

    python benchmarks/call_setup/run.py [--calls 50] [--one-process] [--json]

Caller, callee and KMS are processes of their own on loopback; SIP over UDP, null audio device, calls one
after the other, the kinds of call in turns so that all meet the same load. Times are the caller's, from
INVITE to the call's confirmation, in milliseconds. `agent, ...` are sipmikey's agents, whose callee answers
through asyncio in Python; `bare, ...` is pjsua2 answering in its own callback.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from sipmikey.testing.process import Process  # noqa: E402
from tests.interop.lab.agents import Agent, settings  # noqa: E402
from tests.interop.lab.kms import Kms, uri  # noqa: E402

PAUSE_S = 0.08
ROUND = 10
OFF = {"policy": {"security": "off"}}
UDP = {"transports": ["udp"]}
STEPS = (
    ("caller", "call.out", "caller", "mikey.sent", "offer made, INVITE sent"),
    ("caller", "mikey.sent", "callee", "mikey.received", "INVITE received"),
    ("callee", "mikey.received", "callee", "kms.request", "offer checked, question made"),
    ("callee", "kms.request", "callee", "kms.response", "KMS asked and its answer verified"),
    ("callee", "kms.response", "callee", "media.keyed", "the application answers; keys derived and set"),
    ("callee", "media.keyed", "callee", "mikey.sent", "200 sent"),
    ("callee", "mikey.sent", "caller", "mikey.received", "200 received"),
    ("caller", "mikey.received", "caller", "call.answered", "answer verified, keys set, established"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    calls: int
    median: float
    p95: float

    @classmethod
    def of(cls, times: list[float]) -> Summary:
        ordered = sorted(times)
        p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
        return cls(calls=len(ordered), median=statistics.median(ordered), p95=p95)


class AgentPair:
    """Two agents of one kind of call."""

    def __init__(self, running: ExitStack, kms: Kms, **more: Any) -> None:
        self.callee = running.enter_context(Agent("callee", settings("bob", kms, sip=UDP, **more)))
        self.caller = running.enter_context(
            Agent("caller", settings("alice", kms, peer=self.callee, sip=UDP, **more))
        )

    def call(self, *, prefetch: bool) -> dict[str, Any]:
        """One call: {"setup": INVITE to confirmed, "dialled": user's wish to confirmed, step: ms}."""
        if prefetch:
            self.caller.do("prefetch", uri=uri("bob"))
        starts = {"caller": self.caller.now, "callee": self.callee.now}
        number = self.caller.call(uri("bob"))
        answered = self.caller.event("call.answered", start=starts["caller"])
        self.callee.event("call.answered", start=starts["callee"])
        self.caller.do("hangup", call=number)
        self.callee.event("call.end", start=starts["callee"])
        time.sleep(PAUSE_S)
        events = {
            name: agent.events(start=starts[name])
            for name, agent in (("caller", self.caller), ("callee", self.callee))
        }
        first = events["caller"][0]["at"]
        out = next(event["at"] for event in events["caller"] if event["type"] == "call.out")
        return {
            "setup": (answered["at"] - out) * 1000,
            "dialled": (answered["at"] - first) * 1000,
            "steps": dict(_steps(events)),
        }


def _steps(events: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, float]]:
    for side, kind, other_side, other_kind, name in STEPS:
        begin = _first(events[side], kind)
        end = _first(events[other_side], other_kind)
        if begin is not None and end is not None:
            yield name, (end - begin) * 1000


def _first(events: list[dict[str, Any]], kind: str) -> float | None:
    return next((event["at"] for event in events if event["type"] == kind), None)


def bare_calls(keying: str, count: int) -> list[float]:
    script = str(HERE / "bare_call.py")
    with Process([sys.executable, script, "callee", keying], name="callee") as callee:
        target = callee.lines[callee.wait_for("sip:")]
        with Process([sys.executable, script, "caller", keying, target, str(count)], name="caller") as caller:
            assert caller.wait(60.0) == 0, caller.tail()
            return [float(line.split()[1]) for line in caller.lines if line.startswith("setup ")]


def measure(calls: int, **more: Any) -> dict[str, Any]:
    times: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        kms = Kms(Path(directory) / "kms")
        for user in ("alice", "bob"):
            kms.add_user(user)
        running.enter_context(kms)
        clear = AgentPair(running, kms, **OFF, **more)
        keyed = AgentPair(running, kms, keys={"reuse": False}, **more)
        for pair in (clear, keyed):
            pair.call(prefetch=False)  # the first call loads what later ones find loaded
        for done in range(0, calls, ROUND):
            batch = min(ROUND, calls - done)
            times["bare, RTP"] += bare_calls("rtp", batch)
            times["bare, SDES"] += bare_calls("sdes", batch)
            for _ in range(batch):
                times["agent, RTP"].append(clear.call(prefetch=False)["setup"])
                prefetched = keyed.call(prefetch=True)
                times["agent, MIKEY-TICKET, ticket prefetched"].append(prefetched["setup"])
                for name, took in prefetched["steps"].items():
                    steps[name].append(took)
                times["agent, MIKEY-TICKET, ticket asked for first"].append(
                    keyed.call(prefetch=False)["dialled"]
                )
            print(f"{done + batch} of {calls} calls of each kind", file=sys.stderr)
    return {
        "calls": {name: Summary.of(values) for name, values in times.items()},
        "steps": {name: Summary.of(steps[name]) for *_, name in STEPS if name in steps},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=50, help="calls of each kind (default: 50)")
    parser.add_argument("--one-process", action="store_true", help="pjsua2 in the process of the agent")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    arguments = parser.parse_args()
    result = measure(arguments.calls, **({"isolated": False} if arguments.one_process else {}))
    if arguments.json:
        plain = {
            part: {
                name: {"calls": summary.calls, "median_ms": summary.median, "p95_ms": summary.p95}
                for name, summary in summaries.items()
            }
            for part, summaries in result.items()
        }
        print(json.dumps(plain, indent=2))
        return
    for title, part in (("set-up", "calls"), ("steps of the prefetched call", "steps")):
        print(f"\n{title:48} {'calls':>6} {'median':>9} {'p95':>9}  ms")
        for name, summary in result[part].items():
            print(f"{name:48} {summary.calls:6} {summary.median:9.2f} {summary.p95:9.2f}")


if __name__ == "__main__":
    main()
