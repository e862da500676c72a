"""What another directory does to the users here: they come, change, leave and return. Each act is audited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from typing import Final

from sipmikey.kms.administration.audit_acts import Actor, AdminAct, keep_act
from sipmikey.kms.stores.database import Clash
from sipmikey.kms.stores.provisioned_users import ProvisionedGroup, ProvisionedUser
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.printable import printable

LDAP: Final = "ldap"
SCIM: Final = "scim"
"""Sources of users."""


class IdentityTaken(LocalError):
    """An identity belongs to somebody else here."""


class Provisioner:
    """Acts of *source* on *store*, in the audit log under the name of *actor*.

    A subscriber without a source is taken over by the first that has his primary identity. One of another
    source, and another KMS, is not.
    """

    def __init__(
        self, store: Store, source: str, actor: Actor, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.store = store
        self.source = source
        self._actor = actor
        self._now_ns = now_ns

    def now_s(self) -> int:
        """Return the time in Unix seconds."""
        return self._now_ns() // 1_000_000_000

    async def owner(self, identity: str) -> SubscriberRecord | None:
        """Return the subscriber who owns *identity*, or None."""
        found = await self.store.devices.owner_of(identity)
        return None if found is None else await self.store.subscribers.get(found.name)

    async def check_free(self, key: str, identities: Sequence[str]) -> SubscriberRecord | None:
        """Return the subscriber to take over, None for a new one. Raises `IdentityTaken`."""
        owners = {owner.name: owner for uri in identities if (owner := await self.owner(uri)) is not None}
        if not owners:
            return None
        if len(owners) > 1:
            raise IdentityTaken(f"the identities belong to several subscribers: {', '.join(sorted(owners))}")
        (owner,) = owners.values()
        tied = await self.store.provisioned.source_of(owner.name)
        if tied is not None and (tied.source, tied.key) != (self.source, key):
            raise IdentityTaken(f"{owner.identities[0]} is another user's, of {tied.source}")
        if owner.vouches_for:
            raise IdentityTaken(f"{owner.identities[0]} is another KMS")
        return owner

    async def add(
        self, key: str, identities: Sequence[str], *, label: str = "", document: str = ""
    ) -> ProvisionedUser:
        """Add a user, or take over the subscriber who has these identities. Raises `IdentityTaken`."""
        owner = await self.check_free(key, identities)
        now_s = self.now_s()
        name = identities[0] if owner is None else owner.name
        if owner is None:
            await self.store.subscribers.add(SubscriberRecord(name=name, identities=tuple(identities)))
        user = ProvisionedUser(
            source=self.source, key=key, subscriber=name, identities=tuple(identities), label=label,
            document=document, created_s=now_s, changed_s=now_s,
        )  # fmt: skip
        try:
            await self.store.provisioned.keep_user(user)
        except Clash:
            await self._take_back(name, was_there=owner is not None)
            raise IdentityTaken(f"{identities[0]} was added at the same time by somebody else") from None
        detail = printable(key, most=80)
        await self._acted(AdminAct.ADD, user, detail if owner is None else f"taken over: {detail}")
        if owner is not None:
            await self._change_identities(replace(user, identities=owner.identities), identities)
        return user

    async def _take_back(self, name: str, *, was_there: bool) -> None:
        """Remove a subscriber just added who could not be tied, unless somebody else has tied him."""
        if not was_there and await self.store.provisioned.source_of(name) is None:
            with suppress(LocalError):
                await self.store.subscribers.remove(name)

    async def change(
        self,
        user: ProvisionedUser,
        identities: Sequence[str],
        *,
        label: str | None = None,
        document: str | None = None,
    ) -> ProvisionedUser:
        """Give a user these identities; devices of one that is lost are closed. Raises `IdentityTaken`."""
        await self.check_free(user.key, [uri for uri in identities if uri not in user.identities])
        changed = replace(
            user, identities=tuple(identities), version=user.version + 1, changed_s=self.now_s(),
            document=user.document if document is None else document,
            label=user.label if label is None else label,
        )  # fmt: skip
        await self.store.provisioned.keep_user(changed)  # first: of two changes at once one is refused here
        await self._change_identities(user, identities)
        return changed

    async def _change_identities(self, user: ProvisionedUser, identities: Sequence[str]) -> None:
        if tuple(identities) == user.identities:
            return
        await self.store.subscribers.set_identities(user.subscriber, identities)
        await self._acted(
            AdminAct.CHANGE, replace(user, identities=tuple(identities)), f"was {' '.join(user.identities)}"
        )
        lost = set(user.identities) - set(identities)
        await self._move_memberships(user.identities[0], identities[0], lost)
        await self._close_devices(user, lost)

    async def _move_memberships(self, old: str, new: str, lost: set[str]) -> None:
        """Carry memberships of identities that are lost over to the primary one."""
        for group in await self.store.subscribers.groups():
            gone = sorted(lost & set(group.members))
            if gone:
                await self.store.subscribers.remove_members(group.uri, gone)
            if old in gone:
                await self.store.subscribers.add_group(group.uri, [new])

    async def leave(self, user: ProvisionedUser) -> None:
        """Refuse everything the user asks and everything asked for him; close his devices at once."""
        await self.store.subscribers.set_enabled(user.subscriber, False)
        await self.store.provisioned.keep_user(self._next(user, closed=True))
        await self._acted(AdminAct.DISABLE, user)
        await self._close_devices(user, None)

    async def come_back(self, user: ProvisionedUser) -> None:
        """Serve a user again who had left. Devices that were closed need a new enrolment."""
        await self.store.subscribers.set_enabled(user.subscriber, True)
        await self.store.provisioned.keep_user(self._next(user, closed=False))
        await self._acted(AdminAct.ENABLE, user)

    def _next(self, user: ProvisionedUser, *, closed: bool) -> ProvisionedUser:
        return replace(user, closed=closed, version=user.version + 1, changed_s=self.now_s())

    async def remove(self, user: ProvisionedUser) -> None:
        """Remove a user with devices, keys and memberships."""
        await self.store.subscribers.remove(user.subscriber)
        await self._acted(AdminAct.REMOVE, user)

    async def _close_devices(self, user: ProvisionedUser, identities: set[str] | None) -> None:
        """Destroy the keys of devices and open invitations, of all the user's identities or of some."""
        now_s = self.now_s()
        for device in await self.store.devices.devices(user.subscriber):
            wanted = identities is None or device.identity in identities
            if wanted and await self.store.devices.revoke_device(device.device, now_s=now_s):
                await self._acted(AdminAct.REVOKE, user, device.name, credential=device.device)
        for record in await self.store.devices.open_invitations(user.subscriber):
            wanted = identities is None or record.identity in identities
            if wanted and await self.store.devices.revoke_invitation(record.number):
                await self._acted(AdminAct.UNINVITE, user, credential=f"invitation {record.number}")

    # Groups

    async def users(self) -> list[ProvisionedUser]:
        """Return all users of the source."""
        return await self.store.provisioned.users(self.source)

    async def set_members(
        self, uri: str, wanted: Iterable[str], ours: Iterable[str], *, present: Set[str]
    ) -> tuple[int, int]:
        """Make *wanted* the members of a group, as far as they are *ours*; return how many came and went.

        *present*: the members now; those whom somebody else put there stay. Identities are primary ones.
        """
        come = sorted(set(wanted) - present)
        go = sorted((present & set(ours)) - set(wanted))
        if come:
            await self.store.subscribers.add_group(uri, come)
            await self._acted_on_group(AdminAct.ADD_MEMBERS, uri, " ".join(come))
        if go:
            await self.store.subscribers.remove_members(uri, go)
            await self._acted_on_group(AdminAct.REMOVE_MEMBERS, uri, " ".join(go))
        return len(come), len(go)

    async def add_group(self, key: str, uri: str, *, document: str = "") -> ProvisionedGroup:
        """Make a group, or take over the one that is there. Raises `IdentityTaken`."""
        now_s = self.now_s()
        await self.store.subscribers.add_group(uri)
        group = ProvisionedGroup(
            source=self.source, key=key, uri=uri, document=document, created_s=now_s, changed_s=now_s
        )
        if not await self.store.provisioned.tie_group(group):
            raise IdentityTaken(f"the group {uri} is kept elsewhere already")
        await self._acted_on_group(AdminAct.ADD_MEMBERS, uri, "")
        return group

    async def remove_group(self, group: ProvisionedGroup) -> None:
        """Remove a group."""
        await self.store.subscribers.remove_group(group.uri)
        await self._acted_on_group(AdminAct.REMOVE_MEMBERS, group.uri, "the group")

    async def _acted(
        self, act: AdminAct, user: ProvisionedUser, detail: str = "", *, credential: str = ""
    ) -> None:
        await keep_act(
            self.store, self._actor, act, time_ns=self._now_ns(), subscriber=user.subscriber,
            identity=user.identities[0], credential=credential, detail=detail,
        )  # fmt: skip

    async def _acted_on_group(self, act: AdminAct, uri: str, detail: str) -> None:
        await keep_act(
            self.store, self._actor, act, time_ns=self._now_ns(), identity=uri,
            detail=printable(detail, most=2000),
        )  # fmt: skip
