"""What clients do alike to users and to groups by SCIM (RFC 7644 section 3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from scim2_models import Context, NotFoundException, PatchOp, PreconditionFailedException, SearchRequest

from sipmikey.kms.provisioning.acts import Provisioner
from sipmikey.kms.scim.description import MAX_RESULTS
from sipmikey.kms.scim.models import ScimGroup, ScimUser, version_of
from sipmikey.kms.stores.provisioned_users import ProvisionedGroup, ProvisionedUser

Model = TypeVar("Model", ScimUser, ScimGroup)
Kept = TypeVar("Kept", ProvisionedUser, ProvisionedGroup)


class Resources(ABC, Generic[Model, Kept]):
    """Resources of one type. Every method raises `SCIMException` for what cannot be done."""

    model: type[Model]
    patch_model: type[PatchOp[Model]]
    word: ClassVar[str]
    """What one of them is called."""

    def __init__(self, provisioner: Provisioner, base: str) -> None:
        self._provisioner = provisioner
        self._kept = provisioner.store.provisioned
        self._base = base

    async def get(self, key: str) -> tuple[str, Model]:
        """Return the entity tag of a resource, and the resource."""
        kept = await self._found(key)
        return version_of(kept), await self._shown(kept)

    @abstractmethod
    async def create(self, fields: Mapping[str, Any]) -> tuple[str, Model]:
        """Add a resource."""

    async def replace(self, key: str, fields: Mapping[str, Any], condition: str) -> tuple[str, Model]:
        """Replace all that is known of a resource."""
        kept = await self._found(key, condition)
        resource = self.model.model_validate(fields, scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST)
        return await self._changed(kept, resource)

    async def patch(self, key: str, fields: Mapping[str, Any], condition: str) -> tuple[str, Model]:
        """Change a part of what is known of a resource."""
        kept = await self._found(key, condition)
        resource = await self._shown(kept)
        patch = self.patch_model.model_validate(fields, scim_ctx=Context.RESOURCE_PATCH_REQUEST)
        patch.patch(resource)
        return await self._changed(kept, resource)

    async def delete(self, key: str, condition: str) -> None:
        """Remove a resource with all that belongs to it."""
        await self._remove(await self._found(key, condition))

    @abstractmethod
    async def search(self, search: SearchRequest[Any]) -> tuple[int, int, list[Model]]:
        """Return how many resources are found, the number of the first shown (from 1), and those shown."""

    # Inside

    async def _found(self, key: str, condition: str = "") -> Kept:
        kept = await self._look_up(key)
        if kept is None:
            raise NotFoundException(detail=f"there is no such {self.word}")
        if condition not in ("", "*", version_of(kept)):
            raise PreconditionFailedException(detail=f"the {self.word} was changed meanwhile")
        return kept

    async def _shown(self, kept: Kept) -> Model:
        (shown,) = await self._all_shown([kept])
        return shown

    @abstractmethod
    async def _look_up(self, key: str) -> Kept | None: ...

    @abstractmethod
    async def _changed(self, kept: Kept, resource: Model) -> tuple[str, Model]: ...

    @abstractmethod
    async def _remove(self, kept: Kept) -> None: ...

    @abstractmethod
    async def _all_shown(self, found: Sequence[Kept]) -> list[Model]: ...


def page_of(search: SearchRequest[Any]) -> tuple[int, int]:
    """Return the number of the first resource to show (from 1), and how many at most."""
    count = MAX_RESULTS if search.count is None else min(search.count, MAX_RESULTS)
    return max(1, search.start_index or 1), count
