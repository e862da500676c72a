"""Carrying a plan out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sipmikey.kms.provisioning.acts import Provisioner
from sipmikey.kms.provisioning.plan import Change, Plan, What
from sipmikey.kms.stores.provisioned_users import ProvisionedUser
from sipmikey.mikey.errors import LocalError


@dataclass(slots=True, kw_only=True)
class Done:
    """What came of a plan: how many of each kind were carried out, and what could not be."""

    counts: dict[str, int] = field(default_factory=lambda: {what.value: 0 for what in What})
    problems: list[tuple[str, str]] = field(default_factory=list)


async def synchronise(
    provisioner: Provisioner, plan: Plan, progress: Callable[[int], None] = lambda count: None
) -> Done:
    """Carry *plan* out, those who leave first. A change that cannot be made is a problem and not the end."""
    done = Done(problems=list(plan.problems))
    ordered = sorted(plan.changes, key=lambda change: change.what is not What.LEAVE)
    members: Mapping[str, set[str]] | None = None
    users: Mapping[str, ProvisionedUser] = {}
    for count, change in enumerate(ordered, 1):
        try:
            if change.what is What.MEMBERS:
                if members is None:
                    groups = await provisioner.store.subscribers.groups()
                    members = {group.uri: set(group.members) for group in groups}
                    users = {user.key: user for user in await provisioner.users()}
                if await _set_members(provisioner, change, members, users):
                    done.counts[change.what] += 1
            else:
                await _carry_out(provisioner, change)
                done.counts[change.what] += 1
        except LocalError as error:
            done.problems.append((change.shown, str(error)))
        progress(count)
    return done


async def _carry_out(provisioner: Provisioner, change: Change) -> None:
    here, there = change.user_here, change.user_there
    if change.what is What.ADD and there is not None:
        await provisioner.add(there.key, there.identities)
    elif change.what is What.LEAVE and here is not None:
        await provisioner.leave(here)
    elif change.what is What.RETURN and here is not None:
        await provisioner.come_back(here)
    elif change.what is What.CHANGE and here is not None and there is not None:
        await provisioner.change(here, there.identities)
    elif change.what is What.ADD_GROUP and change.group_there is not None:
        await provisioner.add_group(change.group_there.key, change.group_there.uri)
    elif change.what is What.REMOVE_GROUP and change.group_here is not None:
        await provisioner.remove_group(change.group_here)


async def _set_members(
    provisioner: Provisioner,
    change: Change,
    members: Mapping[str, set[str]],
    users: Mapping[str, ProvisionedUser],
) -> bool:
    """Make the people of a group its members here; return whether that changed anything."""
    group = change.group_there
    assert group is not None
    wanted = {users[key].identities[0] for key in group.members if key in users}
    ours = {user.identities[0] for user in users.values()}
    came, went = await provisioner.set_members(group.uri, wanted, ours, present=members.get(group.uri, set()))
    return bool(came or went)
