"""Hostile messages to the KMS in process: none may be granted, none answered with a 5xx.

Run: python benchmarks/kms_hostile.py [--count N] [--seed N] [--json]

What is sent is described in tests/kms/hostile.py. Exit status 1 at the first message that is not refused,
which is shown. The running service is attacked by benchmarks/kms_http/adversarial.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.kms.hostile import attack, domain

BATCH = 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    answers: Counter[str] = Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        kms = domain(Path(directory))
        while (sent := sum(answers.values())) < args.count:
            try:
                answers += attack(kms, min(BATCH, args.count - sent), args.seed + sent)
            except AssertionError as accepted:
                print(f"NOT REFUSED: {accepted}", file=sys.stderr)
                return 1
            print(f"\r{sum(answers.values())} refused", end="", file=sys.stderr, flush=True)
        kms.close()
    print(file=sys.stderr)
    seconds = time.perf_counter() - started
    sent = sum(answers.values())
    if args.json:
        print(json.dumps({"sent": sent, "refused": sent, "seconds": round(seconds, 1), "answers": answers}))
        return 0
    for what, count in sorted(answers.items()):
        print(f"{count:8d}  {what}")
    print(f"{sent} messages refused in {seconds:.0f} s, 0 granted, 0 answered with a 5xx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
