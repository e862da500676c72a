"""Which subscribers and groups are kept elsewhere, and what is remembered of them; tokens of SCIM clients."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sipmikey.kms.stores.database import Clash, Database, Row
from sipmikey.kms.stores.subscribers import SubscriberStore

MAX_DOCUMENT: Final = 65_536

_USER = """SELECT u.source, u.key, s.name, s.identities, s.enabled, u.document, u.version, u.created_s,
    u.changed_s, u.label, u.closed
    FROM provisioned_user u JOIN subscriber s ON s.id = u.subscriber_id"""
_GROUP = "SELECT source, key, uri, document, version, created_s, changed_s FROM provisioned_group"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedUser:
    """A subscriber that is kept elsewhere. ``document``: what the source told. Times: Unix seconds.

    ``source`` and ``key`` name it there; so does ``label``, which may change. ``version`` counts changes.
    ``closed``: the user has left there. ``enabled`` may differ: an administrator can disable a user here.
    """

    source: str
    key: str
    subscriber: str
    identities: tuple[str, ...]
    label: str = ""
    enabled: bool = True
    closed: bool = False
    document: str = ""
    version: int = 1
    created_s: int = 0
    changed_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedGroup:
    """A group that is kept elsewhere; the fields are those of `ProvisionedUser`."""

    source: str
    key: str
    uri: str
    document: str = ""
    version: int = 1
    created_s: int = 0
    changed_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that a client shows; the token itself is not kept. Times: Unix seconds."""

    name: str
    created_s: int
    expires_s: int | None = None
    used_s: int | None = None


