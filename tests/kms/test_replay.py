"""The replay cache: each message once, for all workers, through restarts and losses."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipmikey import system
from sipmikey.kms.service import StoreUnavailable
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.replay import DatabaseReplayCache
from sipmikey.kms.stores.store import Store, StoredReplayCache
from tests.kms.domain import Clock
from tests.kms.servers import PostgresCluster, RedisServer
from tests.kms.test_stores import MASTER, awaited

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.interop),
    pytest.param("redis", marks=pytest.mark.interop),
]


@pytest.fixture(params=KINDS)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """URLs of a store and of a replay cache apart, None where it is in the store."""
    sqlite = f"sqlite:{tmp_path}/kms"
    if request.param == "sqlite":
        return sqlite, None
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        return cluster.database(), None
    server: RedisServer = request.getfixturevalue("redis_server")
    return sqlite, server.url


@asynccontextmanager
async def workers(urls: tuple[str, str | None], count: int = 2) -> AsyncIterator[list[Store]]:
    clock = Clock()
    stores = [
        await open_store(urls[0], MASTER, replay_url=urls[1], create=True, now_ns=clock) for _ in range(count)
    ]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


async def add(cache: StoredReplayCache, number: int, *, stamped: int = 0, now: int = 0) -> bool:
    base = Clock().seconds() + 10
    return await cache.add(
        digest(number), stamped_s=base + stamped, expires_s=base + stamped + 300, now_s=base + now
    )


@awaited
async def test_each_message_is_new_once_whichever_worker_gets_it(urls: tuple[str, str | None]) -> None:
    async with workers(urls) as stores:
        caches = [store.replay for store in stores]
        await add(caches[0], -1)
        answers = await asyncio.gather(*(add(caches[turn % 2], turn // 8) for turn in range(400)))
        assert sum(answers) == 50
        assert not any(await asyncio.gather(*(add(caches[0], number) for number in range(50))))


@awaited
async def test_it_survives_a_worker_and_forgets_what_has_expired(urls: tuple[str, str | None]) -> None:
    async with workers(urls, 1) as stores:
        await add(stores[0].replay, -1)
        assert await add(stores[0].replay, 1)
    async with workers(urls, 1) as stores:
        cache = stores[0].replay
        assert not await add(cache, 1)
        assert await add(cache, 2, stamped=1000, now=1000)
        await cache.forget_expired(now_s=Clock().seconds() + 10 + 301)
        assert not await add(cache, 2, stamped=1000, now=1000), "what has not expired is kept"
        await cache.ping()


@awaited
async def test_after_a_reboot_only_what_is_stamped_later_is_accepted(tmp_path: Path) -> None:
    async with workers((f"sqlite:{tmp_path}/kms", None), 1) as stores:
        cache = stores[0].replay
        assert isinstance(cache, DatabaseReplayCache)
        assert await add(cache, 1)
        rebooted = DatabaseReplayCache(cache._database, "another boot")
        assert not await add(rebooted, 2, stamped=0, now=5), "it may have been seen before the power failed"
        assert not await add(rebooted, 3, stamped=4, now=6)
        assert await add(rebooted, 4, stamped=5, now=6)


@pytest.mark.interop
@awaited
async def test_after_redis_forgot_only_what_is_stamped_later_is_accepted(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with workers((f"sqlite:{tmp_path}/kms", redis_server.url), 1) as stores:
        cache = stores[0].replay
        await add(cache, -1)
        assert await add(cache, 1)
        redis_server.stop()
        with pytest.raises(StoreUnavailable):
            await add(cache, 1)
        with pytest.raises(StoreUnavailable):
            await cache.ping()
        redis_server.start()
        assert not await add(cache, 1, now=5)
        assert not await add(cache, 2, stamped=4, now=5)
        assert await add(cache, 3, stamped=5, now=6)


@pytest.mark.interop
@awaited
async def test_after_postgresql_crashed_only_what_is_stamped_later_is_accepted(
    own_postgres: PostgresCluster,
) -> None:
    async with workers((own_postgres.database(), None), 1) as stores:
        cache = stores[0].replay
        assert await add(cache, 1)
        own_postgres.stop(immediately=True)
        with pytest.raises(StoreUnavailable):
            await add(cache, 1)
        own_postgres.start()
        assert not await add(cache, 1, now=5)
        assert not await add(cache, 2, stamped=4, now=5)
        assert await add(cache, 3, stamped=5, now=6)


@pytest.mark.interop
@awaited
async def test_the_first_message_to_a_new_redis_may_take_a_while(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with workers((f"sqlite:{tmp_path}/kms", redis_server.url), 1) as stores:
        cache = stores[0].replay
        now = system.now_ns() // 1_000_000_000 + 1
        await cache.ping()
        assert await add(cache, 1, stamped=now, now=now + 2)
