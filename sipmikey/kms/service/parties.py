"""Whom a policy is asked about: an identity with the groups of its owner."""

from __future__ import annotations

from sipmikey.kms.policy.rules import Party
from sipmikey.kms.service.lookups import CredentialSource


async def party_of(credentials: CredentialSource, identity: str, *, look_up: bool = True) -> Party:
    """Return a canonical *identity* as a party.

    Its groups are those of the subscriber who owns it, by any of the subscriber's identities, or those of the
    identity itself where no subscriber here owns it. *look_up* False leaves that out, for policies that do
    not ask.
    """
    if not look_up:
        return Party(identities=(identity,))
    owner = await credentials.principal_of(identity)
    groups = owner.groups if owner is not None else tuple(await credentials.groups_of(identity))
    subscriber = owner is not None and owner.enabled and not owner.is_kms
    return Party(identities=(identity,), groups=groups, subscriber=subscriber)
