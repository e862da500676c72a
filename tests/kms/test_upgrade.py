"""A store that an earlier release left is taken over whole, and a new step of the tables stops no server.

`earlier` holds a store as the code before the last step of the tables wrote it (directory 4, audit 2), with
something of everything in it: dumps of its SQLite files, and of its PostgreSQL database.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipmikey.kms.audit import AuditQuery
from sipmikey.kms.stores import open as opening
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.schema import DIRECTORY
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from tests.kms.domain import NS, subscriber

EARLIER = Path(__file__).parent / "earlier"
NOW_S = 1_800_000_100
NEXT = (
    "ALTER TABLE subscriber ADD COLUMN note TEXT",
    "CREATE TABLE subscriber_note (name TEXT PRIMARY KEY, added_s {INT} NOT NULL) {COMPACT}",
    "CREATE INDEX subscriber_created ON subscriber (created_s)",
)
"""A step as a next release may add it."""


@asynccontextmanager
async def opened(url: str, *, create: bool = False) -> AsyncIterator[Store]:
    store = await open_store(url, Secret(bytes(range(32))), create=create, now_ns=lambda: NOW_S * NS)
    try:
        yield store
    finally:
        await store.close()


async def restore(url: str) -> None:
    """Make the store of the earlier release at *url*."""
    if url.startswith("sqlite:"):
        for dump, ending in (("directory-4", ""), ("audit-2", "-audit")):
            with sqlite3.connect(url.removeprefix("sqlite:") + ending) as database:
                database.executescript((EARLIER / f"{dump}.sqlite.sql").read_text())
            database.close()
        return
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    await connection.execute((EARLIER / "directory-4.postgresql.sql").read_text())
    await connection.close()


async def tables(store: Store) -> list[str]:
    """Return the tables, columns and indices of the directory in words that do not tell their order."""
    if store.directory.dialect == "sqlite":
        rows = await store.directory.fetch("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql")
        return [" ".join(row[0].split()) for row in rows]
    columns = await store.directory.fetch(
        """SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1"""
    )
    indices = await store.directory.fetch(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    )
    return [row[0] for row in (*columns, *indices)]


def test_a_store_of_the_release_before_is_taken_over_whole(store_url: str) -> None:
    assert len(DIRECTORY) > 4, "there is a step to take"

    async def story() -> None:
        await restore(store_url)
        for _ in range(2):
            async with opened(store_url) as store:
                await check_content(store)
                rows = await store.directory.fetch(
                    "SELECT version FROM schema_version WHERE part = 'directory'"
                )
                assert rows[0][0] == len(DIRECTORY)
                await store.ping()
        async with opened(store_url) as store:
            await store.subscribers.add(subscriber("carol"))
            assert await store.subscribers.count() == 3

    asyncio.run(story())


async def check_content(store: Store) -> None:
    records = [record async for record in store.subscribers.records(with_keys=True)]
    alice, bob = records
    assert (alice.name, alice.identities) == ("alice", ("sip:alice@example.com", "tel:+46701"))
    assert (alice.groups, alice.certificates) == (("sip:staff@example.com",), (b"certificate",))
    keys = {psk.key_id: (psk.key.reveal(), psk.device) for psk in alice.psks if psk.key is not None}
    assert keys == {
        b"alice-1": (bytes([1] * 32), ""),
        b"alice.00000001.1": (bytes([5] * 32), "alice.00000001"),
    }
    assert bob == SubscriberRecord(name="bob", identities=("sip:bob@example.com",), enabled=False)
    found = await store.subscribers.psk_by_key_id(b"alice.00000001.1")
    assert found is not None
    assert found.valid_until_s == 4_000_000_000
    (device,) = await store.devices.devices()
    assert (device.device, device.name, device.key.reveal()) == ("alice.00000001", "desk", bytes([4] * 32))
    open_one = await store.devices.invitation("AAAA")
    assert open_one is not None
    assert open_one.open_at(NOW_S)
    used = await store.devices.invitation("BBBB")
    assert used is not None
    assert not used.open_at(NOW_S)
    (tpk,) = await store.ticket_keys.list()
    sealing = await store.ticket_keys.sealing_key(owner=None, now_s=NOW_S, until_s=NOW_S + 60)
    assert sealing is not None
    assert sealing.key_id == tpk.key_id
    policy = await store.policies.current()
    assert policy is not None
    assert policy.author == "root"
    (event,) = await store.audit.query(AuditQuery(subscriber="sip:bob@example.com"))
    assert (event.subscriber, event.rule, event.source) == ("alice", "all", "192.0.2.1")
    token = await store.provisioned.token("a token", now_s=NOW_S)
    assert token is not None
    assert token.name == "okta"


def test_its_tables_are_then_those_of_a_new_store(
    store_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def story() -> None:
        await restore(store_url)
        async with opened(store_url) as store:
            found = await tables(store)
        if store_url.startswith("sqlite:"):
            other = f"sqlite:{tmp_path}/new.sqlite"
        else:
            other = request.getfixturevalue("postgres").database()
        async with opened(other, create=True) as store:
            assert found == await tables(store)

    asyncio.run(story())


def test_the_next_step_stops_no_server_that_runs(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with opened(store_url, create=True) as running:
            await running.subscribers.add(subscriber("alice"))
            await serves(running, "bob")
            with monkeypatch.context() as next_release:
                next_release.setattr(opening, "DIRECTORY", (*DIRECTORY, NEXT))
                async with opened(store_url) as upgraded:
                    for name in ("carol", "dave"):
                        await serves(running, name)
                        await serves(upgraded, f"{name}-2")
            with pytest.raises(LocalError, match="newer than this release knows: upgrade"):
                async with opened(store_url):
                    pass
            await serves(running, "erin")

    async def serves(store: Store, name: str) -> None:
        """Do what a server and its administrator do."""
        await store.subscribers.add(subscriber(name))
        assert await store.subscribers.psk_by_key_id(name.encode()) is not None
        assert (await store.subscribers.get(name)).name == name
        assert len([record async for record in store.subscribers.records()]) >= 2
        await store.subscribers.set_enabled(name, False)
        await store.ticket_keys.rotate(now_s=NOW_S)
        await store.ping()

    asyncio.run(story())
