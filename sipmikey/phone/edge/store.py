"""Contacts and history in SQLite. Each row is sealed: the file alone tells how many there are, no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from sipmikey.mikey.secret import Secret
from sipmikey.phone.fold import contact_document, history_document
from sipmikey.phone.history import HistoryEntry
from sipmikey.phone.people import Contact
from sipmikey.phone.state import Phone
from sipmikey.sealed.rows import Seal, open_database

_SCHEMA = """
create table if not exists contact (id blob primary key, sealed blob not null);
create table if not exists history (id integer primary key autoincrement, sealed blob not null);
"""

MAX_HISTORY = 1000


class Store:
    """The file at *path*, sealed with *key* (32 octets) by AES-256-GCM.

    Raises ``LocalError`` when the key is not that of the file.
    """

    def __init__(self, path: Path, key: Secret) -> None:
        self._seal = Seal(key, path)
        self._database = open_database(path, _SCHEMA)

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
                yield self._seal.open(sealed, b"contact" + identifier)
        with closing(self._database.execute("select sealed from history order by id")) as rows:
            for (sealed,) in rows:
                yield self._seal.open(sealed, b"history")

    def keep(self, before: Phone, after: Phone) -> None:
        """Store what changed from *before* to *after*."""
        known = {contact.identity: contact for contact in before.contacts}
        with self._database:
            for contact in after.contacts:
                if known.pop(contact.identity, None) != contact:
                    self._save(contact)
            for identity in known:
                self._database.execute("delete from contact where id = ?", (self._seal.name(identity),))
            self._keep_history(before.history, after.history)

    def _keep_history(self, before: tuple[HistoryEntry, ...], after: tuple[HistoryEntry, ...]) -> None:
        if before is after:
            return
        if not after:
            self._database.execute("delete from history")
        old = set(before)
        for entry in reversed([one for one in after if one not in old]):
            sealed = self._seal.close(history_document(entry), b"history")
            self._database.execute("insert into history (sealed) values (?)", (sealed,))
        self._database.execute(
            "delete from history where id <= (select max(id) from history) - ?", (MAX_HISTORY,)
        )

    def _save(self, contact: Contact) -> None:
        identifier = self._seal.name(contact.identity)
        sealed = self._seal.close(contact_document(contact), b"contact" + identifier)
        self._database.execute(
            "insert into contact values (?, ?) on conflict (id) do update set sealed = excluded.sealed",
            (identifier, sealed),
        )
