"""Explore the states of a call, and print what was found as a table.

python -m tests.call [--deep] [--mutations]
"""

from __future__ import annotations

import argparse
import sys
import time

import pytest

from sipmikey.call.within import renegotiation
from tests.call.mutations import mutations
from tests.call.scenarios import DEEP_SCENARIOS, SCENARIOS, TRIES, run


def print_scenarios(names: list[str]) -> None:
    """Explore each scenario; the first violation ends the program with the moves that lead to it."""
    states = transitions = 0
    took_s = 0.0
    print("| scenario | states | transitions | seconds |\n|---|---:|---:|---:|")
    for name in names:
        began = time.process_time()
        report = run(name)
        this_s = time.process_time() - began
        print(f"| {name} | {report.states:,} | {report.transitions:,} | {this_s:.1f} |", flush=True)
        states, transitions, took_s = (
            states + report.states,
            transitions + report.transitions,
            took_s + this_s,
        )
    print(f"| **all** | **{states:,}** | **{transitions:,}** | **{took_s:.1f}** |")


def print_mutations() -> bool:
    """Explore each wrong machine until that is noticed; return True when all were."""
    noticed = 0
    wrong = list(mutations())
    for mutation in wrong:
        with pytest.MonkeyPatch.context() as patch:
            mutation.apply(patch)
            if mutation.is_noticed():
                noticed += 1
            else:
                print(f"not noticed: {mutation.name}")
    print(f"\n{noticed} of {len(wrong)} mutations noticed")
    return noticed == len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.call",
        description="Explore the states of a call.",
        epilog="Example: python -m tests.call --mutations",
    )
    parser.add_argument("--deep", action="store_true", help="the scenarios that take minutes too")
    parser.add_argument("--mutations", action="store_true", help="try the wrong machines too")
    arguments = parser.parse_args()
    renegotiation.MOST_TRIES = TRIES
    print_scenarios([*SCENARIOS, *(DEEP_SCENARIOS if arguments.deep else ())])
    return 0 if not arguments.mutations or print_mutations() else 1


if __name__ == "__main__":
    sys.exit(main())
