"""Groups by SCIM. What a group is called is made an identity of it, which the policy can name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from scim2_models import (
    Context,
    InvalidValueException,
    PatchOp,
    SearchRequest,
    UniquenessException,
)

from sipmikey.kms.provisioning.acts import Provisioner
from sipmikey.kms.provisioning.people import Pattern, slug
from sipmikey.kms.scim.models import ScimGroup, group_document, group_of
from sipmikey.kms.scim.resources import Resources, page_of
from sipmikey.kms.stores.provisioned_users import ProvisionedGroup, ProvisionedUser
from sipmikey.mikey.errors import LocalError

MAX_TEXT: Final = 255


class Groups(Resources[ScimGroup, ProvisionedGroup]):
    """What clients do to groups. Every method raises `SCIMException` for what cannot be done.

    The identity of a group is made of its first name and stays: rules of the policy may name it.
    """

    model = ScimGroup
    patch_model = PatchOp[ScimGroup]
    word = "group"

    def __init__(self, provisioner: Provisioner, pattern: Pattern, base: str) -> None:
        super().__init__(provisioner, base)
        self._pattern = pattern

    async def create(self, fields: Mapping[str, Any]) -> tuple[str, ScimGroup]:
        """Make a group."""
        group = ScimGroup.model_validate(fields, scim_ctx=Context.RESOURCE_CREATION_REQUEST)
        uri = self._uri(group)
        users = await self._users()
        wanted = _members(group, users)
        key = str(uuid.uuid4())
        try:
            await self._provisioner.add_group(key, uri, document=group_document(group))
        except LocalError as error:
            raise UniquenessException(detail=str(error)) from None
        await self._set_members(uri, wanted, users)
        return await self.get(key)

    async def search(self, search: SearchRequest[Any]) -> tuple[int, int, list[ScimGroup]]:
        """Return how many groups a search finds, the number of the first shown (from 1), and those shown."""
        start, count = page_of(search)
        kept = await self._kept.groups(self._provisioner.source)
        if search.filter is None:
            return len(kept), start, await self._all_shown(kept[start - 1 :][:count])
        found = [group for group in await self._all_shown(kept) if search.filter.match(group)]
        return len(found), start, found[start - 1 :][:count]

    # Inside

    async def _look_up(self, key: str) -> ProvisionedGroup | None:
        return await self._kept.group(self._provisioner.source, key)

    async def _remove(self, kept: ProvisionedGroup) -> None:
        await self._provisioner.remove_group(kept)

    async def _changed(self, kept: ProvisionedGroup, resource: ScimGroup) -> tuple[str, ScimGroup]:
        self._uri(resource)
        users = await self._users()
        wanted = _members(resource, users)
        await self._kept.keep_group(
            replace(
                kept,
                document=group_document(resource),
                version=kept.version + 1,
                changed_s=self._provisioner.now_s(),
            )
        )
        await self._set_members(kept.uri, wanted, users)
        return await self.get(kept.key)

    def _uri(self, group: ScimGroup) -> str:
        name = group.display_name or ""
        if len(name) > MAX_TEXT or not name.isprintable() or len(group.external_id or "") > MAX_TEXT:
            raise InvalidValueException(
                detail=f"displayName, externalId: printable, {MAX_TEXT} characters at most"
            )
        try:
            return self._pattern.identity(slug(name))
        except LocalError:
            raise InvalidValueException(
                detail="displayName: Latin letters and digits in it make the group's identity, 128 at most"
            ) from None

    async def _users(self) -> dict[str, ProvisionedUser]:
        return {user.key: user for user in await self._provisioner.users()}

    async def _set_members(
        self, uri: str, wanted: Sequence[str], users: Mapping[str, ProvisionedUser]
    ) -> None:
        groups = {group.uri: group for group in await self._provisioner.store.subscribers.groups()}
        present = set(groups[uri].members) if uri in groups else set()
        ours = [user.identities[0] for user in users.values()]
        await self._provisioner.set_members(
            uri, [users[key].identities[0] for key in wanted], ours, present=present
        )

    async def _all_shown(self, found: Sequence[ProvisionedGroup]) -> list[ScimGroup]:
        if not found:
            return []
        groups = {group.uri: group.members for group in await self._provisioner.store.subscribers.groups()}
        owners = {user.identities[0]: user for user in await self._provisioner.users()}
        return [
            group_of(kept, [owners[uri] for uri in groups.get(kept.uri, ()) if uri in owners], self._base)
            for kept in found
        ]


def _members(group: ScimGroup, users: Mapping[str, ProvisionedUser]) -> list[str]:
    """Return the keys of the members of *group*. Raises `InvalidValueException` for one that is not there."""
    keys = [member.value or "" for member in group.members or ()]
    for key in keys:
        if key not in users:
            raise InvalidValueException(
                detail="members: there is no such user; groups in groups are not taken"
            )
    return keys
