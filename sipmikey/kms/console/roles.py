"""Roles of the console, and what each may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

GROUP_PREFIX: Final = "group:"
"""What the name of a group of the OpenID provider begins with. No person is called so."""


class Permission(StrEnum):
    """What a page or an act asks of who is signed in."""

    SEE = "see"
    SEE_KEYS = "see ticket keys"
    SEE_AUDIT = "see the audit log"
    INVITE = "invite devices"
    REVOKE = "revoke devices"
    SWITCH = "disable and enable users"
    CHANGE_USERS = "add and remove users"
    CHANGE_GROUPS = "change groups"
    CHANGE_POLICY = "change the policy"
    CHANGE_KEYS = "rotate and destroy ticket keys"


class Role(StrEnum):
    """What somebody is. The order is that of power: who is several is the first of them."""

    ADMINISTRATOR = "administrator"
    HELP_DESK = "help desk"
    AUDITOR = "auditor"


ALLOWED: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.ADMINISTRATOR: frozenset(Permission),
        Role.HELP_DESK: frozenset({Permission.SEE, Permission.INVITE, Permission.REVOKE, Permission.SWITCH}),
        Role.AUDITOR: frozenset({Permission.SEE, Permission.SEE_KEYS, Permission.SEE_AUDIT}),
    }
)


class People:
    """Which names have which role. A name is an address, a URI, or ``group:NAME`` of the OIDC provider."""

    def __init__(self, names: Mapping[Role, Iterable[str]]) -> None:
        self._names = {role: frozenset(map(str.casefold, names.get(role, ()))) for role in Role}

    def role_of(self, names: Iterable[str]) -> Role | None:
        """Return the most powerful role that any of *names* has, None where none has one."""
        found = set(map(str.casefold, names))
        return next((role for role, have in self._names.items() if have & found), None)
