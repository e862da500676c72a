"""From what a sign-on provider says of a person to the SIP identity that the person has here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.printable import printable

PLACE: Final = "{}"
"""Where the value of the claim goes in the pattern of an identity."""

MAX_VALUE: Final = 128

_VALUE = re.compile(r"[A-Za-z0-9._~+-]+(@[A-Za-z0-9.-]+)?")
_USER = re.compile(r"[A-Za-z0-9._~+-]+")


class SignOnNotAllowed(PeerError):
    """The person is known to the provider and may have no device here; which rule says so is not told."""

    reason: ClassVar[str] = "sign-on-not-allowed"
    http_status: ClassVar[int] = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRule:
    """``claim`` is put in the place of ``{}`` in the pattern ``identity``: ``sip:{}@example.com``.

    ``allowed_groups``: with any, the person must be in one of them by ``groups_claim``.
    Raises `LocalError` for a pattern that names no identity.
    """

    claim: str
    identity: str
    groups_claim: str = "groups"
    allowed_groups: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.identity.count(PLACE) != 1:
            raise LocalError(f"the pattern of an identity has {PLACE} once, as in sip:{PLACE}@example.com")
        if "*" in self.identity:
            raise LocalError("the pattern of an identity has no *")
        if self.identity != PLACE:
            normal_identity(self.identity.replace(PLACE, "user" if "@" in self.identity else "user@host"))

    def identity_of(self, claims: Mapping[str, Any]) -> str:
        """Return the canonical identity of the person. Raises `SignOnNotAllowed`, which says why."""
        self._check_groups(claims)
        value = claims.get(self.claim)
        if not isinstance(value, str) or not value:
            raise SignOnNotAllowed(f"the ID token has no text {printable(self.claim, most=40)}")
        if self.claim == "email" and claims.get("email_verified") is not True:
            raise SignOnNotAllowed("the provider has not verified the address in email")
        if len(value) > MAX_VALUE:
            raise SignOnNotAllowed(f"{self.claim} has more than {MAX_VALUE} characters")
        return self._written(value)

    def _written(self, value: str) -> str:
        """Return the identity with *value* in it: nothing in a value may reach beyond its place."""
        shown = printable(value, most=60)
        if self.identity != PLACE:
            allowed = _USER if "@" in self.identity else _VALUE
            if not allowed.fullmatch(value):
                raise SignOnNotAllowed(f"{self.claim} {shown!r} cannot be a part of an identity")
        try:
            identity = normal_identity(self.identity.replace(PLACE, value))
        except LocalError:
            identity = "*"
        if "*" in identity or not identity.isprintable():
            raise SignOnNotAllowed(f"{self.claim} {shown!r} makes no identity")
        return identity

    def _check_groups(self, claims: Mapping[str, Any]) -> None:
        if not self.allowed_groups:
            return
        groups = claims.get(self.groups_claim)
        found = {name for name in groups if isinstance(name, str)} if isinstance(groups, list) else set()
        if not found & self.allowed_groups:
            raise SignOnNotAllowed("the person is in none of the groups that may have devices")
