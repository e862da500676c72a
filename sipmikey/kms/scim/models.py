"""Users and groups as SCIM clients see them: the part of the core schemas that is kept here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field
from scim2_models import (
    URN,
    CaseExact,
    ComplexAttribute,
    Context,
    Email,
    GroupMembership,
    Meta,
    Mutability,
    Name,
    PhoneNumber,
    Reference,
    Required,
    Resource,
    ScimPolicy,
    Uniqueness,
)

from sipmikey.kms.stores.provisioned_users import ProvisionedGroup, ProvisionedUser

POLICY: Final = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
"""What clients send that is not kept is passed over; Entra's way to remove members is understood."""


class ScimUser(Resource[Any]):
    """A user. What else clients may send of one, passwords above all, is not kept."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    """The name by which the person signs in at the organisation."""

    name: Name | None = None
    """The person's name, to be shown."""

    display_name: str | None = None
    """What the person is called."""

    active: bool | None = None
    """True where the person may have a phone. False closes all devices at once."""

    emails: list[Email] | None = None
    """Mail addresses."""

    phone_numbers: list[PhoneNumber] | None = None
    """Telephone numbers."""

    groups: Annotated[list[GroupMembership] | None, Mutability.read_only] = None
    """The groups the person is in."""


ScimUser.__name__ = "User"


class ScimMember(ComplexAttribute):
    """A member of a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """Identifier of the user."""

    ref: Annotated[Reference[ScimUser] | None, Mutability.immutable] = Field(
        default=None, serialization_alias="$ref", validation_alias="$ref"
    )
    """Address of the user."""

    type: Annotated[str | None, Mutability.immutable] = Field(default=None, examples=["User"])
    """What the member is: a user."""


class ScimGroup(Resource[Any]):
    """A group. Its members are users."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    """What the group is called. Its first name makes the identity that rules of the policy name."""

    members: list[ScimMember] | None = None
    """The users who are in the group."""


ScimGroup.__name__ = "Group"


def user_document(user: ScimUser) -> str:
    """Return what is kept of *user* as text: what the client told, and nothing that is known otherwise."""
    fields = user.model_dump(scim_ctx=Context.DEFAULT)
    for name in ("schemas", "id", "meta", "groups", "active"):
        fields.pop(name, None)
    return json.dumps(fields, separators=(",", ":"))


def user_of(kept: ProvisionedUser, groups: Sequence[ProvisionedGroup], base: str) -> ScimUser:
    """Return a user as clients see it. *groups*: those it is in; *base*: address of this service."""
    user = ScimUser.model_validate(json.loads(kept.document))
    user.id = kept.key
    user.active = not kept.closed
    user.groups = [
        GroupMembership(
            value=group.key,
            ref=Reference(f"{base}/Groups/{group.key}"),
            display=shown_name(group),
            type="direct",
        )
        for group in groups
    ] or None
    user.meta = _meta("User", f"{base}/Users/{kept.key}", kept)
    return user


def group_document(group: ScimGroup) -> str:
    """Return what is kept of *group* as text; its members are kept as members."""
    fields = {"displayName": group.display_name, "externalId": group.external_id}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def group_of(kept: ProvisionedGroup, members: Sequence[ProvisionedUser], base: str) -> ScimGroup:
    """Return a group as clients see it."""
    fields = json.loads(kept.document)
    return ScimGroup(
        id=kept.key,
        display_name=fields["displayName"],
        external_id=fields.get("externalId"),
        members=[
            ScimMember(value=user.key, ref=Reference(f"{base}/Users/{user.key}"), type="User")
            for user in members
        ]
        or None,
        meta=_meta("Group", f"{base}/Groups/{kept.key}", kept),
    )


def shown_name(group: ProvisionedGroup) -> str:
    """Return what clients call a group."""
    return str(json.loads(group.document)["displayName"])


def attributes_of(user: ScimUser) -> Mapping[str, Sequence[str]]:
    """Return the attributes of which identities are made, the primary value first."""
    found: dict[str, list[str]] = {}
    for name, value in (("username", user.user_name), ("externalid", user.external_id)):
        if value:
            found[name] = [value]
    mails = sorted(user.emails or [], key=lambda entry: not entry.primary)
    numbers = sorted(user.phone_numbers or [], key=lambda entry: not entry.primary)
    found["emails"] = [entry.value for entry in mails if entry.value]
    found["phonenumbers"] = [entry.value for entry in numbers if entry.value]
    return found


def version_of(kept: ProvisionedUser | ProvisionedGroup) -> str:
    """Return the entity tag of a resource."""
    return f'W/"{kept.version}"'


def _meta(kind: str, location: str, kept: ProvisionedUser | ProvisionedGroup) -> Meta:
    return Meta(
        resource_type=kind,
        location=location,
        created=datetime.fromtimestamp(kept.created_s, UTC),
        last_modified=datetime.fromtimestamp(kept.changed_s, UTC),
        version=version_of(kept),
    )
