"""Contacts and history in SQLite. Each row is sealed: the file alone tells how many there are, no more."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.phone.fold import contact_document, history_document
from sipmikey.phone.history import HistoryEntry
from sipmikey.phone.people import Contact
from sipmikey.phone.state import Phone

_SCHEMA = """
create table if not exists contact (id blob primary key, sealed blob not null);
create table if not exists history (id integer primary key autoincrement, sealed blob not null);
"""

_NONCE = 12
MAX_HISTORY = 1000


class Store:
    """The file at *path*, sealed with *key* (32 octets) by AES-256-GCM.

    Raises ``LocalError`` when the key is not that of the file.
    """

    def __init__(self, path: Path, key: Secret) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._path = path
        self._key = key
        self._database = sqlite3.connect(path)
        self._database.execute("pragma secure_delete = on")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield what is stored as documents for ``fold``: contacts, then the history, the oldest first."""
        with closing(self._database.execute("select id, sealed from contact")) as rows:
            for identifier, sealed in rows:
                yield self._open(sealed, b"contact" + identifier)
        with closing(self._database.execute("select sealed from history order by id")) as rows:
            for (sealed,) in rows:
                yield self._open(sealed, b"history")

    def keep(self, before: Phone, after: Phone) -> None:
        """Store what changed from *before* to *after*."""
        known = {contact.identity: contact for contact in before.contacts}
        with self._database:
            for contact in after.contacts:
                if known.pop(contact.identity, None) != contact:
                    self._save(contact)
            for identity in known:
                self._database.execute("delete from contact where id = ?", (self._name(identity),))
            self._keep_history(before.history, after.history)

    def _keep_history(self, before: tuple[HistoryEntry, ...], after: tuple[HistoryEntry, ...]) -> None:
        if before is after:
            return
        if not after:
            self._database.execute("delete from history")
        old = set(before)
        for entry in reversed([one for one in after if one not in old]):
            sealed = self._seal(history_document(entry), b"history")
            self._database.execute("insert into history (sealed) values (?)", (sealed,))
        self._database.execute(
            "delete from history where id <= (select max(id) from history) - ?", (MAX_HISTORY,)
        )

    def _save(self, contact: Contact) -> None:
        identifier = self._name(contact.identity)
        sealed = self._seal(contact_document(contact), b"contact" + identifier)
        self._database.execute(
            "insert into contact values (?, ?) on conflict (id) do update set sealed = excluded.sealed",
            (identifier, sealed),
        )

    def _name(self, identity: str) -> bytes:
        """Return the name of a row, which does not tell whom it is about."""
        return hmac.digest(self._key.reveal(), b"name " + identity.encode(), hashlib.sha256)[:16]

    def _seal(self, document: dict[str, Any], context: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key.reveal()).encrypt(nonce, json.dumps(document).encode(), context)

    def _open(self, sealed: bytes, context: bytes) -> dict[str, Any]:
        try:
            opened = AESGCM(self._key.reveal()).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
        except (InvalidTag, ValueError):
            raise LocalError(
                f"{self._path}: a row does not open: the key is another one, or the file was altered"
            ) from None
        found: dict[str, Any] = json.loads(opened)
        return found