class ProvisionedStore:
    """Keeps what ties subscribers and groups to where they come from."""

    def __init__(self, database: Database, subscribers: SubscriberStore) -> None:
        self._database = database
        self._subscribers = subscribers

    # Users

    async def users(self, source: str) -> list[ProvisionedUser]:
        """Return all users of a source, by age."""
        rows = await self._database.fetch(f"{_USER} WHERE u.source = ?1 ORDER BY u.created_s, u.key", source)
        return [_user(row) for row in rows]

    async def user(self, source: str, key: str) -> ProvisionedUser | None:
        """Return one user of a source, or None."""
        rows = await self._database.fetch(f"{_USER} WHERE u.source = ?1 AND u.key = ?2", source, key)
        return _user(rows[0]) if rows else None

    async def labelled(self, source: str, label: str) -> ProvisionedUser | None:
        """Return the user of a source with that label, or None."""
        rows = await self._database.fetch(f"{_USER} WHERE u.source = ?1 AND u.label = ?2", source, label)
        return _user(rows[0]) if rows else None

    async def count(self, source: str) -> int:
        """Return how many users a source has here."""
        rows = await self._database.fetch("SELECT count(*) FROM provisioned_user WHERE source = ?1", source)
        return int(rows[0][0])

    async def page(self, source: str, *, start: int, count: int) -> list[ProvisionedUser]:
        """Return *count* users of a source from the one numbered *start* (the first is 0), by age."""
        rows = await self._database.fetch(
            f"{_USER} WHERE u.source = ?1 ORDER BY u.created_s, u.key LIMIT ?2 OFFSET ?3",
            source,
            count,
            start,
        )
        return [_user(row) for row in rows]

    async def source_of(self, subscriber: str) -> ProvisionedUser | None:
        """Return where the subscriber of that name is kept, None where that is here."""
        rows = await self._database.fetch(f"{_USER} WHERE s.name = ?1", subscriber)
        return _user(rows[0]) if rows else None

    async def keep_user(self, user: ProvisionedUser) -> None:
        """Tie the subscriber ``user.subscriber`` to its source, or keep a later version of what is known.

        Raises `LocalError` where the subscriber is not there, and `Clash` where another user of the source
        has the label, the subscriber is tied already, or the version is not later than the one that is kept.
        """
        owner = (await self._subscribers.row(user.subscriber))[0]
        kept = await self._database.execute(
            """INSERT INTO provisioned_user
            (source, key, label, subscriber_id, document, version, created_s, changed_s, closed)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            ON CONFLICT (source, key) DO UPDATE SET label = excluded.label, document = excluded.document,
            version = excluded.version, changed_s = excluded.changed_s, closed = excluded.closed
            WHERE provisioned_user.version < excluded.version""",
            user.source, user.key, user.label or user.key, owner, user.document, user.version,
            user.created_s, user.changed_s, int(user.closed),
        )  # fmt: skip
        if not kept:
            raise Clash

    # Groups

    async def groups(self, source: str) -> list[ProvisionedGroup]:
        """Return all groups of a source, by age."""
        rows = await self._database.fetch(f"{_GROUP} WHERE source = ?1 ORDER BY created_s, key", source)
        return [_group(row) for row in rows]

    async def group(self, source: str, key: str) -> ProvisionedGroup | None:
        """Return one group of a source, or None."""
        rows = await self._database.fetch(f"{_GROUP} WHERE source = ?1 AND key = ?2", source, key)
        return _group(rows[0]) if rows else None

    async def tie_group(self, group: ProvisionedGroup) -> bool:
        """Tie a group to its source; return False if it is tied to another already."""
        return bool(
            await self._database.execute(
                """INSERT INTO provisioned_group (source, key, uri, document, version, created_s, changed_s)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING""",
                group.source, group.key, group.uri, group.document, group.version, group.created_s,
                group.changed_s,
            )
        )  # fmt: skip

    async def keep_group(self, group: ProvisionedGroup) -> None:
        """Remember what has changed of a group that is tied."""
        await self._database.execute(
            """UPDATE provisioned_group SET uri = ?1, document = ?2, version = ?3, changed_s = ?4
            WHERE source = ?5 AND key = ?6""",
            group.uri, group.document, group.version, group.changed_s, group.source, group.key,
        )  # fmt: skip

    # Tokens

    async def add_token(self, token: AccessToken, secret: str) -> bool:
        """Keep a token by its digest; return False if one of its name is there."""
        return bool(
            await self._database.execute(
                """INSERT INTO access_token (name, digest, created_s, expires_s) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT DO NOTHING""",
                token.name,
                _digest(secret),
                token.created_s,
                token.expires_s,
            )
        )

    async def token(self, secret: str, *, now_s: int) -> AccessToken | None:
        """Return the token that *secret* is, if it may be used now; its use is kept, to the minute."""
        rows = await self._database.fetch(
            "SELECT name, created_s, expires_s, used_s FROM access_token WHERE digest = ?1", _digest(secret)
        )
        if not rows:
            return None
        token = _token(rows[0])
        if token.expires_s is not None and now_s >= token.expires_s:
            return None
        if token.used_s is None or now_s >= token.used_s + 60:
            await self._database.execute(
                "UPDATE access_token SET used_s = ?1 WHERE name = ?2", now_s, token.name
            )
        return token

    async def tokens(self) -> Sequence[AccessToken]:
        """Return all tokens, by name."""
        rows = await self._database.fetch(
            "SELECT name, created_s, expires_s, used_s FROM access_token ORDER BY name"
        )
        return [_token(row) for row in rows]

    async def remove_token(self, name: str) -> bool:
        """Take a token back; return False if there is none of that name."""
        return bool(await self._database.execute("DELETE FROM access_token WHERE name = ?1", name))


def _digest(secret: str) -> bytes:
    """Return what is kept of a token: with 256 random bits in it, a plain digest gives nothing away."""
    return hashlib.sha256(b"sipmikey access token " + secret.encode()).digest()


def _user(row: Row) -> ProvisionedUser:
    return ProvisionedUser(
        source=row[0], key=row[1], subscriber=row[2], identities=tuple(row[3].split()), enabled=bool(row[4]),
        document=row[5], version=row[6], created_s=row[7], changed_s=row[8], label=row[9],
        closed=bool(row[10]),
    )  # fmt: skip


def _group(row: Row) -> ProvisionedGroup:
    return ProvisionedGroup(
        source=row[0], key=row[1], uri=row[2], document=row[3], version=row[4], created_s=row[5],
        changed_s=row[6],
    )  # fmt: skip


def _token(row: Row) -> AccessToken:
    return AccessToken(name=row[0], created_s=row[1], expires_s=row[2], used_s=row[3])
