"""Tickets in a file, across calls and restarts. Each is sealed; the key is not in the file.

A file serves several identities and processes. A ticket is dropped unread when the agent's KMS, key,
certificate or ticket keys have changed since.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.documents import (
    grant_document,
    grant_from,
    resolved_document,
    resolved_from,
)
from sipmikey.agent.tickets.shelf import MOST
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.sealed.rows import Seal, open_database
from sipmikey.ticket.identity import canonical

_log = logging.getLogger("sipmikey.agent.tickets.file")

_SCHEMA = """
create table if not exists granted (name blob primary key, sealed blob not null);
create table if not exists resolved (name blob primary key, sealed blob not null);
"""

T = TypeVar("T")


class TicketFile:
    """The tickets of *identity* in the file at *path*, sealed with *key* (32 octets) by AES-256-GCM.

    ``granted``: tickets for outgoing calls, by the URI called (canonical). ``resolved``: tickets of callers
    that were resolved here, by their names. *keys*: the settings that the tickets depend on. Its methods
    raise ``LocalError`` for a file of another kind.
    """

    def __init__(self, path: Path, key: Secret, *, identity: str, keys: KeyManagement) -> None:
        self.path = path
        seal = Seal(key, path)
        owner, scope = canonical(identity), _scope(seal, keys)
        self.granted = SealedShelf(path, seal, "granted", owner, scope, grant_document, grant_from)
        self.resolved = SealedShelf(path, seal, "resolved", owner, scope, resolved_document, resolved_from)


def _scope(seal: Seal, keys: KeyManagement) -> str:
    """Return a digest of the settings that the tickets depend on."""
    credential = ""
    if keys.psk is not None:
        credential = keys.psk.reveal().hex()
    elif keys.certificate is not None:
        credential = keys.certificate.certificates[0].public_bytes(Encoding.DER).hex()
    shared = sorted(f"{key.owner} {key.tpk.key.reveal().hex()}" for key in keys.ticket_keys)
    return seal.name("scope", keys.kms, credential, *shared).hex()


class SealedShelf(Generic[T]):
    """Implements ``Shelf`` in one table of the file; from any thread, and beside other processes."""

    def __init__(
        self,
        path: Path,
        seal: Seal,
        table: str,
        owner: str,
        scope: str,
        encode: Callable[[T], dict[str, Any]],
        decode: Callable[[dict[str, Any]], T],
    ) -> None:
        self._path = path
        self._seal = seal
        self._table = table
        self._owner = owner
        self._scope = scope
        self._encode = encode
        self._decode = decode

    def get(self, name: str) -> T | None:
        """Return what is kept as *name*; drop what no longer opens or fits."""
        row = self._name(name)
        with self._opened() as database:
            found = database.execute(f"select sealed from {self._table} where name = ?", (row,)).fetchone()
        if found is None:
            return None
        if (kept := self._read(row, found[0])) is None:
            self.drop(name)
        return kept

    def put(self, name: str, value: T) -> None:
        """Keep *value* as *name*, in place of an older value."""
        row = self._name(name)
        document = {"owner": self._owner, "scope": self._scope, "name": name, "value": self._encode(value)}
        sealed = self._seal.close(document, self._context(row))
        with self._opened() as database:
            database.execute(f"insert or replace into {self._table} values (?, ?)", (row, sealed))
            database.execute(
                f"delete from {self._table} where rowid <= (select max(rowid) from {self._table}) - ?",
                (MOST,),
            )

    def drop(self, name: str) -> bool:
        """Keep *name* no longer. Of several processes that drop it one gets True."""
        with self._opened() as database:
            deleted = database.execute(f"delete from {self._table} where name = ?", (self._name(name),))
            return deleted.rowcount == 1

    def all(self) -> list[tuple[str, T]]:
        """Return what is kept, by name, the oldest first; drop what no longer fits."""
        with self._opened() as database:
            rows = database.execute(f"select name, sealed from {self._table} order by rowid").fetchall()
            kept = []
            for row, sealed in rows:
                document = self._document(row, sealed)
                if document is None or document["owner"] != self._owner:
                    continue
                if (value := self._value(document)) is not None:
                    kept.append((document["name"], value))
                else:
                    database.execute(f"delete from {self._table} where name = ?", (row,))
        return kept

    def _read(self, row: bytes, sealed: bytes) -> T | None:
        """Return the value of a row, None for one that no longer opens or fits."""
        document = self._document(row, sealed)
        return None if document is None else self._value(document)

    def _document(self, row: bytes, sealed: bytes) -> dict[str, Any] | None:
        try:
            return self._seal.open(sealed, self._context(row))
        except (LocalError, ValueError):
            # A ticket can be asked for again: an unreadable one must not prevent a call.
            _log.warning("%s: a kept ticket cannot be read", self._path)
            return None

    def _value(self, document: dict[str, Any]) -> T | None:
        if (document["owner"], document["scope"]) != (self._owner, self._scope):
            return None
        try:
            return self._decode(document["value"])
        except (SipmikeyError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s: a kept ticket cannot be used (%s)", self._path, type(error).__name__)
            return None

    def _name(self, name: str) -> bytes:
        return self._seal.name(self._table, self._owner, name)

    def _context(self, row: bytes) -> bytes:
        return self._table.encode() + row

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(open_database(self._path, _SCHEMA)) as database, database:
                yield database
        except (OSError, sqlite3.Error) as error:
            raise LocalError(f"the file of kept tickets {self._path}: {error}") from None
