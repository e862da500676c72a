"""What every store must do, on real SQLite and real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from sipmikey.kms.audit import AuditEvent, AuditQuery, Decision, Exchange
from sipmikey.kms.service import StoreUnavailable
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.replay import DatabaseReplayCache
from sipmikey.kms.stores.schema import DIRECTORY, migrate
from sipmikey.kms.stores.sqlite import SqliteDatabase
from sipmikey.kms.stores.store import SETTLING_S, Store
from sipmikey.kms.stores.vault import MasterKeyMismatch, Vault
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord, format_subscribers, parse_subscribers
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from tests.kms.domain import NS, Clock, psk_of, subscriber, uri
from tests.kms.servers import PostgresCluster

MASTER = Secret(bytes(range(32)))


def awaited(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test in an event loop of its own."""

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None, **options: Any) -> AsyncIterator[Store]:
    store = await open_store(url, MASTER, now_ns=clock or Clock(), **({"create": True} | options))
    try:
        yield store
    finally:
        await store.close()


@awaited
async def test_only_what_changes_a_row_empties_the_caches(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "a.sqlite", create=True)
    await database.execute("CREATE TABLE word (text TEXT)")
    await database.execute("INSERT INTO word VALUES ('one')")
    before = await database.changes()
    assert await database.execute("DELETE FROM word WHERE text = 'two'") == 0
    assert await database.changes() == before
    assert await database.execute("DELETE FROM word WHERE text = 'one'") == 1
    assert await database.changes() != before
    await database.close()


@awaited
async def test_a_subscriber_is_found_by_key_by_identity_and_by_certificate(store_url: str) -> None:
    der = b"a certificate"
    async with opened(store_url) as store:
        group = "sip:staff@example.com"
        await store.subscribers.add(subscriber("alice", "tel:+46701", groups=[group], certificates=(der,)))
        found = await store.subscribers.psk_by_key_id(b"alice")
        assert found is not None
        assert found.key == psk_of("alice")
        principal = found.principal
        assert (principal.name, principal.identities) == ("alice", (uri("alice"), "tel:+46701"))
        assert principal.groups == (group,)
        by_identity = await store.subscribers.psks_of("tel:+46701")
        assert [each.key for each in by_identity] == [found.key]
        assert await store.subscribers.principal_by_certificate(hashlib.sha256(der).digest()) == principal
        assert await store.subscribers.principal_of(uri("alice")) == principal
        assert await store.subscribers.psk_by_key_id(b"nobody") is None
        assert await store.subscribers.principal_of(uri("nobody")) is None


