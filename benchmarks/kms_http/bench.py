"""Ticket Request and Resolve over HTTP beside TGS of MIT krb5's KDC, in one run.

Run: python benchmarks/kms_http/bench.py [--rounds N] [--requests N] [--clients N] [--suite 128|256]

Each round measures, one after the other: REQUEST, TGS, RESOLVE, TGS (A, B, C, B), server on core 0, client on
core 1. What counts is the server's CPU time for each answer, since a core is what a KMS and a KDC are bought
in. Needs krb5-kdc, krb5-admin-server, libkrb5-dev and a C compiler.
The KMS runs as installed: SQLite store, replay cache and audit log on, one worker; only rate limits are off.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import bench_site as site
import krb5
import load


def kms_round(
    server: site.Server, path: str, messages: list[bytes], connections: int
) -> tuple[dict[str, float], list[bytes]]:
    """Send *messages*; all must be granted. Return the figures and the bodies, in the order of arrival."""
    before = server.cpu_seconds()
    outcome = load.drive(
        server.address,
        [load.post(path, message) for message in messages],
        connections=connections,
        keep_bodies=True,
    )
    used = server.cpu_seconds() - before
    if outcome.statuses != {200: len(messages)}:
        raise RuntimeError(f"not all were granted: {outcome.statuses}")
    figures = {
        "per_second": outcome.per_second,
        "server_cpu_us": used / len(messages) * 1e6,
        "p50_us": outcome.percentile_us(0.5),
        "p99_us": outcome.percentile_us(0.99),
    }
    return figures, outcome.bodies


def run(options: argparse.Namespace, scratch: Path) -> dict[str, dict[str, float]]:
    alice, bob = site.make_site(scratch / "kms")
    (scratch / "krb").mkdir()
    found: dict[str, list[dict[str, float]]] = {"REQUEST": [], "RESOLVE": [], "TGS": []}
    with site.serving(scratch / "kms") as server, krb5.kdc(scratch / "krb") as kdc:
        one = site.ticket_requests(alice, [bob.identity], 1, options.suite)[0]
        _, bodies = kms_round(server, site.REQUEST_PATH, [one.message], 1)
        grant = one.receive(bodies[0])
        for number in range(options.rounds + 1):
            requests = site.ticket_requests(alice, [bob.identity], options.requests, options.suite)
            resolves = site.ticket_resolves(grant, alice, bob, options.requests)
            figures = {
                "REQUEST": kms_round(
                    server, site.REQUEST_PATH, [r.message for r in requests], options.clients
                )[0],
                "TGS": kdc.round(clients=options.clients, count=options.requests // options.clients),
                "RESOLVE": kms_round(
                    server, site.RESOLVE_PATH, [r.message for r in resolves], options.clients
                )[0],
            }
            again = kdc.round(clients=options.clients, count=options.requests // options.clients)
            if number == 0:
                continue  # everything is warm from the second round on
            for name, measured in figures.items():
                found[name].append(measured)
            found["TGS"].append(again)
            print(f"round {number} of {options.rounds}", file=sys.stderr, flush=True)
    return {
        name: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--clients", type=int, default=4, help="connections, and processes asking the KDC")
    parser.add_argument("--suite", choices=("128", "256"), default="256")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    site.pin(1)
    with tempfile.TemporaryDirectory() as scratch:
        medians = run(options, Path(scratch))
    print(f"{'':8} {'req/s':>8} {'per core':>9} {'CPU us':>8} {'p50 us':>8} {'p99 us':>8}")
    for name, row in medians.items():
        print(
            f"{name:8} {row['per_second']:8.0f} {1e6 / row['server_cpu_us']:9.0f} {row['server_cpu_us']:8.1f}"
            f" {row['p50_us']:8.0f} {row['p99_us']:8.0f}"
        )
    for name in ("REQUEST", "RESOLVE"):
        ratio = medians["TGS"]["server_cpu_us"] / medians[name]["server_cpu_us"]
        print(f"{name} per core against TGS: {ratio:.2f}")
        hours = medians[name]["server_cpu_us"] / 3600
        print(f"a million of {name}: {hours:.3f} core-hours")
    if options.json is not None:
        options.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
