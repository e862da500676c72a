"""The replay cache in a database, for the workers of one machine or of one PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from sipmikey.kms.stores.batch import Batch
from sipmikey.kms.stores.database import Database

_ADD_SQLITE = """INSERT INTO replay (expires_s, digest)
    SELECT CAST(?1 AS INTEGER), CAST(?2 AS BLOB)
    WHERE EXISTS (SELECT 1 FROM replay_floor WHERE one = 1 AND stamped_s <= ?3 AND boot = ?4)
    ON CONFLICT DO NOTHING"""

_ADD_POSTGRESQL = """INSERT INTO replay (expires_s, digest)
    SELECT new.expires_s, new.digest
    FROM unnest(?1::bigint[], ?2::bytea[], ?3::bigint[]) AS new(expires_s, digest, stamped_s)
    WHERE EXISTS (
        SELECT 1 FROM replay_floor WHERE one = 1 AND replay_floor.stamped_s <= new.stamped_s AND boot = ?4
    )
    ORDER BY new.digest
    ON CONFLICT DO NOTHING RETURNING digest"""
"""One statement for many, in the order of the digests: two workers that add the same ones cannot deadlock."""

_Entry = tuple[int, bytes, int]
"""``expires_s``, ``digest``, ``stamped_s``."""


class DatabaseReplayCache:
    """Satisfies `ReplayCache`.

    Its tables are not forced to disk. *boot* changes whenever writes may have been lost (the machine's boot
    for SQLite; PostgreSQL empties the tables itself after a crash). Then, and when the mark is missing, only
    what is stamped later than that is accepted.
    """

    def __init__(self, database: Database, boot: str) -> None:
        self._database = database
        self._boot = boot
        insert = {"sqlite": self._insert_each, "postgresql": self._insert_many}[database.dialect]
        self._batch = Batch(insert)

    async def begin(self, *, floor_s: int) -> None:
        """Accept what is stamped at *floor_s* or later, if there is no valid mark yet."""
        await self._database.execute(
            """INSERT INTO replay_floor (one, stamped_s, boot) VALUES (1, ?1, ?2)
            ON CONFLICT (one) DO UPDATE SET stamped_s = excluded.stamped_s, boot = excluded.boot
            WHERE replay_floor.boot <> excluded.boot""",
            floor_s,
            self._boot,
        )

    async def add(self, digest: bytes, *, stamped_s: int, expires_s: int, now_s: int) -> bool:
        """Remember *digest*; return False if it was there, or may have been before memory was lost."""
        if await self._batch.put((expires_s, digest, stamped_s)):
            return True
        await self.begin(floor_s=now_s)
        return False

    async def _insert_each(self, entries: Sequence[_Entry]) -> Sequence[bool]:
        """Add *entries* in one transaction; return for each whether it is new and late enough."""
        if len(entries) == 1:
            return [await self._database.execute(_ADD_SQLITE, *entries[0], self._boot) == 1]
        async with self._database.transaction() as transaction:
            return [await transaction.execute(_ADD_SQLITE, *entry, self._boot) == 1 for entry in entries]

    async def _insert_many(self, entries: Sequence[_Entry]) -> Sequence[bool]:
        """Add *entries* by one statement; return for each whether it is new and late enough."""
        expires_s, digests, stamped_s = (list(column) for column in zip(*entries, strict=True))
        rows = await self._database.fetch(_ADD_POSTGRESQL, expires_s, digests, stamped_s, self._boot)
        added = {bytes(row[0]) for row in rows}
        results: list[bool] = []
        for _, digest, _ in entries:
            results.append(digest in added)
            added.discard(digest)  # a second one in the same batch is a replay
        return results

    async def forget_expired(self, *, now_s: int) -> int:
        """Delete what has expired, a second's worth at a time so that others get their turn."""
        count = 0
        while True:
            lowest = (await self._database.fetch("SELECT min(expires_s) FROM replay"))[0][0]
            if lowest is None or lowest >= now_s:
                return count
            count += await self._database.execute("DELETE FROM replay WHERE expires_s <= ?1", lowest)
            await asyncio.sleep(0)

    async def ping(self) -> None:
        """Check that the cache can be written: with an entry that has expired, and is taken away again.

        A write that changes nothing reaches no disk, and so does not see that it is full.
        """
        digest = secrets.token_bytes(16)
        await self._database.execute("INSERT INTO replay (expires_s, digest) VALUES (0, ?1)", digest)
        await self._database.execute("DELETE FROM replay WHERE expires_s = 0 AND digest = ?1", digest)

    async def close(self) -> None:
        await self._batch.finish()
        await self._database.close()


def system_boot(read: Callable[[], str]) -> str:
    """Return an identifier of this boot of the machine, "" where the system has none."""
    try:
        return read().strip()
    except OSError:
        return ""
