"""What the time of a refusal tells: of who is known to a KMS, and of how much of a MAC was right.

    python -m benchmarks.hostile.timing [--rounds 3000]

A KMS in this process is asked, in turns and in an order that changes, by a subscriber whose MAC is wrong in
its first octet, in its last one, and by somebody it does not know. Prints medians in microseconds, and how
far two halves of the same kind are apart: what is not beyond that cannot be told.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from tests.kms.domain import Domain


def asked(kms: Domain, kind: str) -> float:
    """Return the microseconds that a refusal takes."""
    message = bytearray(kms.request("mallory" if kind == "unknown" else "alice").message)
    # The MAC is the end of the message: 32 octets.
    place = -32 if kind == "first octet" else -1
    message[place] ^= 1
    begin = time.perf_counter_ns()
    outcome = kms.handle(bytes(message))
    took = (time.perf_counter_ns() - begin) / 1e3
    assert not outcome.granted
    return took


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3000)
    rounds = parser.parse_args().rounds
    kinds = ["first octet", "last octet", "unknown"]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        kms = Domain.make(Path(folder))
        for _ in range(rounds):
            random.shuffle(kinds)
            for kind in kinds:
                times[kind].append(asked(kms, kind))
        kms.close()
    for kind, found in times.items():
        halves = [statistics.median(found[start::2]) for start in range(2)]
        print(
            json.dumps({
                "kind": kind, "rounds": rounds, "median_us": round(statistics.median(found), 1),
                "halves_apart_us": round(abs(halves[0] - halves[1]), 1),
            })
        )  # fmt: skip


if __name__ == "__main__":
    main()
