"""A store of a million subscribers: loading it, its size, and looking people up.

Run: python benchmarks/kms_store.py [--subscribers N] [--url URL] [--replay URL] [--json]

Each subscriber has two identities, one pre-shared key sealed under the master key, and one in ten is in a
group. Without --url a SQLite store is made in a temporary directory; --url postgresql://... loads an empty
database. Lookups are of random subscribers, uncached, as one worker makes them one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from sipmikey.kms.audit import AuditEvent, AuditQuery, Decision, Exchange
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord
from sipmikey.mikey.secret import Secret

LOOKUPS = 2_000


def key_id(number: int) -> bytes:
    return hashlib.sha256(f"key {number}".encode()).digest()[:8]


def identity(number: int) -> str:
    return f"sip:user{number}@example.com"


def people(count: int) -> Iterator[SubscriberRecord]:
    for number in range(count):
        yield SubscriberRecord(
            name=f"user{number}",
            identities=(identity(number), f"tel:+4670{number:08d}"),
            psks=(PskRecord(key_id=key_id(number), key=Secret(os.urandom(32))),),
            groups=(f"sip:group{number % 1000}@example.com",) if number % 10 == 0 else (),
        )


async def size(store: Store, url: str) -> int:
    """Return the bytes the directory takes on disk."""
    if url.startswith("sqlite:"):
        await store.directory.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(url.removeprefix("sqlite:")).stat().st_size
    rows = await store.directory.fetch("SELECT pg_database_size(current_database())")
    return int(rows[0][0])


async def timed(ask: Callable[[int], Awaitable[object]], count: int) -> dict[str, float]:
    """Return median and 99th percentile in microseconds of *LOOKUPS* random questions."""
    draw = random.Random(1)
    spent = []
    for _ in range(LOOKUPS):
        number = draw.randrange(count)
        started = time.perf_counter()
        await ask(number)
        spent.append((time.perf_counter() - started) * 1e6)
    spent.sort()
    return {
        "median_us": round(statistics.median(spent), 1),
        "p99_us": round(spent[len(spent) * 99 // 100], 1),
    }


async def replay_and_audit(store: Store) -> dict[str, dict[str, float]]:
    """Time what every message writes."""
    now_s = int(time.time())

    async def seen(number: int) -> object:
        return await store.replay.add(os.urandom(16), stamped_s=now_s, expires_s=now_s + 300, now_s=now_s)

    async def audited(number: int) -> object:
        return await store.audit.append(
            AuditEvent(
                time_ns=time.time_ns(),
                exchange=Exchange.REQUEST,
                decision=Decision.GRANTED,
                reason="granted",
                subscriber=f"user{number}",
                identity=identity(number),
                peers=(identity(number + 1),),
                ticket=os.urandom(8).hex(),
                rule="colleagues",
            )
        )

    async def asked(number: int) -> object:
        return await store.audit.query(AuditQuery(subscriber=f"user{number}"))

    return {
        "replay check-and-add": await timed(seen, 10**6),
        "audit append": await timed(audited, 10**6),
        "audit query by subscriber": await timed(asked, 10**6),
    }


async def measure(url: str, replay_url: str | None, count: int) -> dict[str, object]:
    store = await open_store(url, Secret(os.urandom(32)), replay_url=replay_url, create=True)
    before = await size(store, url)
    started = time.perf_counter()

    def progress(done: int) -> None:
        if done % 50_000 == 0:
            print(f"\r{done} loaded", end="", file=sys.stderr, flush=True)

    await store.subscribers.load(people(count), progress)
    seconds = time.perf_counter() - started
    print(file=sys.stderr)
    octets = await size(store, url) - before
    find = store.subscribers
    figures: dict[str, object] = {
        "subscribers": count,
        "load_seconds": round(seconds, 1),
        "loaded_per_second": round(count / seconds),
        "bytes_per_subscriber": round(octets / count),
        "lookups": {
            "key by identifier": await timed(lambda number: find.psk_by_key_id(key_id(number)), count),
            "keys by identity": await timed(lambda number: find.psks_of(identity(number)), count),
            "owner of identity": await timed(lambda number: find.principal_of(identity(number)), count),
            "groups of identity": await timed(lambda number: find.groups_of(identity(number)), count),
        }
        | await replay_and_audit(store),
    }
    await store.close()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=1_000_000, metavar="N")
    parser.add_argument(
        "--url", metavar="URL", help="an empty database; SQLite in a temporary directory if not given"
    )
    parser.add_argument("--replay", metavar="URL", help="a Redis for the replay cache")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(
            measure(args.url or f"sqlite:{directory}/kms.sqlite", args.replay, args.subscribers)
        )
    if args.json:
        print(json.dumps(figures))
        return 0
    lookups = figures.pop("lookups")
    for name, value in figures.items():
        print(f"{name:28s} {value}")
    assert isinstance(lookups, dict)
    for name, row in lookups.items():
        print(f"{name:28s} median {row['median_us']:8.1f} us   p99 {row['p99_us']:8.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
