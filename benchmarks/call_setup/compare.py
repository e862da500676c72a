"""Set-up time of a call in two versions of this project, in turns within one run.

    git worktree add ../before 228dee4 && make -C ../before .venv/.installed
    python benchmarks/call_setup/compare.py ../before [--rounds 5] [--calls 10] [--json]

Each round runs `run.py` of the other tree, and that of this one with pjsua2 in the agent's process and in
one of its own, each with the Python of its own `.venv`. The figures are medians over the medians of the
rounds, in milliseconds, and behind them their ratio to the other version.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]


VERSIONS = ("before", "one process", "isolated")


def medians(tree: Path, *options: str) -> dict[str, float]:
    """Return the median of each kind of call in *tree*, milliseconds."""
    command = [tree / ".venv/bin/python", "benchmarks/call_setup/run.py", "--json", *options]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=600, check=False)
    if run.returncode:
        sys.exit(f"{tree}: run.py ended with {run.returncode}\n{run.stderr[-2000:]}")
    return {name: kind["median_ms"] for name, kind in json.loads(run.stdout)["calls"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a worktree of the other version, with its .venv")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--calls", type=int, default=10, help="calls of each kind in a round (default: 10)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {version: defaultdict(list) for version in VERSIONS}
    calls = ("--calls", str(arguments.calls))
    for number in range(arguments.rounds):
        runs = zip(
            VERSIONS,
            (
                medians(arguments.before.resolve(), *calls),
                medians(HERE, *calls, "--one-process"),
                medians(HERE, *calls),
            ),
            strict=True,
        )
        for version, kinds in runs:
            for name, median in kinds.items():
                found[version][name].append(median)
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    result = {
        name: {
            version: {
                "median_ms": statistics.median(found[version][name]),
                "ratio": _ratio(found, version, name),
            }
            for version in VERSIONS
        }
        for name in found["before"]
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'':44}" + "".join(f"{version:>18}" for version in VERSIONS))
    for name, kind in result.items():
        columns = (
            f"{kind[version]['median_ms']:10.2f} ({kind[version]['ratio']:.2f})" for version in VERSIONS
        )
        print(f"{name:44}" + "".join(f"{column:>18}" for column in columns))


def _ratio(found: dict[str, dict[str, list[float]]], version: str, name: str) -> float:
    pairs = zip(found["before"][name], found[version][name], strict=True)
    return statistics.median(new / old for old, new in pairs)


if __name__ == "__main__":
    main()
