"""The acts themselves: a change of the store, and its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

from sipmikey.kms.administration.audit_acts import About, Actor, AdminAct, keep_act
from sipmikey.kms.administration.invite import NewInvitation, invite
from sipmikey.kms.enrolment.codes import parse_number
from sipmikey.kms.enrolment.records import DeviceRecord, InvitationRecord
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import SubscriberRecord, normal_identity
from sipmikey.kms.tpk import TpkRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret


class Administration:
    """What *actor* does to *store*. Every method raises `LocalError` saying what cannot be done, and why."""

    def __init__(self, store: Store, actor: Actor, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.store = store
        self.actor = actor
        self._now_ns = now_ns

    # Subscribers

    async def add(self, record: SubscriberRecord) -> None:
        """Add a subscriber."""
        await self.store.subscribers.add(record)
        key = record.psks[0].key_id.hex() if record.psks else ""
        await self.acted(AdminAct.ADD, subscriber=record.name, identity=record.identities[0], credential=key)

    async def remove(self, name: str) -> SubscriberRecord:
        """Remove a subscriber with its keys; return what it was."""
        record = await self.store.subscribers.get(name)
        await self.store.subscribers.remove(record.name)
        await self.acted(AdminAct.REMOVE, subscriber=record.name, identity=record.identities[0])
        return record

    async def set_enabled(self, name: str, enabled: bool) -> SubscriberRecord:
        """Serve a subscriber, or refuse everything it asks and everything asked for it."""
        record = await self.store.subscribers.get(name)
        await self.store.subscribers.set_enabled(record.name, enabled)
        act = AdminAct.ENABLE if enabled else AdminAct.DISABLE
        await self.acted(act, subscriber=record.name, identity=record.identities[0])
        return record

    # Invitations and devices

    async def invite(
        self,
        identity: str,
        *,
        minutes: float,
        url: str | None,
        groups: Sequence[str] = (),
        secrets: Mapping[str, Secret] | None = None,
        add_missing: bool = True,
    ) -> NewInvitation:
        """Invite one device of the owner of *identity*, who is added first where *add_missing* allows it."""
        if not 0 < minutes <= 527_040:
            raise LocalError("an invitation lives more than 0 minutes, and a year at most")
        identity = normal_identity(identity)
        owner = await self.store.subscribers.principal_of(identity)
        if owner is not None and owner.is_kms:
            raise LocalError(f"{identity} is another KMS: it has no devices")
        if owner is None and not add_missing:
            raise LocalError(f"there is no user with the identity {identity}")
        if owner is None:
            wanted = tuple(map(normal_identity, groups))
            await self.store.subscribers.add(
                SubscriberRecord(name=identity, identities=(identity,), groups=wanted)
            )
        name = identity if owner is None else owner.name
        given = {identity: secrets} if secrets else {}
        (invited,) = await invite(self.store, [(name, identity)], minutes=minutes, url=url, secrets=given)
        await self.acted(
            AdminAct.INVITE,
            subscriber=name,
            identity=identity,
            credential=f"invitation {invited.record.number}",
        )
        return invited

    async def uninvite(self, number: str) -> InvitationRecord | None:
        """Take an invitation back and return it, None if none of that number is open."""
        number = parse_number(number)
        record = await self.store.devices.invitation(number)
        if record is None or not await self.store.devices.revoke_invitation(number):
            return None
        await self.acted(
            AdminAct.UNINVITE,
            subscriber=record.subscriber,
            identity=record.identity,
            credential=f"invitation {number}",
        )
        return record

    async def revoke_device(self, identifier: str) -> tuple[DeviceRecord, bool] | None:
        """Destroy the keys of a device; return it and whether that changed it, None if there is none."""
        device = await self.store.devices.device(identifier)
        if device is None:
            return None
        changed = await self.store.devices.revoke_device(device.device, now_s=self._now_s())
        if changed:
            await self.acted(
                AdminAct.REVOKE, subscriber=device.subscriber, identity=device.identity,
                credential=device.device, detail=device.name,
            )  # fmt: skip
        return device, changed

    # Groups

    async def add_members(self, group: str, members: Sequence[str]) -> None:
        """Make a group, or add members to it."""
        await self.store.subscribers.add_group(group, members)
        await self.acted(AdminAct.ADD_MEMBERS, identity=normal_identity(group), detail=" ".join(members))

    async def remove_members(self, group: str, members: Sequence[str]) -> None:
        """Take members out of a group, or without any remove the group."""
        if members:
            await self.store.subscribers.remove_members(group, members)
        else:
            await self.store.subscribers.remove_group(group)
        detail = " ".join(members) or "the group"
        await self.acted(AdminAct.REMOVE_MEMBERS, identity=normal_identity(group), detail=detail)

    # Policy and keys

    async def put_policy(self, text: str) -> int:
        """Put a policy in force in the store; return how many rules it has. Raises `PolicyError`."""
        policy = parse_policy(text)
        await self.store.policies.put(text, author=self.actor.name, now_s=self._now_s())
        await self.acted(AdminAct.PUT_POLICY, detail=f"{len(policy.rules)} rules")
        return len(policy.rules)

    async def rotate_tpk(self) -> TpkRecord:
        """Seal new tickets with a new key."""
        key = await self.store.ticket_keys.rotate(now_s=self._now_s())
        await self.acted(AdminAct.ROTATE_TPK, credential=key.key_id.hex())
        return key

    async def destroy_tpk(self, key_id: bytes) -> None:
        """Destroy a ticket protection key: its tickets resolve no more."""
        await self.store.ticket_keys.destroy(key_id)
        await self.acted(AdminAct.DESTROY_TPK, credential=key_id.hex())

    async def acted(self, act: AdminAct, **about: Unpack[About]) -> None:
        """Put one act into the audit log."""
        await keep_act(self.store, self.actor, act, time_ns=self._now_ns(), **about)

    def _now_s(self) -> int:
        return self._now_ns() // 1_000_000_000
