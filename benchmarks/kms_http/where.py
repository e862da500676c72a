"""Where the time of a Ticket Request goes: HTTP, parsing, the exchange itself, replay cache, audit log.

Run: python benchmarks/kms_http/where.py [--rounds N] [--requests N]

CPU time for each request. HTTP is measured with the real server over a service that answers at once; the rest
in one process, adding one part after the other. Parts take turns in each round; medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import bench_site as site
import load

from sipmikey.cli.kms.common import open_configured
from sipmikey.cli.kms.configuration import KmsConfiguration
from sipmikey.cli.kms.configuration import load as load_configuration
from sipmikey.cli.kms.policy import current_policy
from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.worker import Worker, WorkerSettings, bind, run_worker
from sipmikey.kms.service import KeyManagementService, KmsSettings, Lookups, Outcome
from sipmikey.ticket.kms_exchange.kms import KmsInit

CONNECTIONS = 16


class NoReplayCache:
    """Every message is new."""

    async def add(self, digest: bytes, **_: int) -> bool:
        return True


class NoAuditLog:
    """Nothing is kept."""

    async def append(self, event: AuditEvent) -> None:
        pass


class Constant:
    """In place of service and store: the same answer at once, of the usual size."""

    def __init__(self) -> None:
        event = AuditEvent(time_ns=0, exchange=Exchange.REQUEST, decision=Decision.GRANTED, reason="granted")
        self._outcome = Outcome(status=200, reason="granted", event=event, body=b"\x01" * 600)
        self.ticket_keys = self

    async def handle(self, message: bytes, **_: object) -> Outcome:
        return self._outcome

    async def nothing(self) -> None:
        pass

    close = ping = maintain = nothing

    async def current(self, **_: int) -> None:
        return None


def serve_constant() -> int:
    """Serve HTTP over `Constant` and print the port; runs in a process of its own."""
    listener = bind("127.0.0.1:0", tls=False)
    stub: Any = Constant()

    async def body() -> int:
        worker = Worker(
            stub,
            stub,
            public=[listener],
            settings=WorkerSettings(),
            metrics=Metrics(),
            reload_policy=stub.nothing,
            on_start=lambda: print(listener.getsockname()[1], flush=True),
        )
        await worker.serve()
        return 0

    return run_worker(body())


@contextlib.contextmanager
def constant_server() -> Iterator[tuple[int, int]]:
    """Yield (process id, port) of `serve_constant` on core 0."""
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, __file__, "--serve-constant"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def http_alone(pid: int, port: int, count: int) -> float:
    request = load.post(site.REQUEST_PATH, b"\x01" * 291)
    before = load.cpu_seconds(pid)
    load.drive(("127.0.0.1", port), [request] * count, connections=CONNECTIONS)
    return (load.cpu_seconds(pid) - before) / count * 1e6


async def handled(service: KeyManagementService, messages: list[bytes]) -> float:
    """Answer *messages*, as many at a time as there are connections."""
    began = time.process_time()
    for start in range(0, len(messages), CONNECTIONS):
        part = messages[start : start + CONNECTIONS]
        outcomes = await asyncio.gather(*(service.handle(m, expected=Exchange.REQUEST) for m in part))
        assert all(outcome.granted for outcome in outcomes)
    return (time.process_time() - began) / len(messages) * 1e6


def parsed(messages: list[bytes]) -> float:
    began = time.process_time()
    for message in messages:
        KmsInit(site.env, message)
    return (time.process_time() - began) / len(messages) * 1e6


async def measure(
    options: argparse.Namespace, configuration: KmsConfiguration, users: tuple[site.User, ...]
) -> None:
    alice, bob = users
    store = await open_configured(configuration)
    policy = await current_policy(configuration, store)
    everything = store.lookups()
    parts: dict[str, Lookups] = {
        "exchange": dataclasses.replace(everything, replay=NoReplayCache(), audit=NoAuditLog()),
        "replay cache": dataclasses.replace(everything, audit=NoAuditLog()),
        "audit log": everything,
    }
    found: dict[str, list[float]] = {}
    with constant_server() as (pid, port):
        for number in range(options.rounds + 1):
            row = {"HTTP": http_alone(pid, port, options.requests)}
            for name, lookups in parts.items():
                service = KeyManagementService(site.env, KmsSettings(identity=site.KMS), policy, lookups)
                requests = site.ticket_requests(alice, [bob.identity], options.requests, "256")
                row[name] = await handled(service, [request.message for request in requests])
            row["parsing"] = parsed([request.message for request in requests])
            if number:
                for name, value in row.items():
                    found.setdefault(name, []).append(value)
    await store.close()
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(f"{'HTTP':14} {medians['HTTP']:6.0f} us")
    print(f"{'parsing':14} {medians['parsing']:6.0f} us")
    print(f"{'exchange':14} {medians['exchange'] - medians['parsing']:6.0f} us  keys, policy, ticket, answer")
    print(f"{'replay cache':14} {medians['replay cache'] - medians['exchange']:6.0f} us")
    print(f"{'audit log':14} {medians['audit log'] - medians['replay cache']:6.0f} us")
    print(f"{'sum':14} {medians['HTTP'] + medians['audit log']:6.0f} us")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1600)
    parser.add_argument("--serve-constant", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_constant:
        return serve_constant()
    site.pin(1)
    with tempfile.TemporaryDirectory() as scratch:
        users = site.make_site(Path(scratch) / "kms")
        asyncio.run(measure(options, load_configuration(Path(scratch) / "kms"), users))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
