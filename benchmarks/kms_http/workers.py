"""How throughput grows from one worker to two, with the replay cache in SQLite and in Redis.

Run: python benchmarks/kms_http/workers.py [--rounds N] [--requests N] [--json FILE]

All run one after the other in each round. Nothing is pinned: on a machine of two cores the client takes a
part of one (measured and printed). Redis is started here, if it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import bench_site as site
import load

CONNECTIONS = 16


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[str]:
    """Run a Redis on a Unix socket and yield its URL."""
    socket = directory / "redis.sock"
    process = subprocess.Popen(
        [
            *("redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""),
            *("--dir", str(directory), "--maxmemory-policy", "noeviction"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not socket.exists():
            time.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()


def measure(
    directory: Path, users: tuple[site.User, site.User], workers: int, count: int
) -> dict[str, float]:
    """Serve with so many workers and answer *count* Ticket Requests."""
    alice, bob = users
    with site.serving(directory, "--workers", str(workers), cores="0,1") as server:
        first = site.ticket_requests(alice, [bob.identity], 1, "256")[0]
        load.drive(server.address, [load.post(site.REQUEST_PATH, first.message)], connections=1)
        time.sleep(1.0)  # an empty Redis takes only what is stamped after the second of its first message
        messages = site.ticket_requests(alice, [bob.identity], count + count // 4, "256")
        posts = [load.post(site.REQUEST_PATH, message.message) for message in messages]
        load.drive(server.address, posts[count:], connections=CONNECTIONS)
        before, own = server.cpu_seconds(), time.process_time()
        outcome = load.drive(server.address, posts[:count], connections=CONNECTIONS)
        if outcome.statuses != {200: count}:
            raise RuntimeError(f"not all were granted: {outcome.statuses}")
        return {
            "per_second": outcome.per_second,
            "server_cpu_us": (server.cpu_seconds() - before) / count * 1e6,
            "client_cpu_us": (time.process_time() - own) / count * 1e6,
            "p50_us": outcome.percentile_us(0.5),
            "p99_us": outcome.percentile_us(0.99),
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sites = {"SQLite": (scratch / "sqlite", site.make_site(scratch / "sqlite"))}
        if shutil.which("redis-server"):
            url = stack.enter_context(redis(scratch))
            sites["Redis"] = (scratch / "redis", site.make_site(scratch / "redis", "--replay", url))
        for number in range(options.rounds):
            for cache, (directory, users) in sites.items():
                for workers in (1, 2):
                    figures = measure(directory, users, workers, options.requests)
                    found.setdefault(f"{cache}, {workers} worker{'s' * (workers > 1)}", []).append(figures)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    medians = {
        name: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    for name, row in medians.items():
        print(name, json.dumps({key: round(value, 1) for key, value in row.items()}))
    for cache in sites:
        growth = medians[f"{cache}, 2 workers"]["per_second"] / medians[f"{cache}, 1 worker"]["per_second"]
        print(f"{cache}: two workers answer {growth:.2f} times what one does")
    if options.json is not None:
        options.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
