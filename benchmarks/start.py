"""How long commands take to start, as multiples of the start of Python itself, in one run.

    python -m benchmarks.start [--runs 7] [--json]

The commands take turns with `python -c pass`; figures are medians of wall and processor time, and of the
ratios to that start in the same turn. `answer` counts until it listens for calls, with a KMS beside it; the
phone's faces are measured by `phone_start.py`. Compiled modules are kept, as an installation has them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import build
from sipmikey.testing import TestKms
from tests.phone.agents import settings

ALICE = "sip:alice@example.com"
VECTORS = Path(__file__).parents[1] / "tests/vectors/exchange-full.json"
PYTHON = "python -c pass"


def cases(folder: Path, kms: TestKms) -> dict[str, tuple[list[str], str]]:
    """Return the command lines, and the text that ends each measurement (``""``: the end of the process)."""
    command = [sys.executable, "-m", "sipmikey.cli"]
    line = json.loads(VECTORS.read_text())["vectors"][0]["messages"]["transfer_init"]
    answer = [*command, "answer", "--auto", "--json", *settings(kms, folder, ALICE)]
    return {
        PYTHON: ([sys.executable, "-c", "pass"], ""),
        "--version": ([*command, "--version"], ""),
        "decode of a line": ([*command, "decode", line], ""),
        "call --help": ([*command, "call", "--help"], ""),
        "answer until listening": (answer, "agent.ready"),
    }


def measured(words: list[str], until: str) -> tuple[float, float]:
    """Run *words* until they end, or print *until*; return wall and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if until and until in line:
                break
        wall = time.perf_counter() - began
        if until:
            process.terminate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure each in turns and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=7, help="of each (default: 7), after one that is not counted"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PYTHONPYCACHEPREFIX"] = f"{directory}/compiled"
        kms = TestKms(Path(directory))
        kms.start()
        try:
            for number in range(arguments.runs + 1):
                for name, (words, until) in cases(Path(directory), kms).items():
                    times = measured(words, until)
                    if number:
                        found.setdefault(name, []).append(times)
        finally:
            kms.stop()
    rows = {}
    for name, runs in found.items():
        wall, processor = (statistics.median(one) for one in zip(*runs, strict=True))
        pairs = zip(runs, found[PYTHON], strict=True)
        rows[name] = {
            "wall_s": wall,
            "processor_s": processor,
            "ratio": statistics.median(one[1] / other[1] for one, other in pairs),
        }
    result = {"python": build(), "load": os.getloadavg()[0], "runs": arguments.runs, "start": rows}
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"Python {result['python']}, load {result['load']:.0f}, {arguments.runs} runs of each")
    for name, row in rows.items():
        print(
            f"{name:24} wall {row['wall_s']:6.3f} s   processor {row['processor_s']:6.3f} s"
            f"   {row['ratio']:5.1f} times the start of Python"
        )


if __name__ == "__main__":
    main()
