"""The policy as a table: every version that was ever in force, for the workers of many machines."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.kms.stores.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One version of the policy's TOML text. ``created_s``: Unix seconds."""

    number: int
    created_s: int
    author: str
    text: str


class PolicyStore:
    """Keeps policy texts; the newest is in force."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self) -> PolicyVersion | None:
        """Return the policy in force, or None if there never was one."""
        rows = await self._database.fetch(
            "SELECT id, created_s, author, text FROM policy ORDER BY id DESC LIMIT 1"
        )
        return (
            PolicyVersion(number=rows[0][0], created_s=rows[0][1], author=rows[0][2], text=rows[0][3])
            if rows
            else None
        )

    async def put(self, text: str, *, author: str, now_s: int) -> None:
        """Put *text* in force. The caller has parsed it."""
        await self._database.execute(
            "INSERT INTO policy (created_s, author, text) VALUES (?1, ?2, ?3)", now_s, author, text
        )

    async def history(self) -> list[PolicyVersion]:
        """Return all versions, the newest first."""
        rows = await self._database.fetch("SELECT id, created_s, author, text FROM policy ORDER BY id DESC")
        return [PolicyVersion(number=row[0], created_s=row[1], author=row[2], text=row[3]) for row in rows]
