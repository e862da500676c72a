"""The few SQL verbs the stores are written in, the same for SQLite and PostgreSQL.

Statements number their parameters ``?1``, ``?2``, ...; a database translates what it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sipmikey.mikey.errors import LocalError

Row = Sequence[Any]


class Clash(LocalError):
    """What was to be kept does not go with what is there: somebody else kept the like at the same time."""

    def __init__(self) -> None:
        super().__init__("somebody else changed the same at the same time: look at it again")


class UnfitText(LocalError):
    """A text that PostgreSQL cannot keep, and that SQLite therefore does not keep either."""

    def __init__(self) -> None:
        super().__init__("a text has the character NUL, or half of a surrogate pair")


def check_texts(values: Iterable[object]) -> None:
    """Raise `UnfitText` where one of *values* is a text that a database cannot keep."""
    for value in values:
        if isinstance(value, str):
            if "\0" in value:
                raise UnfitText
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError:
                    raise UnfitText from None


def checked_rows(rows: Iterable[Sequence[object]]) -> Iterator[Sequence[object]]:
    """Yield *rows*, each of them looked at by `check_texts`."""
    for row in rows:
        check_texts(row)
        yield row


class Database(Protocol):
    """One database, or one transaction on it.

    Failures of the server raise `StoreUnavailable`; rows that break a constraint of the tables raise `Clash`,
    texts that cannot be kept or looked for `UnfitText`.
    """

    dialect: str
    """``sqlite`` or ``postgresql``."""

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        """Return all rows."""
        ...

    async def execute(self, sql: str, *args: object) -> int:
        """Run a statement; return how many rows it changed."""
        ...

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once for each of *rows*."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Database]:
        """All or nothing: committed at the end of the block, undone if it raises."""
        ...

    async def changes(self) -> object:
        """Return a token that differs from the last one when cached rows may be out of date."""
        ...

    async def probe(self, insert: str) -> None:
        """Check that the disk takes what the statement *insert* adds, and keep nothing of it."""
        ...

    async def close(self) -> None: ...


def places(count: int) -> str:
    """Return ``?1, ?2, ...`` for the values of a list in a statement; NULL, matching nothing, for none."""
    return ", ".join(f"?{number}" for number in range(1, count + 1)) or "NULL"
