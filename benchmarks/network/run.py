"""Forked calls over a bad network: how many come about, and how long their set-up takes.

    python benchmarks/network/run.py [--calls 100] [--json] [CONDITION...]

A condition is `lossN` (N per cent of all packets, each way) or `delayN` (N ms each way, a fifth of it more
as jitter, 2 per cent of the packets held back another 30 ms). Default: loss1 loss5 delay50 delay150.

alice calls bob through Kamailio over UDP with digest authentication; bob's two devices both ring, one
answers. Between alice and the proxy with the devices lies the bad network, for SIP, RTP and RTCP alike. Each
side asks a KMS of its own side, the two over one store. A call has succeeded when it is established, keyed,
and a packet of its stream has been decrypted at the caller. Conditions run at the same time. Needs root and
/dev/net/tun.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from sipmikey.testing.process import PeerFailed  # noqa: E402
from tests.interop.lab.agents import Agent, Failed, settings  # noqa: E402
from tests.interop.lab.kamailio import Kamailio  # noqa: E402
from tests.interop.lab.kms import Kms, uri  # noqa: E402
from tests.interop.lab.link import FAR_ADDRESS, NEAR_ADDRESS, Link  # noqa: E402
from tests.interop.lab.relay import Network  # noqa: E402
from tests.interop.lab.speech import write_speech  # noqa: E402

CONDITIONS = ("loss1", "loss5", "delay50", "delay150")
JITTER_SHARE, REORDERED_SHARE = 0.2, 0.02
CALLS_OF_AN_AGENT = 25
PAUSE_S = 0.1
CALL_SECONDS = 40.0
PATIENT = {"timeouts": {"media": 15.0, "setup": 35.0}}


def network(condition: str) -> Network:
    found = re.fullmatch(r"(loss|delay)(\d+)", condition)
    if not found:
        raise SystemExit(
            f"unknown condition {condition!r}: lossN or delayN, for example {' '.join(CONDITIONS)}"
        )
    number = int(found.group(2))
    if found.group(1) == "loss":
        return Network(lost=number / 100)
    return Network(delay=number / 1000, jitter=JITTER_SHARE * number / 1000, reordered=REORDERED_SHARE)


class Stage:
    """The peers of one condition; agents are restarted now and then, because the calls take long."""

    def __init__(self, running: ExitStack, directory: Path, condition: str) -> None:
        self._directory = directory
        self.link = running.enter_context(Link(network(condition)))
        self.kms = Kms(directory / "kms")
        for user in ("alice", "bob"):
            self.kms.add_user(user)
        self.far_kms = copy.copy(self.kms)
        with self.link.near:
            running.enter_context(self.kms)
        with self.link.far:
            running.enter_context(self.far_kms)
            self.proxy = running.enter_context(Kamailio(directory / "kamailio", address=FAR_ADDRESS))
        write_speech(directory / "speech.wav", seconds=2.0, seed=1)

    def agents(self, running: ExitStack) -> tuple[Agent, Agent, Agent]:
        """alice, the device that answers, and the one that only rings."""
        speech = self._directory / "speech.wav"
        far = {"sip": {"bind": FAR_ADDRESS, "transports": ["udp"]}, **PATIENT}
        near = {"sip": {"bind": NEAR_ADDRESS, "transports": ["udp"]}, **PATIENT}
        with self.link.far:
            answering, ringing = (
                running.enter_context(
                    Agent(mode, settings("bob", self.far_kms, play=speech, incoming=mode, **far))
                )
                for mode in ("answer", "ring")
            )
            self.proxy.command("ul.rm", "location", "bob") if self.proxy.contacts("bob") else None
            for device in (answering, ringing):
                self.proxy.bind("bob", device.contact)
        with self.link.near:
            alice = running.enter_context(
                Agent("alice", settings("alice", self.kms, proxy=self.proxy, play=speech, **near))
            )
        return alice, answering, ringing


def one_call(alice: Agent) -> tuple[float, float]:
    """Milliseconds from INVITE to the call's establishment, and to the first packet decrypted."""
    start = alice.now
    number = alice.do("call", uri=uri("bob"), timeout_s=CALL_SECONDS)
    alice.do("established", call=number, timeout_s=CALL_SECONDS)
    alice.do("proven", call=number, timeout_s=CALL_SECONDS)
    out = alice.event("call.out", start=start)["at"]
    answered = alice.event("call.answered", start=start)["at"]
    proven = alice.event("media.proven", start=start)["at"]
    alice.do("hangup", call=number, timeout_s=CALL_SECONDS)
    time.sleep(PAUSE_S)
    return (answered - out) * 1000, (proven - out) * 1000


def measure(condition: str, calls: int) -> dict[str, Any]:
    established: list[float] = []
    talking: list[float] = []
    failures: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        stage = Stage(running, Path(directory), condition)
        for first in range(0, calls, CALLS_OF_AN_AGENT):
            with ExitStack() as batch:
                alice, _, _ = stage.agents(batch)
                for _ in range(min(CALLS_OF_AN_AGENT, calls - first)):
                    try:
                        setup, proven = one_call(alice)
                    except Failed as failed:
                        failures[failed.reason] += 1
                    except PeerFailed as failed:
                        failures[str(failed).splitlines()[0]] += 1
                        break
                    else:
                        established.append(setup)
                        talking.append(proven)
            print(f"{condition}: {len(established)} of {first + CALLS_OF_AN_AGENT}", file=sys.stderr)
        carried, lost = stage.link.carried, stage.link.lost
    return {
        "condition": condition,
        "calls": calls,
        "succeeded": len(established),
        "failures": dict(failures),
        "established_ms": _quantiles(established),
        "talking_ms": _quantiles(talking),
        "packets": carried + lost,
        "packets_lost": lost,
    }


def _quantiles(times: list[float]) -> dict[str, float]:
    if not times:
        return {}
    ordered = sorted(times)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "max": ordered[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("conditions", nargs="*", metavar="CONDITION", help=" ".join(CONDITIONS))
    parser.add_argument("--calls", type=int, default=100, help="calls in each condition (default: 100)")
    parser.add_argument("--json", action="store_true", help="one JSON document a line instead of a table")
    arguments = parser.parse_args()
    conditions = arguments.conditions or list(CONDITIONS)
    for condition in conditions:
        network(condition)
    if len(conditions) == 1:
        results = [measure(conditions[0], arguments.calls)]
    else:
        argv = [sys.executable, __file__, "--json", "--calls", str(arguments.calls)]
        children = [subprocess.Popen([*argv, name], stdout=subprocess.PIPE) for name in conditions]
        results = [json.loads(child.communicate()[0]) for child in children]
    if arguments.json:
        for result in results:
            print(json.dumps(result))
        return
    print(
        f"{'condition':10} {'calls':>6} {'succeeded':>10} {'established ms':>24} {'talking ms':>24}  failures"
    )
    for result in results:
        times = (_text(result[name]) for name in ("established_ms", "talking_ms"))
        print(
            f"{result['condition']:10} {result['calls']:6} {result['succeeded']:10}",
            *(f"{text:>24}" for text in times),
            "",
            ", ".join(f"{reason} {count}" for reason, count in result["failures"].items()) or "none",
        )


def _text(times: dict[str, float]) -> str:
    return f"{times['median']:.0f} / {times['p95']:.0f} / {times['max']:.0f}" if times else "-"


if __name__ == "__main__":
    main()
