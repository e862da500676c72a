"""What it takes to make the users here those of a directory: computed first, so that it can be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sipmikey.kms.provisioning.people import DirectoryGroup, DirectoryUser, Found
from sipmikey.kms.stores.provisioned_users import ProvisionedGroup, ProvisionedUser
from sipmikey.mikey.errors import LocalError

FEW: Final = 5
"""So many may leave at once whatever the share of all."""


class What(StrEnum):
    """What becomes of a user or group."""

    ADD = "add"
    CHANGE = "change"
    RETURN = "return"
    LEAVE = "leave"
    ADD_GROUP = "group-add"
    MEMBERS = "group-members"
    REMOVE_GROUP = "group-remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. ``here``: the user or group as it is; ``there``: as the directory has it."""

    what: What
    shown: str
    user_here: ProvisionedUser | None = None
    user_there: DirectoryUser | None = None
    group_here: ProvisionedGroup | None = None
    group_there: DirectoryGroup | None = None


@dataclass(slots=True, kw_only=True)
class Plan:
    """All ``changes``, in their order, and the ``problems`` of entries that make none."""

    changes: list[Change] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return how many changes there are of each kind."""
        found = Counter(change.what for change in self.changes)
        return {what.value: found[what] for what in What}


def plan_of(found: Found, users: Sequence[ProvisionedUser], groups: Sequence[ProvisionedGroup]) -> Plan:
    """Return what makes *users* and *groups*, all that the source has here, those *found*."""
    plan = Plan(problems=list(found.problems))
    here = {user.key: user for user in users}
    there = _without_clashes(found, plan)
    plan.changes += _of_users(here, there)
    gone = [user for key, user in here.items() if key not in there and key not in found.unusable]
    plan.changes += [
        Change(what=What.LEAVE, shown=user.identities[0], user_here=user)
        for user in gone
        if user.enabled or not user.closed
    ]
    known = {group.key: group for group in groups if group.key not in found.unusable}
    plan.changes += _of_groups(known, found.groups)
    return plan


def check_leavers(plan: Plan, users: Sequence[ProvisionedUser], *, percent: float) -> None:
    """Raise `LocalError` where so many would leave that the filter is more likely wrong."""
    leaving = sum(change.what is What.LEAVE for change in plan.changes)
    present = sum(not user.closed for user in users)
    if leaving > FEW and leaving > present * percent / 100:
        raise LocalError(
            f"{leaving} of {present} users would leave, more than ldap.leavers_percent allows: look at the"
            " filter with --dry-run; --force does it"
        )
    if leaving and leaving == present > 1:
        raise LocalError("all users would leave: look at the filter with --dry-run; --force does it")


def _without_clashes(found: Found, plan: Plan) -> Mapping[str, DirectoryUser]:
    """Return the users by key; an identity that two of them have is a problem of the later one."""
    there: dict[str, DirectoryUser] = {}
    owners: dict[str, DirectoryUser] = {}
    for user in found.users:
        clash = next((uri for uri in user.identities if uri in owners), None)
        if user.key in there:
            plan.problems.append((user.shown, "its key is another entry's too"))
        elif clash is not None:
            plan.problems.append((user.shown, f"{clash} is {owners[clash].shown}'s too"))
            found.unusable.add(user.key)
        else:
            there[user.key] = user
            owners.update(dict.fromkeys(user.identities, user))
    return there


def _of_users(here: Mapping[str, ProvisionedUser], there: Mapping[str, DirectoryUser]) -> Iterator[Change]:
    for key, user in there.items():
        known = here.get(key)
        if known is None:
            yield Change(what=What.ADD, shown=user.identities[0], user_there=user)
            continue
        if known.closed:
            yield Change(what=What.RETURN, shown=user.identities[0], user_here=known, user_there=user)
        if known.identities != user.identities:
            shown = f"{known.identities[0]}: {' '.join(user.identities)}"
            yield Change(what=What.CHANGE, shown=shown, user_here=known, user_there=user)


def _of_groups(here: Mapping[str, ProvisionedGroup], there: Sequence[DirectoryGroup]) -> Iterator[Change]:
    for group in there:
        known = here.get(group.key)
        if known is not None and known.uri != group.uri:
            yield Change(what=What.REMOVE_GROUP, shown=known.uri, group_here=known)
            known = None
        if known is None:
            yield Change(what=What.ADD_GROUP, shown=group.uri, group_there=group)
        yield Change(what=What.MEMBERS, shown=group.uri, group_here=known, group_there=group)
    keys = {group.key for group in there}
    for key, known in here.items():
        if key not in keys:
            yield Change(what=What.REMOVE_GROUP, shown=known.uri, group_here=known)
