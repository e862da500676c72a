"""Subscribers, credentials and groups in a database: the administrator's side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from sipmikey.kms.stores.credentials import PRINCIPAL, CredentialLookups
from sipmikey.kms.stores.database import Database, Row, places
from sipmikey.kms.stores.vault import Vault
from sipmikey.kms.subscribers import (
    Group,
    PskRecord,
    SubscriberRecord,
    check_name,
    check_psk,
    normal_identity,
)
from sipmikey.mikey.errors import LocalError

IMPORT_BATCH = 5_000


class SubscriberStore(CredentialLookups):
    """The administrator's side, and by inheritance the service's `CredentialSource`.

    Identities given to it are canonicalised. Errors of the administrator raise `LocalError`.
    """

    def __init__(self, database: Database, vault: Vault, now_s: Callable[[], int]) -> None:
        super().__init__(database, vault)
        self._now_s = now_s

    # Subscribers.

    async def add(self, record: SubscriberRecord) -> None:
        """Add a subscriber; raise `LocalError` if a name, identity or key identifier is taken."""
        await self.load([record])

    async def load(
        self, records: Iterable[SubscriberRecord], progress: Callable[[int], None] = lambda count: None
    ) -> int:
        """Add many subscribers in batches; return how many. *progress* is told the running count.

        Groups named in the records are made where they are missing. A batch with a name, identity or key
        identifier that is taken raises `LocalError` and is undone as a whole; earlier batches stay.
        """
        count = 0
        source = iter(records)
        while batch := list(islice(source, IMPORT_BATCH)):
            await self._load_batch(batch)
            count += len(batch)
            progress(count)
        return count

    async def get(self, name: str, *, with_keys: bool = False) -> SubscriberRecord:
        """Return the subscriber called *name*, or who owns that identity; `LocalError` if there is none."""
        return await self._record(await self.row(name), with_keys=with_keys)

    async def records(
        self, *, with_keys: bool = False, after: str = "", limit: int | None = None
    ) -> AsyncIterator[SubscriberRecord]:
        """Yield subscribers by name, from the first name greater than *after*."""
        remaining = limit
        while remaining is None or remaining > 0:
            page = 500 if remaining is None else min(500, remaining)
            rows = await self._database.fetch(
                f"SELECT s.id, {PRINCIPAL} FROM subscriber s WHERE s.name > ?1 ORDER BY s.name LIMIT {page}",
                after,
            )
            for row in rows:
                yield await self._record(row, with_keys=with_keys)
            if len(rows) < page:
                return
            after = rows[-1][1]
            remaining = None if remaining is None else remaining - len(rows)

    async def count(self) -> int:
        """Return how many subscribers there are."""
        return int((await self._database.fetch("SELECT count(*) FROM subscriber"))[0][0])

    async def remove(self, name: str) -> None:
        """Remove a subscriber with identities, credentials and TPKs; `LocalError` if there is none."""
        row = await self.row(name)
        async with self._database.transaction() as transaction:
            identities = row[2].split()
            await transaction.many(
                "DELETE FROM group_member WHERE member = ?1", [(uri,) for uri in identities]
            )
            await transaction.execute("DELETE FROM subscriber WHERE id = ?1", row[0])

    async def set_enabled(self, name: str, enabled: bool) -> None:
        """Let a subscriber be served or refuse everything it asks."""
        row = await self.row(name)
        await self._database.execute("UPDATE subscriber SET enabled = ?1 WHERE id = ?2", int(enabled), row[0])

    async def set_identities(self, name: str, identities: Sequence[str]) -> None:
        """Replace the identities of a subscriber; the first is the primary one."""
        row = await self.row(name)
        wanted = tuple(map(normal_identity, identities))
        SubscriberRecord(name=row[1], identities=wanted)
        async with self._database.transaction() as transaction:
            await transaction.execute("DELETE FROM identity WHERE subscriber_id = ?1", row[0])
            await _insert_identities(transaction, [(uri, row[0]) for uri in wanted])
            await transaction.execute(
                "UPDATE subscriber SET identities = ?1 WHERE id = ?2", " ".join(wanted), row[0]
            )

    # Credentials.

    async def add_psk(self, name: str, psk: PskRecord) -> None:
        """Give a subscriber one more pre-shared key."""
        row = await self.row(name)
        await self.insert_psks(self._database, [(row[0], psk)])

    async def rotate_psk(self, name: str, psk: PskRecord, *, overlap_s: int) -> None:
        """Give a subscriber a new key; its others stay valid *overlap_s* seconds longer at most."""
        row = await self.row(name)
        end = self._now_s() + overlap_s
        async with self._database.transaction() as transaction:
            await transaction.execute(
                """UPDATE psk SET valid_until_s = ?1
                WHERE subscriber_id = ?2 AND (valid_until_s IS NULL OR valid_until_s > ?1)""",
                end,
                row[0],
            )
            await self.insert_psks(transaction, [(row[0], psk)])

    async def revoke_psk(self, key_id: bytes) -> None:
        """Destroy a pre-shared key; `LocalError` if there is none of that identifier."""
        if not await self._database.execute("DELETE FROM psk WHERE key_id = ?1", key_id):
            raise LocalError(f"no pre-shared key has the identifier {key_id.hex()}")

    async def add_certificate(self, name: str, der: bytes) -> None:
        """Bind a certificate (DER) to a subscriber."""
        row = await self.row(name)
        await _insert_certificates(self._database, [(row[0], der)], self._now_s())

    async def remove_certificate(self, fingerprint: bytes) -> None:
        """Unbind the certificate with this SHA-256 digest; `LocalError` if there is none."""
        if not await self._database.execute("DELETE FROM certificate WHERE fingerprint = ?1", fingerprint):
            raise LocalError(f"no certificate has the fingerprint {fingerprint.hex()}")

    # Groups.

    async def add_group(self, uri: str, members: Sequence[str] = ()) -> None:
        """Make a group, or add *members* (identities and wildcards) to one that is there."""
        group = normal_identity(uri)
        async with self._database.transaction() as transaction:
            await _insert_members(
                transaction, [(normal_identity(m), group) for m in members], {group}, self._now_s()
            )

    async def remove_members(self, uri: str, members: Sequence[str]) -> None:
        """Take *members* out of a group."""
        pairs = [(normal_identity(member), normal_identity(uri)) for member in members]
        await self._database.many("DELETE FROM group_member WHERE member = ?1 AND group_uri = ?2", pairs)

    async def remove_group(self, uri: str) -> None:
        """Remove a group; `LocalError` if there is none."""
        if not await self._database.execute(
            "DELETE FROM subscriber_group WHERE uri = ?1", normal_identity(uri)
        ):
            raise LocalError(f"there is no group {uri}")

    async def groups(self) -> Sequence[Group]:
        """Return all groups with their members."""
        rows = await self._database.fetch(
            """SELECT g.uri, m.member FROM subscriber_group g LEFT JOIN group_member m ON m.group_uri = g.uri
            ORDER BY g.uri, m.member"""
        )
        members: dict[str, list[str]] = {}
        for uri, member in rows:
            members.setdefault(uri, []).extend([member] if member is not None else [])
        return [Group(uri=uri, members=tuple(found)) for uri, found in members.items()]

    async def group_page(self, *, after: str = "", limit: int, members: int) -> list[tuple[Group, int]]:
        """Return *limit* groups by URI, from the first greater than *after*, with the number of members.

        Of the members the first *members* are in each group.
        """
        rows = await self._database.fetch(
            """SELECT g.uri, (SELECT count(*) FROM group_member m WHERE m.group_uri = g.uri)
            FROM subscriber_group g WHERE g.uri > ?1 ORDER BY g.uri LIMIT ?2""",
            after,
            limit,
        )
        found = []
        for uri, count in rows:
            some = await self._database.fetch(
                "SELECT member FROM group_member WHERE group_uri = ?1 ORDER BY member LIMIT ?2", uri, members
            )
            found.append((Group(uri=uri, members=tuple(row[0] for row in some)), int(count)))
        return found

    async def count_groups(self) -> int:
        """Return how many groups there are."""
        return int((await self._database.fetch("SELECT count(*) FROM subscriber_group"))[0][0])

    # Inside.

    async def row(self, name: str) -> Row:
        """Return id and principal of the subscriber called *name*, or who owns that identity."""
        rows = await self._database.fetch(
            f"SELECT s.id, {PRINCIPAL} FROM subscriber s WHERE s.name = ?1", name
        )
        if not rows and ":" in name:
            rows = await self._database.fetch(
                f"""SELECT s.id, {PRINCIPAL} FROM identity i JOIN subscriber s ON s.id = i.subscriber_id
                WHERE i.uri = ?1""",
                normal_identity(name),
            )
        if not rows:
            raise LocalError(f"there is no subscriber {name!r}")
        return rows[0]

    async def _record(self, row: Row, *, with_keys: bool) -> SubscriberRecord:
        subscriber_id, name, identities, enabled, vouches_for = row
        psks = await self._database.fetch(
            """SELECT key_id, sealed, valid_from_s, valid_until_s, device FROM psk
            WHERE subscriber_id = ?1 ORDER BY created_s, key_id""",
            subscriber_id,
        )
        certificates = await self._database.fetch(
            "SELECT der FROM certificate WHERE subscriber_id = ?1 ORDER BY created_s, fingerprint",
            subscriber_id,
        )
        owned = tuple(identities.split())
        groups = await self._database.fetch(
            "SELECT DISTINCT group_uri FROM group_member"
            f" WHERE member IN ({places(len(owned))}) ORDER BY group_uri",
            *owned,
        )
        return SubscriberRecord(
            name=name,
            identities=owned,
            enabled=bool(enabled),
            psks=tuple(self._psk_record(psk, name, with_keys) for psk in psks),
            certificates=tuple(bytes(row[0]) for row in certificates),
            groups=tuple(row[0] for row in groups),
            vouches_for=tuple(vouches_for.split()),
        )

    def _psk_record(self, row: Row, name: str, with_keys: bool) -> PskRecord:
        key_id = bytes(row[0])
        key = self._vault.open(bytes(row[1]), "psk", key_id, name) if with_keys else None
        return PskRecord(
            key_id=key_id, key=key, valid_from_s=row[2], valid_until_s=row[3], device=row[4] or ""
        )

    async def _load_batch(self, batch: Sequence[SubscriberRecord]) -> None:
        now = self._now_s()
        for record in batch:
            check_name(record.name)
        async with self._database.transaction() as transaction:
            if transaction.dialect == "postgresql":
                await transaction.execute("LOCK TABLE subscriber IN EXCLUSIVE MODE")
            top = (await transaction.fetch("SELECT max(id) FROM subscriber"))[0][0] or 0
            ids = {record.name: number for number, record in enumerate(batch, top + 1)}
            await _insert(
                transaction,
                "subscriber",
                ("name", "id", "identities", "enabled", "vouches_for", "created_s"),
                [
                    (
                        r.name,
                        ids[r.name],
                        " ".join(r.identities),
                        int(r.enabled),
                        " ".join(r.vouches_for),
                        now,
                    )
                    for r in batch
                ],
                "subscriber",
            )
            await _insert_identities(transaction, [(uri, ids[r.name]) for r in batch for uri in r.identities])
            await self.insert_psks(
                transaction,
                [(ids[r.name], psk) for r in batch for psk in r.psks],
                {ids[r.name]: r.name for r in batch},
            )
            await _insert_certificates(
                transaction, [(ids[r.name], der) for r in batch for der in r.certificates], now
            )
            members = [(r.identities[0], group) for r in batch for group in r.groups]
            await _insert_members(transaction, members, {group for _, group in members}, now)

    async def insert_psks(
        self, database: Database, psks: Sequence[tuple[int, PskRecord]], names: dict[int, str] | None = None
    ) -> None:
        """Seal and insert keys of subscribers (by id). Raises `LocalError` where an identifier is taken."""
        now = self._now_s()
        rows = []
        for subscriber_id, psk in psks:
            if psk.key is None:
                raise LocalError(
                    f"pre-shared key {psk.key_id.hex()} comes without its key: export with secrets"
                )
            if not 1 <= len(psk.key_id) <= 255:
                raise LocalError("a pre-shared key's identifier has 1 to 255 bytes")
            check_psk(psk.key)
            if names is None:
                found = await database.fetch("SELECT name FROM subscriber WHERE id = ?1", subscriber_id)
                name = found[0][0]
            else:
                name = names[subscriber_id]
            sealed = self._vault.seal(psk.key, "psk", psk.key_id, name)
            life = (psk.valid_from_s, psk.valid_until_s, now)
            rows.append((psk.key_id, subscriber_id, sealed, *life, psk.device or None))
        life_columns = ("valid_from_s", "valid_until_s", "created_s")
        columns = ("key_id", "subscriber_id", "sealed", *life_columns, "device")
        await _insert(database, "psk", columns, rows, "pre-shared key with the identifier")


async def _insert(
    database: Database, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], what: str
) -> None:
    """Insert *rows*; raise `LocalError` naming the first whose key (the first column) is there already."""
    keys = [row[0] for row in rows]
    taken = {key for key, times in Counter(keys).items() if times > 1}
    for start in range(0, len(keys), IMPORT_BATCH):
        part = keys[start : start + IMPORT_BATCH]
        found = await database.fetch(
            f"SELECT {columns[0]} FROM {table} WHERE {columns[0]} IN ({places(len(part))})", *part
        )
        taken.update(row[0] for row in found)
    if taken:
        first = min(taken)
        raise LocalError(
            f"there is a {what} {first.hex() if isinstance(first, bytes) else repr(first)} already"
        )
    await database.many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places(len(columns))})", rows)


async def _insert_identities(database: Database, rows: Sequence[tuple[str, int]]) -> None:
    await _insert(database, "identity", ("uri", "subscriber_id"), rows, "subscriber with the identity")


async def _insert_certificates(database: Database, rows: Sequence[tuple[int, bytes]], now: int) -> None:
    columns = ("fingerprint", "subscriber_id", "der", "created_s")
    found = [(hashlib.sha256(der).digest(), owner, der, now) for owner, der in rows]
    await _insert(database, "certificate", columns, found, "certificate with the fingerprint")


async def _insert_members(
    database: Database, members: Sequence[tuple[str, str]], groups: set[str], now: int
) -> None:
    await database.many(
        "INSERT INTO subscriber_group (uri, created_s) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        [(group, now) for group in sorted(groups)],
    )
    await database.many(
        "INSERT INTO group_member (member, group_uri) VALUES (?1, ?2) ON CONFLICT DO NOTHING", members
    )
