"""Sessions of the console in a database, for all workers and machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sipmikey.kms.stores.database import Database
from sipmikey.kms.stores.vault import Vault
from sipmikey.mikey.secret import Secret

SEEN_STEP_S = 15
"""How exactly it is kept when a session was used last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """What a token stands for. ``content`` is sealed in the database. Times are Unix seconds."""

    kind: str
    content: Mapping[str, Any]
    created_s: int
    seen_s: int


class ConsoleSessionStore:
    """Keeps sessions under a digest of their token: who reads the database has no token."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def put(self, token: str, kind: str, content: Mapping[str, Any], *, now_s: int) -> None:
        """Keep a new session."""
        key = _digest(token)
        sealed = self._vault.seal(Secret(json.dumps(dict(content)).encode()), "console session", key)
        await self._database.execute(
            """INSERT INTO console_session (token, kind, sealed, created_s, seen_s)
            VALUES (?1, ?2, ?3, ?4, ?4)""",
            key,
            kind,
            sealed,
            now_s,
        )

    async def get(self, token: str, kind: str) -> StoredSession | None:
        """Return the session of *token*, None if there is none of that kind."""
        key = _digest(token)
        rows = await self._database.fetch(
            "SELECT sealed, created_s, seen_s FROM console_session WHERE token = ?1 AND kind = ?2", key, kind
        )
        if not rows:
            return None
        content = self._vault.open(bytes(rows[0][0]), "console session", key).reveal()
        return StoredSession(kind=kind, content=json.loads(content), created_s=rows[0][1], seen_s=rows[0][2])

    async def seen(self, token: str, *, now_s: int) -> None:
        """Remember that a session was used."""
        await self._database.execute(
            "UPDATE console_session SET seen_s = ?1 WHERE token = ?2 AND seen_s < ?1", now_s, _digest(token)
        )

    async def end(self, token: str, kind: str) -> bool:
        """Forget a session; return False if it was not there (another request ended it)."""
        return bool(
            await self._database.execute(
                "DELETE FROM console_session WHERE token = ?1 AND kind = ?2", _digest(token), kind
            )
        )

    async def forget(self, *, seen_before_s: int, created_before_s: int) -> None:
        """Forget what was not used since, or is older than that."""
        await self._database.execute(
            "DELETE FROM console_session WHERE seen_s < ?1 OR created_s < ?2", seen_before_s, created_before_s
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
