"""The master key is changed under a store that is used: nothing is lost, whenever it breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from sipmikey.kms.stores import schema
from sipmikey.kms.stores.master_key_change import SEALED
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.kms.stores.vault import MasterKeyMismatch
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

OLD, NEW, OTHER = (Secret(bytes([number]) * 32) for number in (1, 2, 3))
USERS = 7


async def opened(path: Path, key: Secret) -> Store:
    return await open_store(f"sqlite:{path}/kms.sqlite", key, create=True)


async def filled(path: Path) -> None:
    store = await opened(path, OLD)
    records = [
        SubscriberRecord(
            name=f"u{number}",
            identities=(f"sip:u{number}@example.com",),
            psks=(PskRecord(key_id=f"u{number}".encode(), key=Secret(bytes([number]) * 32)),),
        )
        for number in range(USERS)
    ]
    await store.subscribers.load(records)
    await store.ticket_keys.rotate(now_s=1000)
    await store.console_sessions.put("token", "session", {"name": "ann"}, now_s=1000)
    await store.close()


async def whole(store: Store) -> bool:
    """Return whether every key opens and is the right one."""
    for number in range(USERS):
        found = await store.subscribers.psk_by_key_id(f"u{number}".encode())
        if found is None or found.key.reveal() != bytes([number]) * 32:
            return False
    return len(await store.ticket_keys.list()) == 1


def test_a_change_from_beginning_to_end(tmp_path: Path) -> None:
    async def body() -> None:
        await filled(tmp_path)
        serving = await opened(tmp_path, OLD)
        command = await opened(tmp_path, OLD)
        await command.master_key.begin(NEW, now_s=1)
        await serving.master_key.refresh()
        # What is sealed from now on is under the new key, and what serves opens both.
        await serving.subscribers.add_psk("u0", PskRecord(key_id=b"late", key=Secret(bytes(32))))
        assert await whole(serving)
        count = await command.master_key.seal_again(now_s=2)
        assert count == USERS + 1 + 1 + 1, "keys, ticket key, session, mark; the late key was new already"
        assert await whole(serving)
        assert await command.master_key.seal_again(now_s=3) == 0
        with pytest.raises(LocalError, match="still given the old key"):
            await command.master_key.finish()
        # A machine restarted with the new key beside one that has the old one.
        restarted = await opened(tmp_path, NEW)
        assert await whole(restarted)
        assert await whole(await opened(tmp_path, OLD))
        await restarted.master_key.finish()
        assert await whole(restarted)
        with pytest.raises(MasterKeyMismatch):
            await opened(tmp_path, OLD)
        assert await restarted.console_sessions.get("token", "session") is not None
        for store in (serving, command, restarted):
            await store.close()

    asyncio.run(body())


@pytest.mark.parametrize("after", range(12))
def test_a_change_that_breaks_off_anywhere_goes_on(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipmikey.kms.stores.master_key_change.BATCH", 1)

    async def body() -> None:
        await filled(tmp_path)
        command = await opened(tmp_path, OLD)
        await command.master_key.begin(NEW, now_s=1)
        seal, left = command.master_key._vault.seal, [after]

        def breaking(secret: Secret, *identity: bytes | str | int) -> bytes:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return seal(secret, *identity)

        monkeypatch.setattr(command.master_key._vault, "seal", breaking)
        with contextlib.suppress(KeyboardInterrupt):
            await command.master_key.seal_again(now_s=2)
        await command.close()
        for key in (OLD, NEW):
            store = await opened(tmp_path, key)
            assert await whole(store)
            await store.close()
        with pytest.raises(MasterKeyMismatch):
            await opened(tmp_path, OTHER)
        again = await opened(tmp_path, NEW)
        await again.master_key.begin(NEW, now_s=3)
        await again.master_key.seal_again(now_s=4)
        await again.master_key.finish()
        assert await whole(again)
        await again.close()

    asyncio.run(body())


def test_two_changes_at_once_are_refused(tmp_path: Path) -> None:
    async def body() -> None:
        await filled(tmp_path)
        store = await opened(tmp_path, OLD)
        with pytest.raises(LocalError, match="already"):
            await store.master_key.begin(OLD, now_s=1)
        with pytest.raises(LocalError, match="no change"):
            await store.master_key.finish()
        await store.master_key.begin(NEW, now_s=1)
        with pytest.raises(LocalError, match="another key"):
            await store.master_key.begin(OTHER, now_s=1)
        restarted = await opened(tmp_path, NEW)
        with pytest.raises(LocalError, match="not everything"):
            await restarted.master_key.finish()
        await store.close()
        await restarted.close()

    asyncio.run(body())


def test_every_sealed_column_of_the_store_is_known_here(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path))
    with sqlite3.connect(tmp_path / "kms.sqlite") as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            (table, row[1])
            for table in tables
            for row in database.execute(f"PRAGMA table_info({table})")
            if row[2] == "BLOB"
        }
    plain = {
        ("psk", "key_id"), ("tpk", "key_id"), ("certificate", "fingerprint"), ("certificate", "der"),
        ("invitation", "request"), ("invitation", "answer"), ("console_session", "token"),
        ("master_key_change", "old_key"), ("master_key_change", "new_key"), ("access_token", "digest"),
    }  # fmt: skip
    assert columns - plain == {(sealed.table, sealed.column) for sealed in SEALED}
    assert SEALED[-1].table == "master_key_check"
    assert schema.MASTER_KEY
