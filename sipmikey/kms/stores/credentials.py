"""Credentials of subscribers in a database: what the service looks up for every message."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from sipmikey.kms.stores.database import Database, Row, places
from sipmikey.kms.stores.vault import Vault
from sipmikey.kms.subscribers import Principal, PskCredential
from sipmikey.ticket.identity import wildcards_of

CACHE_ENTRIES = 16_384

PRINCIPAL = "s.name, s.identities, s.enabled, s.vouches_for"
"""Columns of a subscriber (``s``) of which a `Principal` is made."""


class CredentialLookups:
    """Satisfies `CredentialSource`. Answers are cached until the database says that something changed."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._cache: OrderedDict[tuple[str, bytes | str], Any] = OrderedDict()
        self._cached_at: object = None

    async def psk_by_key_id(self, key_id: bytes) -> PskCredential | None:
        """Return the key that IDRpsk names, or None."""
        key = ("psk", key_id)
        if key in await self._fresh_cache():
            found: PskCredential | None = self._cache[key]
            return found
        rows = await self._database.fetch(
            f"""SELECT p.key_id, p.sealed, p.valid_from_s, p.valid_until_s, {PRINCIPAL}
            FROM psk p JOIN subscriber s ON s.id = p.subscriber_id WHERE p.key_id = ?1""",
            key_id,
        )
        credential = await self._credential(rows[0]) if rows else None
        self._keep(key, credential)
        return credential

    async def psks_of(self, identity: str) -> Sequence[PskCredential]:
        """Return the keys of the owner of *identity*, newest first."""
        key = ("psks", identity)
        if key in await self._fresh_cache():
            found: Sequence[PskCredential] = self._cache[key]
            return found
        rows = await self._database.fetch(
            f"""SELECT p.key_id, p.sealed, p.valid_from_s, p.valid_until_s, {PRINCIPAL}
            FROM identity i JOIN subscriber s ON s.id = i.subscriber_id JOIN psk p ON p.subscriber_id = s.id
            WHERE i.uri = ?1 ORDER BY p.created_s DESC, p.key_id""",
            identity,
        )
        credentials = [await self._credential(row) for row in rows]
        self._keep(key, credentials)
        return credentials

    async def principal_of(self, identity: str) -> Principal | None:
        """Return the subscriber who owns *identity*, or None."""
        key = ("owner", identity)
        if key in await self._fresh_cache():
            found: Principal | None = self._cache[key]
            return found
        rows = await self._database.fetch(
            f"""SELECT {PRINCIPAL} FROM identity i JOIN subscriber s ON s.id = i.subscriber_id
            WHERE i.uri = ?1""",
            identity,
        )
        owner = await self._principal(rows[0]) if rows else None
        self._keep(key, owner)
        return owner

    async def principal_by_certificate(self, fingerprint: bytes) -> Principal | None:
        """Return the owner of the certificate with this SHA-256 digest, or None."""
        rows = await self._database.fetch(
            f"""SELECT {PRINCIPAL} FROM certificate c JOIN subscriber s ON s.id = c.subscriber_id
            WHERE c.fingerprint = ?1""",
            fingerprint,
        )
        return await self._principal(rows[0]) if rows else None

    async def certificates_of(self, identity: str) -> Sequence[bytes]:
        """Return the certificates (DER) kept for the owner of *identity*, newest first."""
        rows = await self._database.fetch(
            """SELECT c.der FROM identity i JOIN certificate c ON c.subscriber_id = i.subscriber_id
            WHERE i.uri = ?1 ORDER BY c.created_s DESC, c.fingerprint""",
            identity,
        )
        return [bytes(row[0]) for row in rows]

    async def groups_of(self, identity: str) -> Sequence[str]:
        """Return the groups *identity* is a member of, wildcard members included."""
        key = ("groups", identity)
        if key in await self._fresh_cache():
            found: Sequence[str] = self._cache[key]
            return found
        groups = await self._groups((identity,))
        self._keep(key, groups)
        return groups

    async def _fresh_cache(self) -> OrderedDict[tuple[str, bytes | str], Any]:
        token = await self._database.changes()
        if token != self._cached_at:
            self._cache.clear()
            self._cached_at = token
        return self._cache

    def _keep(self, key: tuple[str, bytes | str], value: Any) -> None:
        self._cache[key] = value
        if len(self._cache) > CACHE_ENTRIES:
            self._cache.popitem(last=False)

    async def _credential(self, row: Row) -> PskCredential:
        key_id = bytes(row[0])
        return PskCredential(
            principal=await self._principal(row[4:]),
            key=self._vault.open(bytes(row[1]), "psk", key_id, row[4]),
            key_id=key_id,
            valid_from_s=row[2],
            valid_until_s=row[3],
        )

    async def _principal(self, row: Row) -> Principal:
        name, identities, enabled, vouches_for = row
        owned = tuple(identities.split())
        return Principal(
            name=name,
            identities=owned,
            groups=await self._groups(owned),
            enabled=bool(enabled),
            vouches_for=tuple(vouches_for.split()),
        )

    async def _groups(self, identities: Sequence[str]) -> tuple[str, ...]:
        names = sorted({name for uri in identities for name in (uri, *wildcards_of(uri))})
        rows = await self._database.fetch(
            "SELECT DISTINCT group_uri FROM group_member"
            f" WHERE member IN ({places(len(names))}) ORDER BY group_uri",
            *names,
        )
        return tuple(row[0] for row in rows)
