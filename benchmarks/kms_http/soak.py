"""Run a KMS at a share of its capacity for a while: counts of what was sent, answered, refused, lost; memory.

Run: python benchmarks/kms_http/soak.py [--minutes M] [--share 0.7] [--workers N] [--json FILE]

Capacity is measured first, with all connections busy. Then Ticket Requests and Resolves are sent at a steady
rate by the client library agents use; every tenth answer is verified. Memory is the anonymous part
of the resident set of all processes of the service (the file part is the store's cache).
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import bench_site as site
import load

from sipmikey.kms.client import HttpKmsClient, KmsFailure, KmsRefused
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.ticket import TicketGrant, TicketRequest, TicketResolve

SAMPLE_S = 10.0
OUTSTANDING = 256
BATCH = 50
VERIFIED = 20


def anonymous_kib(server: site.Server) -> int:
    """Return the anonymous resident memory of the service and its workers."""
    total = 0
    for pid in server.processes():
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return total


def capacity(server: site.Server, alice: site.User, bob: site.User, count: int = 4000) -> float:
    """Return the Ticket Requests a second the service answers when it is never idle."""
    requests = site.ticket_requests(alice, [bob.identity], count, "256")
    posts = [load.post(site.REQUEST_PATH, request.message) for request in requests]
    load.drive(server.address, posts[: count // 4], connections=8)
    return load.drive(server.address, posts[count // 4 :], connections=8).per_second


class Soak:
    """One run and its counts."""

    def __init__(self, server: site.Server, alice: site.User, bob: site.User) -> None:
        self._server, self._alice, self._bob = server, alice, bob
        self.counts: collections.Counter[str] = collections.Counter()
        self.latencies: list[float] = []
        self.memory: list[int] = []
        self._messages: list[TicketRequest | TicketResolve] = []

    async def run(self, rate: float, seconds: float) -> None:
        host, port = self._server.address
        async with HttpKmsClient(f"http://{host}:{port}") as client:
            grant = await self._ask(client)
            sampler = asyncio.ensure_future(self._sample())
            running: set[asyncio.Task[None]] = set()
            began = time.monotonic()
            for number in range(round(rate * seconds)):
                wait = began + number / rate - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                if len(running) >= OUTSTANDING:
                    self.counts["not sent: too many outstanding"] += 1
                    await asyncio.sleep(0)
                    continue
                if not self._messages:
                    self._messages = self._batch(grant)
                task = asyncio.ensure_future(self._one(client, self._messages.pop(), number))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)
            sampler.cancel()

    async def _ask(self, client: HttpKmsClient) -> TicketGrant:
        request = site.ticket_requests(self._alice, [self._bob.identity], 1, "256")[0]
        return request.receive(await client.request(request.message))

    def _batch(self, grant: TicketGrant) -> list[TicketRequest | TicketResolve]:
        requests = site.ticket_requests(self._alice, [self._bob.identity], BATCH, "256")
        resolves = site.ticket_resolves(grant, self._alice, self._bob, BATCH)
        return [each for pair in zip(requests, resolves, strict=True) for each in pair]

    async def _one(self, client: HttpKmsClient, exchange: TicketRequest | TicketResolve, number: int) -> None:
        self.counts["sent"] += 1
        began = time.perf_counter()
        try:
            answer = await client.request(exchange.message)
            if number % VERIFIED < 2:  # one of each kind
                exchange.receive(answer)
        except KmsRefused as error:
            self.counts[f"refused: {error.kms_reason}"] += 1
        except KmsFailure as error:
            self.counts[f"lost: {error.reason}"] += 1
        except SipmikeyError as error:
            self.counts[f"wrong answer: {type(error).__name__}"] += 1
        else:
            self.counts["answered"] += 1
            self.latencies.append(time.perf_counter() - began)

    async def _sample(self) -> None:
        while True:
            self.memory.append(anonymous_kib(self._server))
            print(f"{dict(self.counts)} {self.memory[-1]} KiB", file=sys.stderr, flush=True)
            await asyncio.sleep(SAMPLE_S)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--workers", default="1")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    site.pin(1)
    with tempfile.TemporaryDirectory() as scratch:
        alice, bob = site.make_site(Path(scratch) / "kms")
        with site.serving(Path(scratch) / "kms", "--workers", options.workers) as server:
            most = capacity(server, alice, bob)
            soak = Soak(server, alice, bob)
            asyncio.run(soak.run(most * options.share, options.minutes * 60))
        stored = sum(path.stat().st_size for path in (Path(scratch) / "kms").iterdir())
    ordered = sorted(soak.latencies)
    third = max(1, len(soak.memory) // 3)
    report = {
        "capacity_per_second": round(most),
        "rate_per_second": round(most * options.share),
        "minutes": options.minutes,
        "counts": dict(soak.counts),
        "p50_us": round(ordered[len(ordered) // 2] * 1e6),
        "p99_us": round(ordered[len(ordered) * 99 // 100] * 1e6),
        "memory_kib": {
            "first third": sum(soak.memory[:third]) // third,
            "last third": sum(soak.memory[-third:]) // third,
            "all": soak.memory,
        },
        "store_bytes": stored,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="ascii")
    return 0 if soak.counts["answered"] == soak.counts["sent"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
