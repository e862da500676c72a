"""The core in Python and the native one in turns: microseconds, and how many times quicker.

Run: python benchmarks/native.py [--rounds N] [--json]

Each round runs `codec.py` and `kms_core.py` once in a process with the Python core and once with the native
one, so that both see the machine in the same states. Shown are medians over the rounds of processor time, and
the median of the ratios of the rounds. Needs the native core: make native.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from sipmikey.native import description

HERE = Path(__file__).parent
CORES = {"python": "1", "native": ""}
"""Value of SIPMIKEY_PURE that chooses each core."""


def output(core: str, script: str, *arguments: str) -> str:
    """Return what a benchmark prints with *core*."""
    command = [sys.executable, str(HERE / script), *arguments, "--json"]
    environment = os.environ | {"SIPMIKEY_PURE": CORES[core]}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def figures(core: str) -> dict[str, float]:
    """Return microseconds by task, measured once."""
    found = {}
    for line in output(core, "codec.py", "--rounds", "5").splitlines():
        figure = json.loads(line)
        found[f"{figure['task']}, suite {figure['suite']}"] = figure["median_us"]
    for name, row in json.loads(output(core, "kms_core.py", "--rounds", "3", "--messages", "200")).items():
        found[f"{name} at the KMS core" if name != "crypto floor" else name] = row["median"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not description().startswith("native core"):
        parser.error(f"{description()}: make native")
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
        rounds.append({core: figures(core) for core in CORES})
    rows = {}
    for task in rounds[0]["python"]:
        python = [turn["python"][task] for turn in rounds]
        native = [turn["native"][task] for turn in rounds]
        ratio = median(slow / quick for slow, quick in zip(python, native, strict=True))
        rows[task] = {"python_us": median(python), "native_us": median(native), "ratio": ratio}
    if args.json:
        print(json.dumps({"python": sys.version, "load": os.getloadavg(), "tasks": rows}))
        return 0
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{description()}; Python {sys.version.split()[0]}; load average {load}")
    print(f"{'us of CPU, median':58s} {'Python':>8s} {'native':>8s} {'ratio':>7s}")
    for task, row in rows.items():
        print(f"{task:58s} {row['python_us']:8.1f} {row['native_us']:8.1f} {row['ratio']:6.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
