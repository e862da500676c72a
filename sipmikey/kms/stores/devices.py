"""Invitations and enrolled devices in a database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence

from sipmikey.kms.enrolment.device_lines import CarriedDevice
from sipmikey.kms.enrolment.records import MAX_TRIES, DeviceRecord, InvitationRecord, IssuedCredential
from sipmikey.kms.stores.credentials import PRINCIPAL
from sipmikey.kms.stores.database import Database, Row, places
from sipmikey.kms.stores.subscribers import SubscriberStore
from sipmikey.kms.stores.vault import MasterKeyMismatch, Vault
from sipmikey.kms.subscribers import Principal, SubscriberRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

PAGE = 500
"""Devices read at once where all are."""

KEPT_S = 30 * 86_400
"""How long an invitation that is over, and a device that is revoked or has expired, stay in the lists."""

_INVITATION = """SELECT i.number, s.name, i.identity, i.sealed, i.secrets, i.created_s, i.expires_s, i.tries,
    i.used_s, i.revoked, i.request, i.answer, s.enabled
    FROM invitation i JOIN subscriber s ON s.id = i.subscriber_id"""
_DEVICE = """SELECT d.id, s.name, d.identity, d.name, d.sealed, d.generation, d.enrolled_s, d.seen_s,
    d.valid_until_s, d.revoked_s, s.enabled
    FROM device d JOIN subscriber s ON s.id = d.subscriber_id"""

_ENDED = (
    "DELETE FROM psk WHERE device IS NOT NULL AND valid_until_s < ?1",
    "DELETE FROM certificate WHERE device IN (SELECT id FROM device WHERE valid_until_s < ?1)",
    "DELETE FROM device WHERE valid_until_s < ?1",
)


class DeviceStore:
    """Satisfies `EnrolmentStore` and `SignOnStore`, and is the administrator's side of them.

    Codes and keys are sealed.
    """

    def __init__(self, database: Database, vault: Vault, subscribers: SubscriberStore) -> None:
        self._database = database
        self._vault = vault
        self._subscribers = subscribers

    # Invitations

    async def invite(self, invitations: Sequence[InvitationRecord]) -> bool:
        """Keep *invitations*; return False, and keep none, if one of their numbers is in use.

        Raises `LocalError` for a subscriber who is not there.
        """
        rows = []
        for invitation in invitations:
            assert invitation.key is not None
            owner = (await self._subscribers.row(invitation.subscriber))[0]
            sealed = self._vault.seal(invitation.key, "invitation", invitation.number)
            secrets = self._sealed_secrets(invitation.secrets, invitation.number)
            rows.append(
                (
                    invitation.number,
                    owner,
                    invitation.identity,
                    sealed,
                    secrets,
                    invitation.created_s,
                    invitation.expires_s,
                )
            )
        async with self._database.transaction() as transaction:
            if transaction.dialect == "postgresql":
                await transaction.execute("LOCK TABLE invitation IN EXCLUSIVE MODE")
            numbers = [row[0] for row in rows]
            found = await transaction.fetch(
                f"SELECT number FROM invitation WHERE number IN ({places(len(rows))})", *numbers
            )
            if found or len(set(numbers)) < len(numbers):
                return False
            await transaction.many(
                """INSERT INTO invitation
                (number, subscriber_id, identity, sealed, secrets, created_s, expires_s)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)""",
                rows,
            )
        return True

    async def try_invitation(self, number: str, *, now_s: int) -> InvitationRecord | None:
        """Count one try of an open invitation, then return it; None if there is none of that number."""
        await self._database.execute(
            """UPDATE invitation SET tries = tries + 1
            WHERE number = ?1 AND used_s IS NULL AND revoked = 0 AND expires_s > ?2 AND tries <= ?3""",
            number,
            now_s,
            MAX_TRIES,
        )
        return await self.invitation(number)

    async def redeem(
        self,
        number: str,
        device: DeviceRecord,
        issued: IssuedCredential,
        *,
        request: bytes,
        answer: bytes,
        now_s: int,
    ) -> bool:
        """Use up an invitation and keep the device it made, both or neither; False if it was used."""
        async with self._database.transaction() as transaction:
            used = await transaction.execute(
                """UPDATE invitation SET used_s = ?1, request = ?2, answer = ?3, sealed = NULL, secrets = NULL
                WHERE number = ?4 AND used_s IS NULL AND revoked = 0 AND expires_s > ?1""",
                now_s,
                request,
                answer,
                number,
            )
            if not used:
                return False
            rows = await transaction.fetch("SELECT subscriber_id FROM invitation WHERE number = ?1", number)
            owner = rows[0][0]
            await self._insert(transaction, owner, device)
            await self._keep_issued(transaction, owner, device, issued)
        return True

    async def revoke_invitation(self, number: str) -> bool:
        """Take an invitation back; return False if there is none that could still be used."""
        return bool(
            await self._database.execute(
                """UPDATE invitation SET revoked = 1, sealed = NULL, secrets = NULL
                WHERE number = ?1 AND used_s IS NULL AND revoked = 0""",
                number,
            )
        )

    async def numbers(self) -> set[str]:
        """Return the numbers of all invitations, those that are over too: none of them can be given now."""
        return {row[0] for row in await self._database.fetch("SELECT number FROM invitation")}

    async def invitations(self) -> list[InvitationRecord]:
        """Return all invitations, the newest first."""
        rows = await self._database.fetch(f"{_INVITATION} ORDER BY i.created_s DESC, i.number")
        return [self._invitation(row) for row in rows]

    async def invitation_page(self, *, after: str = "", limit: int) -> list[InvitationRecord]:
        """Return *limit* invitations, the newest first, from the one *after* the one of that number on."""
        start = "(SELECT created_s, number FROM invitation WHERE number = ?2)"
        older = f"WHERE (i.created_s, i.number) < {start}" if after else ""
        query = f"{_INVITATION} {older} ORDER BY i.created_s DESC, i.number DESC LIMIT ?1"
        rows = await self._database.fetch(query, *((limit, after) if after else (limit,)))
        return [self._invitation(row) for row in rows]

    async def invitation(self, number: str) -> InvitationRecord | None:
        """Return the invitation of that number, without counting a try."""
        rows = await self._database.fetch(f"{_INVITATION} WHERE i.number = ?1", number)
        return self._invitation(rows[0]) if rows else None

    async def open_invitations(self, subscriber: str) -> list[InvitationRecord]:
        """Return what could still be redeemed of one subscriber, or only has to expire."""
        owner = (await self._subscribers.row(subscriber))[0]
        rows = await self._database.fetch(
            f"{_INVITATION} WHERE i.subscriber_id = ?1 AND i.used_s IS NULL AND i.revoked = 0", owner
        )
        return [self._invitation(row) for row in rows]

    # Sign-on

    async def owner_of(self, identity: str) -> Principal | None:
        """Return the subscriber who owns *identity*, without groups, or None. Nothing of it is cached."""
        rows = await self._database.fetch(
            f"""SELECT {PRINCIPAL} FROM identity i JOIN subscriber s ON s.id = i.subscriber_id
            WHERE i.uri = ?1""",
            identity,
        )
        if not rows:
            return None
        name, identities, enabled, vouches_for = rows[0]
        return Principal(
            name=name,
            identities=tuple(identities.split()),
            enabled=bool(enabled),
            vouches_for=tuple(vouches_for.split()),
        )

    async def add_subscriber(self, record: SubscriberRecord) -> None:
        """Add a subscriber. Raises `LocalError` where a name or identity is taken."""
        await self._subscribers.add(record)

    def seal_session(self, session: Secret) -> bytes:
        """Seal what the session of a sign-on holds, for this KMS alone to open."""
        return self._vault.seal(session, "sign-on session")

    def open_session(self, sealed: bytes) -> Secret | None:
        """Open what `seal_session` made; None for anything else."""
        try:
            return self._vault.open(sealed, "sign-on session")
        except MasterKeyMismatch:
            return None

    # Devices

    async def device(self, device: str) -> DeviceRecord | None:
        """Return the device of that identifier, also if it was revoked, or None."""
        rows = await self._database.fetch(f"{_DEVICE} WHERE d.id = ?1", device)
        return self._device(rows[0]) if rows else None

    async def devices(self, subscriber: str | None = None) -> list[DeviceRecord]:
        """Return the devices, of one subscriber or of all, by subscriber and age.

        Raises `LocalError` for a subscriber who is not there.
        """
        if subscriber is None:
            rows = await self._database.fetch(f"{_DEVICE} ORDER BY s.name, d.enrolled_s, d.id")
        else:
            owner = (await self._subscribers.row(subscriber))[0]
            rows = await self._database.fetch(
                f"{_DEVICE} WHERE d.subscriber_id = ?1 ORDER BY d.enrolled_s, d.id", owner
            )
        return [self._device(row) for row in rows]

    async def page(self, *, after: str = "", limit: int) -> list[DeviceRecord]:
        """Return *limit* devices of all subscribers, the newest first, from the one *after* that one on."""
        start = "(SELECT enrolled_s, id FROM device WHERE id = ?2)"
        older = f"WHERE (d.enrolled_s, d.id) < {start}" if after else ""
        query = f"{_DEVICE} {older} ORDER BY d.enrolled_s DESC, d.id DESC LIMIT ?1"
        rows = await self._database.fetch(query, *((limit, after) if after else (limit,)))
        return [self._device(row) for row in rows]

    async def count(self) -> int:
        """Return how many devices there are."""
        return int((await self._database.fetch("SELECT count(*) FROM device"))[0][0])

    async def certificates(self, devices: Sequence[str]) -> dict[str, str]:
        """Return which of *devices* has each certificate; certificates as in `AuditEvent.credential`."""
        rows = await self._database.fetch(
            f"SELECT fingerprint, device FROM certificate WHERE device IN ({places(len(devices))})", *devices
        )
        return {bytes(fingerprint).hex(): device for fingerprint, device in rows}

    async def carried(self) -> AsyncIterator[CarriedDevice]:
        """Yield all devices by identifier, to be carried over to another store."""
        after = ""
        while True:
            rows = await self._database.fetch(f"{_DEVICE} WHERE d.id > ?1 ORDER BY d.id LIMIT {PAGE}", after)
            owned: dict[str, list[bytes]] = {}
            for digest, device in (await self.certificates([row[0] for row in rows])).items():
                owned.setdefault(device, []).append(bytes.fromhex(digest))
            for row in rows:
                yield CarriedDevice(record=self._device(row), certificates=tuple(owned.get(row[0], ())))
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def carry_in(self, devices: Sequence[CarriedDevice]) -> None:
        """Keep devices of another store, whose subscribers are here already, all or none.

        Raises `LocalError` where a device of that identifier is here, or its subscriber is not.
        """
        async with self._database.transaction() as transaction:
            for device in devices:
                record = device.record
                owner = await transaction.fetch(
                    "SELECT id FROM subscriber WHERE name = ?1", record.subscriber
                )
                if not owner:
                    raise LocalError(f"device {record.device!r}: no subscriber {record.subscriber!r} is here")
                if await transaction.fetch("SELECT id FROM device WHERE id = ?1", record.device):
                    raise LocalError(f"there is a device {record.device!r} already")
                await self._insert(transaction, owner[0][0], record)
                await transaction.execute(
                    "UPDATE device SET revoked_s = ?1 WHERE id = ?2", record.revoked_s, record.device
                )
                await transaction.many(
                    "UPDATE certificate SET device = ?1 WHERE fingerprint = ?2 AND subscriber_id = ?3",
                    [(record.device, digest, owner[0][0]) for digest in device.certificates],
                )

    async def renew(self, device: DeviceRecord, issued: IssuedCredential, *, overlap_until_s: int) -> bool:
        """Keep *device* with a new key; its older keys end at *overlap_until_s* or before.

        Return False, and keep nothing, if it was renewed or revoked meanwhile.
        """
        async with self._database.transaction() as transaction:
            changed = await transaction.execute(
                """UPDATE device SET generation = ?1, seen_s = ?2, valid_until_s = ?3
                WHERE id = ?4 AND generation = ?5 AND revoked_s IS NULL""",
                device.generation,
                device.seen_s,
                device.valid_until_s,
                device.device,
                device.generation - 1,
            )
            if not changed:
                return False
            rows = await transaction.fetch("SELECT subscriber_id FROM device WHERE id = ?1", device.device)
            await transaction.execute(
                """UPDATE psk SET valid_until_s = ?1 WHERE subscriber_id = ?2 AND device = ?3
                AND (valid_until_s IS NULL OR valid_until_s > ?1)""",
                overlap_until_s,
                rows[0][0],
                device.device,
            )
            await self._keep_issued(transaction, rows[0][0], device, issued)
        return True

    async def seen(self, device: str, *, now_s: int) -> None:
        """Remember that the device asked for something."""
        await self._database.execute("UPDATE device SET seen_s = ?1 WHERE id = ?2", now_s, device)

    async def revoke_device(self, device: str, *, now_s: int) -> bool:
        """Destroy the keys and certificates of a device; return False if that is done already."""
        async with self._database.transaction() as transaction:
            changed = await transaction.execute(
                "UPDATE device SET revoked_s = ?1 WHERE id = ?2 AND revoked_s IS NULL", now_s, device
            )
            if changed:
                rows = await transaction.fetch("SELECT subscriber_id FROM device WHERE id = ?1", device)
                for table in ("psk", "certificate"):
                    await transaction.execute(
                        f"DELETE FROM {table} WHERE subscriber_id = ?1 AND device = ?2", rows[0][0], device
                    )
        return bool(changed)

    async def credentials(self) -> dict[str, str]:
        """Return which device has each credential; credentials as in `AuditEvent.credential`."""
        rows = await self._database.fetch(
            """SELECT key_id, device FROM psk WHERE device IS NOT NULL
            UNION ALL SELECT fingerprint, device FROM certificate WHERE device IS NOT NULL"""
        )
        return {bytes(credential).hex(): device for credential, device in rows}

    async def forget_expired(self, *, now_s: int) -> None:
        """Forget the answers of invitations that were used, and what has been over for `KEPT_S` seconds.

        That is: invitations, keys of devices that were not renewed or were replaced, and devices with all
        they had.
        """
        await self._database.execute(
            "UPDATE invitation SET request = NULL, answer = NULL WHERE answer IS NOT NULL AND used_s < ?1",
            now_s - 3600,
        )
        await self._database.execute("DELETE FROM invitation WHERE expires_s < ?1", now_s - KEPT_S)
        await self._database.execute("DELETE FROM device WHERE revoked_s < ?1", now_s - KEPT_S)
        for statement in _ENDED:
            await self._database.execute(statement, now_s - KEPT_S)

    # Inside

    async def _insert(self, transaction: Database, owner: int, device: DeviceRecord) -> None:
        await transaction.execute(
            """INSERT INTO device
            (id, subscriber_id, identity, name, sealed, generation, enrolled_s, seen_s, valid_until_s)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)""",
            device.device,
            owner,
            device.identity,
            device.name,
            self._vault.seal(device.key, "device", device.device),
            device.generation,
            device.enrolled_s,
            device.seen_s,
            device.valid_until_s,
        )

    async def _keep_issued(
        self, transaction: Database, owner: int, device: DeviceRecord, issued: IssuedCredential
    ) -> None:
        if issued.psk is not None:
            await self._subscribers.insert_psks(
                transaction, [(owner, issued.psk)], {owner: device.subscriber}
            )
            await transaction.execute(
                "UPDATE psk SET device = ?1 WHERE key_id = ?2", device.device, issued.psk.key_id
            )
        if issued.certificate is not None:
            fingerprint = hashlib.sha256(issued.certificate).digest()
            await transaction.execute(
                """INSERT INTO certificate (fingerprint, subscriber_id, der, created_s, device)
                VALUES (?1, ?2, ?3, ?4, ?5)""",
                fingerprint,
                owner,
                issued.certificate,
                device.seen_s,
                device.device,
            )

    def _sealed_secrets(self, secrets: Mapping[str, Secret], number: str) -> bytes | None:
        if not secrets:
            return None
        text = json.dumps({name: secret.reveal().decode() for name, secret in secrets.items()})
        return self._vault.seal(Secret(text.encode()), "invitation secrets", number)

    def _invitation(self, row: Row) -> InvitationRecord:
        number, subscriber, identity, sealed, secrets, created_s, expires_s, tries, used_s, revoked = row[:10]
        opened = {}
        if secrets is not None:
            text = self._vault.open(bytes(secrets), "invitation secrets", number).reveal()
            opened = {name: Secret(value.encode()) for name, value in json.loads(text).items()}
        return InvitationRecord(
            number=number,
            subscriber=subscriber,
            identity=identity,
            key=None if sealed is None else self._vault.open(bytes(sealed), "invitation", number),
            secrets=opened,
            created_s=created_s,
            expires_s=expires_s,
            tries=tries,
            used_s=used_s,
            revoked=bool(revoked),
            request=bytes(row[10] or b""),
            answer=bytes(row[11] or b""),
            enabled=bool(row[12]),
        )

    def _device(self, row: Row) -> DeviceRecord:
        return DeviceRecord(
            device=row[0],
            subscriber=row[1],
            identity=row[2],
            name=row[3],
            key=self._vault.open(bytes(row[4]), "device", row[0]),
            generation=row[5],
            enrolled_s=row[6],
            seen_s=row[7],
            valid_until_s=row[8],
            revoked_s=row[9],
            enabled=bool(row[10]),
        )
