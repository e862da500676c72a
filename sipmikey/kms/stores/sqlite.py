"""SQLite: one file, no server. Its verbs never wait for the network, so any driver can run them."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.database import Clash, Database, Row, check_texts, checked_rows
from sipmikey.mikey.errors import SipmikeyError

BUSY_TIMEOUT_S = 2.0
"""How long a writer waits for another process's transaction."""

VERSION_AGE_S = 0.001
"""How late a change made by another process may be noticed: the lookups of one message share a reading."""

PROBE_BYTES = 8192
"""Two pages: SQLite adds no less to its write-ahead log for one row."""


class SqliteDatabase:
    """A SQLite file in WAL mode, used by one thread.

    *durable* False leaves writes to the operating system: they survive the death of the process but the last
    of them not a power failure. True asks for the disk at each checkpoint, which costs little in WAL mode and
    has the same property for the last transactions, but never leaves a damaged file.
    """

    dialect = "sqlite"

    def __init__(self, path: Path, *, create: bool, durable: bool = True) -> None:
        self.path = path
        mode = "rwc" if create else "rw"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with _translated(path):
            self._connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, cached_statements=256, timeout=BUSY_TIMEOUT_S,
                check_same_thread=False,
            )  # fmt: skip
            if create:
                path.chmod(0o600)
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={'NORMAL' if durable else 'OFF'}",
                "foreign_keys=ON",
                "wal_autocheckpoint=4096",
                "cache_size=-8192",  # reads go through the mapping; this holds what is being written
                "mmap_size=1073741824",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
        self._cursor = self._connection.cursor()
        self._own_changes = 0
        self._version = 0
        self._version_fresh_until = 0.0

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        check_texts(args)
        try:
            return self._cursor.execute(sql, args).fetchall()
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error

    async def execute(self, sql: str, *args: object) -> int:
        check_texts(args)
        try:
            changed = self._cursor.execute(sql, args).rowcount
            self._own_changes += changed != 0  # of a statement that is not about rows it is -1
            return changed
        except sqlite3.DatabaseError as error:
            raise _translation(self.path, error) from error

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._own_changes += 1
        with _translated(self.path):
            self._cursor.executemany(sql, checked_rows(rows))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Database]:
        with _translated(self.path):
            if self._connection.in_transaction:
                yield self
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled back already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    async def changes(self) -> object:
        """Return SQLite's data version (other connections' commits) with the count of our own writes.

        The version is read again after `VERSION_AGE_S`.
        """
        now = time.monotonic()
        if now < self._version_fresh_until:
            return self._version, self._own_changes
        try:
            self._version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
            self._version_fresh_until = now + VERSION_AGE_S
            return self._version, self._own_changes
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error

    async def probe(self, insert: str) -> None:
        """Write a file beside the database: a write within would wait for other processes."""
        del insert
        try:
            with tempfile.TemporaryFile(dir=self.path.resolve().parent, buffering=0) as file:
                file.write(bytes(PROBE_BYTES))
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: cannot write beside it: {error.strerror}") from error

    async def close(self) -> None:
        self._connection.close()

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy to *path* while others go on reading and writing."""
        with _translated(path):
            target = sqlite3.connect(path)
            try:
                self._connection.backup(target)
            finally:
                target.close()
            path.chmod(0o600)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translation(path, error) from error


def _translation(path: Path, error: sqlite3.DatabaseError) -> SipmikeyError | sqlite3.DatabaseError:
    if not isinstance(error, sqlite3.IntegrityError):
        return StoreUnavailable(f"{path}: {error}")
    return error if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_TRIGGER else Clash()
