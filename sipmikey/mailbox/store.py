"""What the mailbox keeps, in one SQLite file: boxes, deposits, and digests of what was left before.

It holds no key: of a token only the SHA-256 digest, of a message only the deposit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipmikey.guard import create_private
from sipmikey.mailbox.refusals import StoreFailed
from sipmikey.mikey.errors import LocalError

BUSY_TIMEOUT_S = 2.0
_VERSION = 1

_SCHEMA = """
CREATE TABLE boxes (box TEXT PRIMARY KEY, token BLOB UNIQUE, made REAL NOT NULL) STRICT;
CREATE TABLE messages (
    name TEXT PRIMARY KEY,
    box TEXT NOT NULL REFERENCES boxes (box) ON DELETE CASCADE,
    sender TEXT NOT NULL, source TEXT NOT NULL,
    deposited REAL NOT NULL, expires REAL NOT NULL, valid_until REAL NOT NULL,
    duration REAL NOT NULL, size INTEGER NOT NULL, heard INTEGER NOT NULL, octets BLOB NOT NULL
) STRICT;
CREATE INDEX messages_of_box ON messages (box, deposited);
CREATE INDEX messages_of_source ON messages (source);
CREATE INDEX messages_by_end ON messages (expires);
CREATE TABLE left_before (
    box TEXT NOT NULL REFERENCES boxes (box) ON DELETE CASCADE,
    digest BLOB NOT NULL, until REAL NOT NULL, PRIMARY KEY (box, digest)
) STRICT;
"""

_LISTED = "name, sender, deposited, expires, valid_until, duration, size, heard"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """A message in a box. ``sender``: whom it says it is from; no KMS vouches for that before it is opened.

    ``deposited``, ``expires`` (when the mailbox deletes it) and ``valid_until`` (when its ticket ends, 0 for
    never) are Unix seconds. ``size``: octets of the deposit.
    """

    name: str
    sender: str
    deposited: float
    expires: float
    valid_until: float
    duration_s: float
    size: int
    heard: bool


@dataclass(frozen=True, slots=True)
class BoxUse:
    """What is in a box: messages not heard, messages heard, and octets."""

    new: int
    old: int
    octets: int


class MailboxStore:
    """The file at *path*, used by one thread. Raises `StoreFailed` where SQLite fails, at any method.

    *create* makes the file, for its owner only.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if create:
            if path.exists():
                raise LocalError(f"{path} exists already and is left alone")
            create_private(path)
        elif not path.is_file():
            raise LocalError(f"there is no mailbox at {path}: make one with `sipmikey mailbox init`")
        with self._translated():
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            if create:
                self._connection.executescript(f"{_SCHEMA} PRAGMA user_version={_VERSION};")
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found != _VERSION:
            raise StoreFailed(f"{path}: version {found} of the store, not {_VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreFailed(f"{self.path}: {error}") from None

    def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        with self._translated():
            return self._connection.execute(sql, values).fetchall()

    def _forget_log(self) -> None:
        """Empty the write-ahead log, which holds what was deleted. A reader may keep it until next time."""
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def _change(self, sql: str, *values: object) -> int:
        with self._translated():
            return self._connection.execute(sql, values).rowcount

    # Boxes

    def add_box(self, box: str, token_digest: bytes | None, now: float) -> bool:
        """Make a box; with its token replaced where there is one already. Return whether it is new."""
        new = not self._rows("SELECT 1 FROM boxes WHERE box = ?", box)
        self._change(
            "INSERT INTO boxes (box, token, made) VALUES (?, ?, ?)"
            " ON CONFLICT (box) DO UPDATE SET token = excluded.token",
            box, token_digest, now,
        )  # fmt: skip
        return new

    def remove_box(self, box: str) -> bool:
        """Delete a box and what is in it. Return whether there was one."""
        removed = self._change("DELETE FROM boxes WHERE box = ?", box) > 0
        self._forget_log()
        return removed

    def boxes(self) -> tuple[str, ...]:
        """Return the owners of all boxes, in order."""
        return tuple(row[0] for row in self._rows("SELECT box FROM boxes ORDER BY box"))

    def token_digest(self, box: str) -> bytes | None:
        """Return the digest of the token that opens a box; None where there is no box, or none does."""
        rows = self._rows("SELECT token FROM boxes WHERE box = ?", box)
        return rows[0][0] if rows else None

    def has_box(self, box: str) -> bool:
        """Return whether there is such a box."""
        return bool(self._rows("SELECT 1 FROM boxes WHERE box = ?", box))

    def box_of_token(self, token_digest: bytes) -> str | None:
        """Return whose box a token opens."""
        rows = self._rows("SELECT box FROM boxes WHERE token = ?", token_digest)
        return rows[0][0] if rows else None

    # Messages

    def use(self, box: str) -> BoxUse:
        """Return what is in a box."""
        new, old, octets = self._rows(
            "SELECT count(*) FILTER (WHERE NOT heard), count(*) FILTER (WHERE heard), coalesce(sum(size), 0)"
            " FROM messages WHERE box = ?",
            box,
        )[0]
        return BoxUse(new, old, octets)

    def kept_of_source(self, source: str) -> int:
        """Return how many messages of a source are kept, in all boxes."""
        return int(self._rows("SELECT count(*) FROM messages WHERE source = ?", source)[0][0])

    def was_left(self, box: str, digest: bytes) -> bool:
        """Return whether the deposit of that digest was left in the box before."""
        return bool(self._rows("SELECT 1 FROM left_before WHERE box = ? AND digest = ?", box, digest))

    def add(self, box: str, message: KeptMessage, octets: bytes, *, source: str, digest: bytes) -> None:
        """Keep a deposit, and its digest for as long."""
        with self._translated(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "INSERT INTO left_before (box, digest, until) VALUES (?, ?, ?)",
                (box, digest, max(message.expires, message.valid_until)),
            )
            self._connection.execute(
                f"INSERT INTO messages (box, source, octets, {_LISTED})"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    box, source, octets, message.name, message.sender, message.deposited, message.expires,
                    message.valid_until, message.duration_s, message.size, int(message.heard),
                ),
            )  # fmt: skip

    def messages(self, box: str) -> tuple[KeptMessage, ...]:
        """Return the messages of a box, the oldest first."""
        rows = self._rows(f"SELECT {_LISTED} FROM messages WHERE box = ? ORDER BY deposited, name", box)
        return tuple(_message(row) for row in rows)

    def octets(self, box: str, name: str) -> bytes | None:
        """Return the deposit of a message in that box, None where there is none."""
        rows = self._rows("SELECT octets FROM messages WHERE box = ? AND name = ?", box, name)
        return rows[0][0] if rows else None

    def mark_heard(self, box: str, name: str) -> bool:
        """Note that a message was heard. Return whether the box has it."""
        return self._change("UPDATE messages SET heard = 1 WHERE box = ? AND name = ?", box, name) > 0

    def delete(self, box: str, name: str) -> bool:
        """Delete a message; its octets are overwritten. Return whether the box had it."""
        had = self._change("DELETE FROM messages WHERE box = ? AND name = ?", box, name) > 0
        if had:
            self._forget_log()
        return had

    def prune(self, now: float) -> tuple[str, ...]:
        """Delete what has expired; return the boxes that lost a message."""
        rows = self._rows("SELECT DISTINCT box FROM messages WHERE expires <= ? ORDER BY box", now)
        self._change("DELETE FROM messages WHERE expires <= ?", now)
        self._change("DELETE FROM left_before WHERE until <= ?", now)
        if rows:
            self._forget_log()
        return tuple(row[0] for row in rows)


def _message(row: Sequence[Any]) -> KeptMessage:
    name, sender, deposited, expires, valid_until, duration, size, heard = row
    return KeptMessage(
        name=name, sender=sender, deposited=deposited, expires=expires, valid_until=valid_until,
        duration_s=duration, size=size, heard=bool(heard),
    )  # fmt: skip