@awaited
async def test_names_identities_and_key_identifiers_are_taken_once(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.subscribers.add(subscriber("alice"))
        for clash in (
            subscriber("alice"),
            subscriber("other", uri("alice")),
            SubscriberRecord(
                name="third", identities=(uri("third"),), psks=(PskRecord(key_id=b"alice", key=psk_of("x")),)
            ),
        ):
            with pytest.raises(LocalError, match="already"):
                await store.subscribers.add(clash)
        assert await store.subscribers.count() == 1
        with pytest.raises(LocalError, match="already"):
            await store.subscribers.load([subscriber("bob"), subscriber("bob")])
        assert await store.subscribers.count() == 1, "a batch that fails is undone as a whole"


@awaited
async def test_keys_rotate_with_an_overlap_and_are_revoked(store_url: str) -> None:
    clock = Clock()
    async with opened(store_url, clock) as store:
        await store.subscribers.add(subscriber("alice"))
        await store.subscribers.rotate_psk("alice", PskRecord(key_id=b"new", key=psk_of("new")), overlap_s=60)
        old, new = [await store.subscribers.psk_by_key_id(key_id) for key_id in (b"alice", b"new")]
        assert old is not None
        assert new is not None
        assert old.valid_at(clock.seconds() + 59)
        assert not old.valid_at(clock.seconds() + 61)
        assert new.valid_at(clock.seconds() + 10**9)
        await store.subscribers.revoke_psk(b"alice")
        await fresh(store, lambda: store.subscribers.psk_by_key_id(b"alice"), None)
        with pytest.raises(LocalError):
            await store.subscribers.revoke_psk(b"alice")


async def fresh(store: Store, ask: Callable[[], Awaitable[object]], expected: object) -> None:
    """Wait out what the store documents about cached answers, then compare."""
    for _ in range(200):
        if await ask() == expected:
            return
        await asyncio.sleep(0.02)
    assert await ask() == expected


@awaited
async def test_removal_takes_everything_along(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.subscribers.add(
            subscriber("alice", groups=["sip:staff@example.com"], certificates=(b"c",))
        )
        await store.subscribers.remove("alice")
        await fresh(store, lambda: store.subscribers.psk_by_key_id(b"alice"), None)
        assert await store.subscribers.principal_of(uri("alice")) is None
        assert await store.subscribers.principal_by_certificate(hashlib.sha256(b"c").digest()) is None
        assert [group.members for group in await store.subscribers.groups()] == [()]
        await store.subscribers.add(subscriber("alice"))
        with pytest.raises(LocalError, match="no subscriber"):
            await store.subscribers.remove("bob")


@awaited
async def test_groups_hold_identities_and_wildcards(store_url: str) -> None:
    async with opened(store_url) as store:
        group = "sip:support@example.com"
        await store.subscribers.add_group(group, ["sip:Bob@EXAMPLE.com:5060", "sip:*@support.example.com"])
        assert list(await store.subscribers.groups_of("sip:Bob@example.com")) == [group]
        assert list(await store.subscribers.groups_of("sip:anyone@support.example.com")) == [group]
        assert list(await store.subscribers.groups_of("sip:anyone@example.com")) == []
        assert list(await store.subscribers.groups_of("sips:anyone@support.example.com")) == []
        await store.subscribers.remove_group(group)
        await fresh(store, lambda: store.subscribers.groups_of("sip:Bob@example.com"), ())


@awaited
async def test_export_and_import_give_the_same_subscribers(store_url: str, tmp_path: Path) -> None:
    people = [
        subscriber("alice", "tel:+46701", groups=["sip:staff@example.com"], certificates=(b"c",)),
        subscriber("bob", enabled=False),
        subscriber("kms-b", vouches_for=("sip:*@b.example",)),
    ]
    async with opened(store_url) as store:
        told: list[int] = []
        assert await store.subscribers.load(people, told.append) == 3
        assert told == [3]
        records = [record async for record in store.subscribers.records(with_keys=True)]
        without = [record async for record in store.subscribers.records()]
    lines = list(format_subscribers(records))
    assert all(psk.key is None for record in without for psk in record.psks)
    assert not any(key in line for line in format_subscribers(without) for key in ('"key":',))
    async with opened(f"sqlite:{tmp_path}/copy") as copy:
        await copy.subscribers.load(parse_subscribers(lines))
        assert [record async for record in copy.subscribers.records(with_keys=True)] == records
        keyless = SubscriberRecord(name="x", identities=(uri("x"),), psks=(PskRecord(key_id=b"x", key=None),))
        with pytest.raises(LocalError, match="without its key"):
            await copy.subscribers.add(keyless)


@awaited
async def test_secrets_at_rest_are_sealed_and_bound_to_their_row(tmp_path: Path) -> None:
    path = tmp_path / "kms.sqlite"
    async with opened(f"sqlite:{path}") as store:
        await store.subscribers.load([subscriber("alice"), subscriber("bob")])
        key = await store.ticket_keys.sealing_key(owner=None, now_s=0, until_s=10)
        assert key is not None
    octets = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (psk_of("alice"), psk_of("bob"), key.key, MASTER):
        assert secret.reveal() not in octets
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE psk SET sealed = (SELECT sealed FROM psk WHERE key_id = ?)", (b"alice",))
    connection.close()
    async with opened(f"sqlite:{path}") as store:
        assert await store.subscribers.psk_by_key_id(b"alice") is not None
        with pytest.raises(MasterKeyMismatch):
            await store.subscribers.psk_by_key_id(b"bob")


@awaited
async def test_another_master_key_is_noticed_when_the_store_is_opened(store_url: str) -> None:
    async with opened(store_url):
        pass
    with pytest.raises(MasterKeyMismatch):
        await open_store(store_url, Secret(bytes(32)))


@awaited
async def test_a_missing_store_is_an_error_that_says_how_to_make_one(store_url: str) -> None:
    with pytest.raises(LocalError, match="sipmikey kms init"):
        await open_store(store_url, MASTER)


@pytest.mark.parametrize("url", ["mysql://x", "sqlite:", "sqlite://host/path", "kms.sqlite"])
@awaited
async def test_a_wrong_url_is_a_local_error(url: str) -> None:
    with pytest.raises(LocalError):
        await open_store(url, MASTER, create=True)


@awaited
async def test_ticket_keys_rotate_when_due_and_workers_agree(store_url: str) -> None:
    async with (
        opened(store_url, rotate_tpk_every_s=100) as one,
        opened(store_url, rotate_tpk_every_s=100) as two,
    ):
        first = await one.ticket_keys.sealing_key(owner=None, now_s=1000, until_s=1050)
        assert first is not None
        same = await two.ticket_keys.sealing_key(owner=None, now_s=1001, until_s=9000)
        assert same is not None
        assert same.key_id == first.key_id
        made = await asyncio.gather(
            *(store.ticket_keys.sealing_key(owner=None, now_s=1100, until_s=1150) for store in (one, two) * 4)
        )
        assert len({key.key_id for key in made if key is not None}) == 1
        assert {first.key_id} != {key.key_id for key in made if key is not None}
        assert len(await one.ticket_keys.list()) == 2
        assert await one.ticket_keys.forget_expired(now_s=8999) == 0, "a ticket until 9000 was promised"
        assert (await two.ticket_keys.by_id(first.key_id)) is not None
        assert await one.ticket_keys.forget_expired(now_s=9000 + 3600) == 1


@awaited
async def test_a_shared_ticket_key_belongs_to_its_owner(store_url: str) -> None:
    from sipmikey.kms.tpk import generate

    async with opened(store_url) as store:
        await store.subscribers.add(subscriber("bob"))
        key = generate(os.urandom, now_s=1, owner="bob")
        await store.ticket_keys.share(key, now_s=1)
        found = await store.ticket_keys.sealing_key(owner="bob", now_s=2, until_s=3)
        assert found is not None
        assert (found.key, found.owner, found.owner_identities) == (key.key, "bob", (uri("bob"),))
        assert await store.ticket_keys.sealing_key(owner="alice", now_s=2, until_s=3) is None
        own = await store.ticket_keys.sealing_key(owner=None, now_s=2, until_s=3)
        assert own is not None
        assert own.owner is None
        with pytest.raises(LocalError, match="no subscriber"):
            await store.ticket_keys.share(generate(os.urandom, now_s=1, owner="nobody"), now_s=1)
        await store.ticket_keys.destroy(key.key_id)
        await fresh(store, lambda: store.ticket_keys.by_id(key.key_id), None)


def event(number: int, **fields: Any) -> AuditEvent:
    given = {"exchange": Exchange.REQUEST, "decision": Decision.GRANTED, "reason": "granted"} | fields
    return AuditEvent(time_ns=number * NS, **given)


@awaited
async def test_the_audit_log_is_queried_by_ticket_subscriber_and_time(store_url: str) -> None:
    async with opened(store_url) as store:
        events = [
            event(1, subscriber="alice", identity=uri("alice"), peers=(uri("bob"),), ticket="t1", rule="r"),
            event(2, subscriber="bob", identity=uri("bob"), peers=(uri("alice"),), ticket="t1"),
            event(3, subscriber="carol", identity=uri("carol"), peers=(uri("x"), uri("bob")), ticket="t2"),
            event(4, subscriber="mallory", decision=Decision.REFUSED, reason="not-authorized", detail="no"),
        ]
        for each in events:
            await store.audit.append(each)

        async def times(**conditions: Any) -> list[int]:
            return [found.time_ns // NS for found in await store.audit.query(AuditQuery(**conditions))]

        assert await store.audit.query(AuditQuery(oldest_first=True)) == events
        assert await times(ticket="t1") == [2, 1]
        assert await times(subscriber="alice") == [1]
        assert await times(subscriber=uri("bob")) == [3, 2, 1]
        assert await times(decision=Decision.REFUSED) == [4]
        assert await times(since_ns=2 * NS, until_ns=4 * NS) == [3, 2]
        assert await times(limit=1) == [4]


@awaited
async def test_audit_events_of_many_tasks_are_all_kept(store_url: str) -> None:
    async with opened(store_url) as store:
        await asyncio.gather(*(store.audit.append(event(number)) for number in range(300)))
        found = await store.audit.query(AuditQuery(limit=1000, oldest_first=True))
        assert [each.time_ns // NS for each in found] == list(range(300))


@awaited
async def test_the_audit_log_cannot_be_changed_or_shortened(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.audit.append(event(1))
        for statement in ("UPDATE audit SET reason = 'x'", "DELETE FROM audit"):
            with pytest.raises(Exception, match="append-only"):
                await store.audit._database.execute(statement)
        assert len(await store.audit.query(AuditQuery())) == 1


@awaited
async def test_policies_are_kept_and_the_newest_is_in_force(store_url: str) -> None:
    async with opened(store_url) as store:
        assert await store.policies.current() is None
        await store.policies.put("one", author="a", now_s=1)
        await store.policies.put("two", author="b", now_s=2)
        current = await store.policies.current()
        assert current is not None
        assert (current.text, current.author) == ("two", "b")
        assert [version.text for version in await store.policies.history()] == ["two", "one"]


@awaited
async def test_migrations_run_once_and_a_newer_schema_is_refused(store_url: str) -> None:
    async with opened(store_url) as store:
        assert await migrate(store.directory, "directory", DIRECTORY) == len(DIRECTORY)
        await store.directory.execute("UPDATE schema_version SET version = 99 WHERE part = 'directory'")
    with pytest.raises(LocalError, match="newer"):
        await open_store(store_url, MASTER)


@awaited
async def test_a_later_migration_is_applied_to_an_existing_store(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.subscribers.add(subscriber("alice"))
        later = (*DIRECTORY, ("ALTER TABLE subscriber ADD COLUMN note TEXT NOT NULL DEFAULT ''",))
        assert await migrate(store.directory, "directory", later) == len(later)
        assert (await store.directory.fetch("SELECT note FROM subscriber"))[0][0] == ""


@awaited
async def test_two_workers_see_each_others_changes(store_url: str) -> None:
    async with opened(store_url) as one, opened(store_url) as two:
        await one.subscribers.add(subscriber("alice"))
        await fresh(two, lambda: named(two), "alice")
        await one.subscribers.set_enabled("alice", False)
        await fresh(two, lambda: enabled(two), False)


async def named(store: Store) -> str | None:
    found = await store.subscribers.psk_by_key_id(b"alice")
    return None if found is None else found.principal.name


async def enabled(store: Store) -> bool:
    found = await store.subscribers.psk_by_key_id(b"alice")
    return found is not None and found.principal.enabled


@awaited
async def test_ping_and_maintenance(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.ping()
        await store.maintain()


@awaited
async def test_a_ping_reaches_the_disk_and_leaves_nothing(tmp_path: Path) -> None:
    """What changes nothing is not written, and does not see that the disk is full."""
    async with opened(f"sqlite:{tmp_path}/kms") as store:
        before = {path: path.stat().st_size for path in tmp_path.rglob("*wal")}
        await store.ping()
        written = {path: path.stat().st_size for path in before}
        assert any(written[path] > size for path, size in before.items())
        assert isinstance(store.replay, DatabaseReplayCache)
        assert await store.replay._database.fetch("SELECT count(*) FROM replay") == [(0,)]


@pytest.mark.parametrize("name", ["kms", "kms-audit"])
@awaited
async def test_a_disk_of_its_own_that_takes_nothing_is_seen(tmp_path: Path, name: str) -> None:
    """The file may be on a disk of its own: a link to it is followed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    async with opened(f"sqlite:{tmp_path}/{name.partition('-')[0]}"):
        pass
    for file in tmp_path.glob(f"{name}*"):
        if file.name.removeprefix(name) in ("", "-wal", "-shm"):
            file.rename(disk / file.name)
    (tmp_path / name).symlink_to(disk / name)
    async with opened(f"sqlite:{tmp_path}/kms") as store:
        await store.ping()
        assert sorted(disk.iterdir()) == sorted(disk.glob(f"{name}*")), "nothing is left behind"
        disk.rename(tmp_path / "gone")
        with pytest.raises(StoreUnavailable, match="cannot write"):
            await store.ping()
        (tmp_path / "gone").rename(disk)
        await store.ping()


@pytest.mark.interop
@awaited
async def test_a_ping_of_postgresql_writes_and_leaves_nothing(postgres: PostgresCluster) -> None:
    async with opened(postgres.database()) as store:
        last = "SELECT last_value, is_called FROM audit_id_seq"
        before = await store.directory.fetch(last)
        await store.ping()
        assert await store.directory.fetch(last) != before
        assert await store.directory.fetch("SELECT count(*) FROM audit") == [(0,)]
        assert await store.directory.fetch("SELECT count(*) FROM subscriber_group") == [(0,)]


@awaited
async def test_what_a_stepped_clock_would_forget_is_kept(tmp_path: Path) -> None:
    clock, passed = Clock(), [0.0]
    async with opened(f"sqlite:{tmp_path}/kms", clock) as store:
        store._monotonic_s = lambda: passed[0]
        await store.maintain()
        passed[0] += 2 * SETTLING_S
        clock.advance(2 * SETTLING_S)

        async def add() -> bool:
            return await store.replay.add(b"x" * 16, stamped_s=now, expires_s=now + 300, now_s=now)

        now = clock.seconds()
        assert await add()
        clock.advance(86_400)
        await store.maintain()
        clock.advance(-86_400)
        await store.maintain()
        assert not await add()
        passed[0] += 2 * SETTLING_S
        clock.advance(2 * SETTLING_S)
        await store.maintain()
        assert await add(), "a clock that has settled forgets again"


@awaited
async def test_a_sqlite_store_whose_disk_is_full_is_unavailable_and_recovers(tmp_path: Path) -> None:
    async with opened(f"sqlite:{tmp_path}/kms") as store:
        await store.subscribers.add(subscriber("alice"))
        await store.audit.ping()
        await store.audit._database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StoreUnavailable, match="full"):
            await fill(store)
        await store.audit._database.execute("PRAGMA max_page_count = 1000000")
        await store.audit.append(event(1001))


async def fill(store: Store) -> None:
    for number in range(1000):
        await store.audit.append(event(number, detail="x" * 1000))


@pytest.mark.interop
@awaited
async def test_postgresql_down_is_unavailable_and_comes_back_by_itself(
    own_postgres: PostgresCluster,
) -> None:
    async with opened(own_postgres.database()) as store:
        await store.subscribers.add(subscriber("alice"))
        own_postgres.stop(immediately=True)
        with pytest.raises(StoreUnavailable):
            await store.subscribers.psk_by_key_id(b"nobody")
        with pytest.raises(StoreUnavailable):
            await store.ping()
        own_postgres.start()
        await fresh(store, lambda: named(store), "alice")


@pytest.mark.interop
@awaited
async def test_opening_a_database_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await open_store(f"postgresql:///x?host={tmp_path}&user=kms", MASTER)


@pytest.mark.parametrize("version", range(1, len(DIRECTORY) + 1))
@awaited
async def test_a_store_of_an_earlier_release_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    path = tmp_path / "kms.sqlite"
    before = SqliteDatabase(path, create=True)
    await migrate(before, "directory", DIRECTORY[:version])
    vault = Vault(MASTER)
    await before.execute(
        "INSERT INTO subscriber (id, name, identities, enabled, created_s) VALUES (1, 'a', 'sip:a@b.c', 1, 0)"
    )
    await before.execute("INSERT INTO identity (uri, subscriber_id) VALUES ('sip:a@b.c', 1)")
    sealed = vault.seal(Secret(bytes(32)), "psk", b"key", "a")
    await before.execute(
        "INSERT INTO psk (key_id, subscriber_id, sealed, created_s) VALUES (?1, 1, ?2, 0)", b"key", sealed
    )
    await before.execute(
        "INSERT INTO tpk (key_id, sealed, created_s, resolves_until_s) VALUES (?1, ?2, 5, 9000000000)",
        b"tpk",
        vault.seal(Secret(bytes(32)), "tpk", b"tpk"),
    )
    await before.close()
    for _ in range(2):
        async with opened(f"sqlite:{path}", create=False) as store:
            found = await store.subscribers.psk_by_key_id(b"key")
            assert found is not None
            assert found.key.reveal() == bytes(32)
            assert [key.key_id for key in await store.ticket_keys.list()] == [b"tpk"]
            assert await store.devices.devices() == []
            await store.ping()
