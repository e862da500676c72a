"""Users by SCIM."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scim2_models import (
    Context,
    InvalidValueException,
    PatchOp,
    SearchRequest,
    TooManyException,
    UniquenessException,
)

from sipmikey.kms.provisioning.acts import Provisioner
from sipmikey.kms.provisioning.people import Pattern, identities_of
from sipmikey.kms.scim.filters import equals
from sipmikey.kms.scim.models import ScimUser, attributes_of, user_document, user_of
from sipmikey.kms.scim.resources import Resources, page_of
from sipmikey.kms.stores.provisioned_users import MAX_DOCUMENT, ProvisionedGroup, ProvisionedUser
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.mikey.errors import LocalError

MAX_SEARCHED: Final = 20_000
"""Users among whom a filter other than on userName searches, one by one."""

MAX_USER_NAME: Final = 255


class Users(Resources[ScimUser, ProvisionedUser]):
    """What clients do to users. Every method raises `SCIMException` for what cannot be done."""

    model = ScimUser
    patch_model = PatchOp[ScimUser]
    word = "user"

    def __init__(self, provisioner: Provisioner, patterns: Sequence[Pattern], base: str) -> None:
        super().__init__(provisioner, base)
        self._patterns = patterns

    async def create(self, fields: Mapping[str, Any]) -> tuple[str, ScimUser]:
        """Add a user; one who is not active has no phone."""
        user = ScimUser.model_validate(fields, scim_ctx=Context.RESOURCE_CREATION_REQUEST)
        label, identities = await self._checked(user, None)
        key = str(uuid.uuid4())
        try:
            kept = await self._provisioner.add(key, identities, label=label, document=self._document(user))
        except LocalError as error:  # taken, or added at the same time
            raise UniquenessException(detail=str(error)) from None
        if user.active is False:
            await self._provisioner.leave(kept)
        return await self.get(key)

    async def search(self, search: SearchRequest[Any]) -> tuple[int, int, list[ScimUser]]:
        """Return how many users a search finds, the number of the first shown (from 1), and those shown."""
        start, count = page_of(search)
        if search.filter is None:
            total = await self._kept.count(self._provisioner.source)
            page = await self._kept.page(self._provisioner.source, start=start - 1, count=count)
            return total, start, await self._all_shown(page)
        name = equals(search.filter, "username")
        if name is not None:
            one = await self._kept.labelled(self._provisioner.source, name.lower())
            found = [] if one is None else [one]
            return len(found), start, await self._all_shown(found[start - 1 :][:count])
        if await self._kept.count(self._provisioner.source) > MAX_SEARCHED:
            raise TooManyException(detail="among so many users only userName can be searched for")
        everybody = await self._all_shown(await self._provisioner.users())
        matching = [user for user in everybody if search.filter.match(user)]
        return len(matching), start, matching[start - 1 :][:count]

    # Inside

    async def _look_up(self, key: str) -> ProvisionedUser | None:
        return await self._kept.user(self._provisioner.source, key)

    async def _remove(self, kept: ProvisionedUser) -> None:
        await self._provisioner.remove(kept)

    async def _changed(self, kept: ProvisionedUser, resource: ScimUser) -> tuple[str, ScimUser]:
        label, identities = await self._checked(resource, kept)
        try:
            changed = await self._provisioner.change(
                kept, identities, label=label, document=self._document(resource)
            )
        except LocalError as error:
            raise UniquenessException(detail=str(error)) from None
        active = resource.active is not False
        if active and kept.closed:
            await self._provisioner.come_back(changed)
        elif not active and not kept.closed:
            await self._provisioner.leave(changed)
        return await self.get(kept.key)

    async def _checked(self, user: ScimUser, kept: ProvisionedUser | None) -> tuple[str, tuple[str, ...]]:
        """Return label and identities of a user that may be so. Raises `SCIMException`."""
        name = user.user_name or ""
        if not name.strip() or len(name) > MAX_USER_NAME or not name.isprintable():
            raise InvalidValueException(
                attribute="userName", detail=f"userName has 1 to {MAX_USER_NAME} printable characters"
            )
        try:
            identities = identities_of(self._patterns, attributes_of(user))
            SubscriberRecord(name=identities[0], identities=identities)
        except LocalError as error:
            raise InvalidValueException(detail=str(error)) from None
        label = name.lower()
        other = await self._kept.labelled(self._provisioner.source, label)
        if other is not None and (kept is None or other.key != kept.key):
            raise UniquenessException(detail="there is a user of that userName already")
        return label, identities

    def _document(self, user: ScimUser) -> str:
        document = user_document(user)
        if len(document) > MAX_DOCUMENT:
            raise InvalidValueException(detail="so much is not kept of one user")
        return document

    async def _all_shown(self, found: Sequence[ProvisionedUser]) -> list[ScimUser]:
        """Return users with the groups they are in."""
        if not found:
            return []
        ties = {group.uri: group for group in await self._kept.groups(self._provisioner.source)}
        inside: dict[str, list[ProvisionedGroup]] = {}
        for group in await self._provisioner.store.subscribers.groups() if ties else ():
            if group.uri in ties:
                for member in group.members:
                    inside.setdefault(member, []).append(ties[group.uri])
        return [user_of(user, inside.get(user.identities[0], ()), self._base) for user in found]
