"""The replay cache in a database, for the workers of one machine or of one PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sipmikey.kms.stores.database import Database

_ADD = """INSERT INTO replay (expires_s, digest)
    SELECT CAST(?1 AS {int}), CAST(?2 AS {bytes})
    WHERE EXISTS (SELECT 1 FROM replay_floor WHERE one = 1 AND stamped_s <= ?3 AND boot = ?4)
    ON CONFLICT DO NOTHING"""


class DatabaseReplayCache:
    """Satisfies `ReplayCache`.

    Its tables are not forced to disk. *boot* changes whenever writes may have been lost (the machine's boot
    for SQLite; PostgreSQL empties the tables itself after a crash). Then, and when the mark is missing, only
    what is stamped later than that is accepted.
    """

    def __init__(self, database: Database, boot: str) -> None:
        self._database = database
        self._boot = boot
        kinds = {"sqlite": ("INTEGER", "BLOB"), "postgresql": ("BIGINT", "BYTEA")}[database.dialect]
        self._add = _ADD.format(int=kinds[0], bytes=kinds[1])

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
        if await self._database.execute(self._add, expires_s, digest, stamped_s, self._boot):
            return True
        await self.begin(floor_s=now_s)
        return False

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
        """Check that the cache can be written."""
        await self._database.execute("UPDATE replay_floor SET boot = boot WHERE one = 0")

    async def close(self) -> None:
        await self._database.close()


def system_boot(read: Callable[[], str]) -> str:
    """Return an identifier of this boot of the machine, "" where the system has none."""
    try:
        return read().strip()
    except OSError:
        return ""
