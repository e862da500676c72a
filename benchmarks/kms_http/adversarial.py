"""A hundred thousand hostile messages to a running KMS: none may be granted, none answered with 5xx.

Run: python benchmarks/kms_http/adversarial.py [--count N] [--seed N] [--workers N] [--json FILE]

Mutated, truncated, replayed, reordered, spliced, cross-user and cross-KMS messages; the families are in
tests/kms/http/adversary.py. In the end the valid messages they were made from are sent as they are and must
be granted. Exit status 1 if anything was granted, answered with 5xx or not at all.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
import load

from tests.kms.http.adversary import Adversary
from tests.kms.http.serving import (
    ALICE,
    BOB,
    CAROL,
    TICKET_REQUEST,
    TICKET_RESOLVE,
    Service,
    Site,
    Subscriber,
    serving,
)

BATCH = 2000
CONNECTIONS = 8
SEEN = 200


def resident_kib(service: Service) -> int:
    """Return the resident memory of the service and its workers."""
    total = 0
    for pid in (service.process.pid, *service.children()):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return total


def prepare(
    service: Service, foreign: Site, alice: Subscriber, bob: Subscriber, carol: Subscriber, seed: int
) -> Adversary:
    """Let the KMS grant what the attacks start from."""
    with serving(foreign) as other:
        asked = foreign.add(ALICE).request(BOB)
        foreign_grant = asked.receive(other.post(asked.message)[2])
    requests = [alice.request(BOB) for _ in range(SEEN)]
    grants = [request.receive(service.post(request.message)[2]) for request in requests]
    resolves = [bob.resolve(grants[0], alice) for _ in range(SEEN)]
    for resolve in resolves:
        resolve.receive(service.post(resolve.message, path=TICKET_RESOLVE)[2])
    seen = [(TICKET_REQUEST, each.message) for each in requests]
    seen += [(TICKET_RESOLVE, each.message) for each in resolves]
    return Adversary(
        seed, alice=alice, bob=bob, mallory=carol, grant=grants[0], foreign=foreign_grant, seen=seen
    )


def send(service: Service, requests: list[bytes]) -> collections.Counter[int]:
    return load.drive(service.address, requests, connections=CONNECTIONS).statuses


def run(options: argparse.Namespace, scratch: Path) -> dict[str, object]:
    site, foreign = Site(scratch / "site"), Site(scratch / "foreign")
    for each in (site, foreign):
        each.configure("limits", address_per_second=0, subscriber_per_second=0)
    alice, bob, carol = site.add(ALICE), site.add(BOB), site.add(CAROL)
    answers: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    began = time.monotonic()
    with serving(site, "--workers", options.workers, "--log-level", "error") as service:
        memory = []
        models: collections.Counter[int] = collections.Counter()
        left = options.count
        while left:
            # Messages live as long as the clock skew allows: each part makes new models.
            adversary = prepare(service, foreign, alice, bob, carol, options.seed + left)
            foreign = Site(scratch / f"foreign-{left}")
            part = min(left, 20_000)
            for start in range(0, part, BATCH):
                batch: dict[str, list[bytes]] = collections.defaultdict(list)
                for attack in adversary.attacks(min(BATCH, part - start)):
                    batch[attack.family].append(load.post(attack.path, attack.message))
                for family, requests in batch.items():
                    answers[family] += send(service, requests)
            models += send(service, [load.post(path, message) for path, message in adversary.bases])
            left -= part
            memory.append(resident_kib(service))
            print(f"{options.count - left} of {options.count}", file=sys.stderr, flush=True)
    statuses: collections.Counter[int] = collections.Counter()
    for counted in answers.values():
        statuses += counted
    return {
        "sent": options.count,
        "answered": sum(statuses.values()),
        "statuses": dict(sorted(statuses.items())),
        "families": {family: dict(sorted(counted.items())) for family, counted in sorted(answers.items())},
        "granted": statuses[200],
        "server_errors": sum(count for status, count in statuses.items() if status >= 500),
        "models": dict(models),
        "resident_kib": memory,
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report = run(options, Path(scratch))
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="ascii")
    sound = report["granted"] == 0 and report["server_errors"] == 0 and report["answered"] == options.count
    return 0 if sound and set(report["models"]) == {200} else 1  # type: ignore[call-overload]


if __name__ == "__main__":
    raise SystemExit(main())
