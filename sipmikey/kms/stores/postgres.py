"""PostgreSQL through asyncpg's pool."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.database import Clash, Database, Row, check_texts, checked_rows

STATEMENT_TIMEOUT_S = 3.0
CACHE_S = 1.0
"""How long cached rows are trusted: a change made elsewhere takes effect within this time."""

_DOWN = (OSError, TimeoutError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError)


class _Verbs:
    """The verbs on whatever executes: a pool or one connection."""

    dialect = "postgresql"

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        check_texts(args)
        with _translated():
            rows: list[Row] = await self._executor.fetch(_numbered(sql), *args)
            return rows

    async def execute(self, sql: str, *args: object) -> int:
        check_texts(args)
        with _translated():
            status: str = await self._executor.execute(_numbered(sql), *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with _translated():
            await self._executor.executemany(_numbered(sql), checked_rows(rows))

    async def changes(self) -> object:
        return int(time.monotonic() / CACHE_S)

    async def probe(self, insert: str) -> None:
        """Add the row in a transaction that is undone: it may need a page of its tablespace."""
        with _translated():
            connection = self._executor
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(insert)
            finally:
                await transaction.rollback()

    async def close(self) -> None:
        return None


class _Transaction(_Verbs):
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Database]:
        with _translated():
            async with self._executor.transaction():
                yield self


class PostgresDatabase(_Verbs):
    """A pool of connections to a PostgreSQL database; it reconnects by itself."""

    @classmethod
    async def connect(cls, url: str, *, connections: int, durable: bool) -> PostgresDatabase:
        """Open the pool. Unless *durable*, a crash of the server may lose what was written last."""
        with _translated():
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections,
                command_timeout=STATEMENT_TIMEOUT_S,
                timeout=STATEMENT_TIMEOUT_S,
                server_settings={
                    "synchronous_commit": "on" if durable else "off",
                    "application_name": "sipmikey-kms",
                },
            )
        return cls(pool)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Database]:
        with _translated():
            async with (
                self._executor.acquire(timeout=STATEMENT_TIMEOUT_S) as connection,
                connection.transaction(),
            ):
                yield _Transaction(connection)

    async def probe(self, insert: str) -> None:
        with _translated():
            async with self._executor.acquire(timeout=STATEMENT_TIMEOUT_S) as connection:
                await _Transaction(connection).probe(insert)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Load *rows* with COPY."""
        with _translated():
            await self._executor.copy_records_to_table(
                table, columns=list(columns), records=checked_rows(rows)
            )

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._executor.close(), STATEMENT_TIMEOUT_S)
        except TimeoutError:
            self._executor.terminate()


@lru_cache(maxsize=512)
def _numbered(sql: str) -> str:
    return re.sub(r"\?(\d+)", r"$\1", sql)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise Clash from error
    except asyncpg.RaiseError:  # of a trigger
        raise
    except _DOWN as error:
        raise StoreUnavailable(f"PostgreSQL: {type(error).__name__}: {error}") from error
