"""Ticket Protection Keys in a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sipmikey.kms.stores.database import Database, Row
from sipmikey.kms.stores.vault import Vault
from sipmikey.kms.tpk import TpkRecord, due, generate
from sipmikey.mikey.errors import LocalError

HORIZON_STEP_S = 3600
"""The end of the latest ticket is rounded up to this: written once in a while and not for each ticket."""


class TpkStore:
    """Keeps TPKs, makes and rotates those of the KMS. Satisfies `TicketKeys`.

    *rotate_every_s* None rotates by command only.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        random: Callable[[int], bytes],
        *,
        rotate_every_s: int | None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._random = random
        self._rotate_every_s = rotate_every_s
        self._by_id: dict[bytes, TpkRecord] = {}
        self._sealing: dict[str | None, TpkRecord] = {}
        self._cached_at: object = None

    # The service's lookups.

    async def sealing_key(self, *, owner: str | None, now_s: int, until_s: int) -> TpkRecord | None:
        """Return the current key of *owner*, making or rotating the KMS's own where it is due.

        The promise that it resolves until *until_s* is kept in the database before it is returned.
        """
        await self._refresh()
        key = self._sealing.get(owner)
        while True:
            if key is None or not key.seals(now_s) or (owner is None and self._due(key, now_s)):
                key = await self._current(owner, now_s)
                if key is None:
                    return None
            if until_s > key.resolves_until_s:
                key = await self._promise(key, until_s)
            if key is not None:
                self._sealing[owner] = key
                return key

    async def by_id(self, key_id: bytes) -> TpkRecord | None:
        """Return the key that IDRpsk in the Ticket Data names, or None."""
        await self._refresh()
        key = self._by_id.get(key_id)
        if key is None:
            rows = await self._database.fetch(f"{_SELECT} WHERE t.key_id = ?1", key_id)
            if not rows:
                return None
            key = self._by_id[key_id] = self._key(rows[0])
        return key

    # The administrator's side.

    async def list(self) -> Sequence[TpkRecord]:
        """Return all keys, the newest first."""
        return [
            self._key(row)
            for row in await self._database.fetch(f"{_SELECT} ORDER BY t.created_s DESC, t.key_id")
        ]

    async def current(self, *, now_s: int) -> TpkRecord | None:
        """Return the KMS's own key that seals now, None before the first ticket. It is not made here."""
        key = await self._newest(self._database, None)
        return key if key is not None and key.seals(now_s) else None

    async def rotate(self, *, now_s: int) -> TpkRecord:
        """Make a new key of the KMS; those before it seal no more and resolve what they sealed."""
        async with self._database.transaction() as transaction:
            await _lock(transaction)
            return await self._replace(transaction, None, generate(self._random, now_s=now_s), now_s)

    async def share(self, key: TpkRecord, *, now_s: int) -> None:
        """Keep a key shared with the subscriber ``key.owner``, in place of an earlier one (modes 2 and 3)."""
        if key.owner is None:
            raise LocalError("a shared TPK has an owner")
        async with self._database.transaction() as transaction:
            await _lock(transaction)
            rows = await transaction.fetch("SELECT id FROM subscriber WHERE name = ?1", key.owner)
            if not rows:
                raise LocalError(f"there is no subscriber {key.owner!r}")
            await self._replace(transaction, rows[0][0], key, now_s)

    async def destroy(self, key_id: bytes) -> None:
        """Destroy a key now; its tickets resolve no more. `LocalError` if there is none."""
        if not await self._database.execute("DELETE FROM tpk WHERE key_id = ?1", key_id):
            raise LocalError(f"no ticket protection key has the identifier {key_id.hex()}")

    async def forget_expired(self, *, now_s: int) -> int:
        """Destroy keys that seal no more and whose last ticket has expired; return how many."""
        return await self._database.execute(
            "DELETE FROM tpk WHERE seals_until_s <= ?1 AND resolves_until_s <= ?1",
            now_s,
        )

    # Inside.

    def _due(self, key: TpkRecord | None, now_s: int) -> bool:
        return due(key, now_s=now_s, rotate_every_s=self._rotate_every_s)

    async def _refresh(self) -> None:
        token = await self._database.changes()
        if token != self._cached_at:
            self._by_id.clear()
            self._sealing.clear()
            self._cached_at = token

    async def _newest(self, database: Database, owner: str | None) -> TpkRecord | None:
        """Return the key of *owner* that nothing has replaced."""
        where = "t.owner_id IS NULL" if owner is None else "s.name = ?1"
        query = f"{_SELECT} WHERE {where} AND t.seals_until_s IS NULL ORDER BY t.created_s DESC"
        args = () if owner is None else (owner,)
        rows = await database.fetch(query, *args)
        return self._key(rows[0]) if rows else None

    async def _current(self, owner: str | None, now_s: int) -> TpkRecord | None:
        key = await self._newest(self._database, owner)
        if owner is not None or not self._due(key, now_s):
            return key
        async with self._database.transaction() as transaction:
            await _lock(transaction)
            key = await self._newest(transaction, None)
            if not self._due(key, now_s):
                return key
            return await self._replace(transaction, None, generate(self._random, now_s=now_s), now_s)

    async def _replace(
        self, transaction: Database, owner_id: int | None, key: TpkRecord, now_s: int
    ) -> TpkRecord:
        same = "owner_id IS NULL" if owner_id is None else "owner_id = ?2"
        args = (now_s,) if owner_id is None else (now_s, owner_id)
        await transaction.execute(
            f"UPDATE tpk SET seals_until_s = ?1 WHERE seals_until_s IS NULL AND {same}", *args
        )
        await transaction.execute(
            """INSERT INTO tpk (key_id, owner_id, sealed, created_s, seals_until_s, resolves_until_s)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)""",
            key.key_id,
            owner_id,
            self._vault.seal(key.key, "tpk", key.key_id),
            key.created_s,
            key.seals_until_s,
            key.resolves_until_s,
        )
        return key

    async def _promise(self, key: TpkRecord, until_s: int) -> TpkRecord | None:
        """Write down that *key* must resolve until *until_s*; return the new record, None if destroyed."""
        horizon = (until_s // HORIZON_STEP_S + 1) * HORIZON_STEP_S
        await self._database.execute(
            "UPDATE tpk SET resolves_until_s = ?1 WHERE key_id = ?2 AND resolves_until_s < ?1",
            horizon,
            key.key_id,
        )
        rows = await self._database.fetch(f"{_SELECT} WHERE t.key_id = ?1", key.key_id)
        return self._key(rows[0]) if rows else None

    def _key(self, row: Row) -> TpkRecord:
        key_id = bytes(row[0])
        return TpkRecord(
            key_id=key_id,
            key=self._vault.open(bytes(row[1]), "tpk", key_id),
            owner=row[2],
            created_s=row[3],
            seals_until_s=row[4],
            resolves_until_s=row[5],
            owner_identities=tuple((row[6] or "").split()),
        )


_SELECT = """SELECT t.key_id, t.sealed, s.name, t.created_s, t.seals_until_s, t.resolves_until_s, s.identities
    FROM tpk t LEFT JOIN subscriber s ON s.id = t.owner_id"""


async def _lock(transaction: Database) -> None:
    """Let no two workers rotate at once. SQLite's transaction is exclusive already."""
    if transaction.dialect == "postgresql":
        await transaction.execute("LOCK TABLE tpk IN EXCLUSIVE MODE")
