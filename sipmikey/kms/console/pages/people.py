"""Users, devices, groups and invitations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from starlette.responses import Response

from sipmikey.kms.administration.devices import last_uses_of, state
from sipmikey.kms.console.console_request import ConsoleRequest
from sipmikey.kms.console.roles import Permission
from sipmikey.kms.enrolment.records import MAX_TRIES, DeviceRecord
from sipmikey.kms.subscribers import SubscriberRecord, normal_identity
from sipmikey.mikey.errors import LocalError

ROWS = 50
MEMBERS = 20
"""Members of a group that its row shows."""

T = TypeVar("T")


async def users(asked: ConsoleRequest) -> Response:
    """List users by name from some text on; an exact name or identity leads to its page."""
    after = asked.query.get("after", "")
    sought = asked.query.get("find", "").strip()
    if sought:
        try:
            record = await asked.store.subscribers.get(sought)
        except LocalError:
            after = sought  # names that begin with it come next
        else:
            return asked.back(f"/user?{urlencode({'name': record.name})}")
    found = [record async for record in asked.store.subscribers.records(after=after, limit=ROWS + 1)]
    shown, last = _page(found)
    count = await asked.store.subscribers.count()
    return asked.page("users", found=shown, more=last and last.name, count=count, sought=sought)


def _page(found: Sequence[T]) -> tuple[Sequence[T], T | None]:
    """Return the rows to show of those read, which are one more, and the last of them where more follow."""
    return found[:ROWS], found[ROWS - 1] if len(found) > ROWS else None


async def user(asked: ConsoleRequest) -> Response:
    """Show one user with keys and devices."""
    record = await asked.store.subscribers.get(asked.query.get("name", ""))
    uses = await asked.store.audit.uses_of([psk.key_id.hex() for psk in record.psks])
    devices = await asked.store.devices.devices(record.name)
    device_uses = await last_uses_of(asked.store, devices)
    now_s = int(time.time())
    keys = [
        {
            "name": psk.key_id.decode(errors="backslashreplace"),
            "until_s": psk.valid_until_s,
            "used_s": uses.get(psk.key_id.hex()),
            "over": psk.valid_until_s is not None and psk.valid_until_s <= now_s,
        }
        for psk in record.psks
    ]
    shown = [(device, state(device, now_s), device_uses.get(device.device)) for device in devices]
    return asked.page("user", record=record, keys=keys, devices=shown)


async def add_user(asked: ConsoleRequest) -> Response:
    """Add a user, who has no key before a device is invited."""
    identities = tuple(dict.fromkeys(map(normal_identity, asked.form.get("identities", "").split())))
    if not identities:
        raise LocalError("a user needs an identity, e.g. sip:alice@example.com")
    record = SubscriberRecord(
        name=asked.form.get("name", "").strip() or identities[0],
        identities=identities,
        groups=tuple(map(normal_identity, asked.form.get("groups", "").split())),
    )
    await asked.admin.add(record)
    return asked.back(f"/user?{urlencode({'name': record.name, 'said': 'added'})}")


async def remove_user(asked: ConsoleRequest) -> Response:
    """Remove a user with all keys."""
    await asked.admin.remove(_named(asked))
    return asked.back("/users?said=removed")


async def enable_user(asked: ConsoleRequest) -> Response:
    """Serve a user again."""
    record = await asked.admin.set_enabled(_named(asked), True)
    return asked.back(f"/user?{urlencode({'name': record.name, 'said': 'enabled'})}")


async def disable_user(asked: ConsoleRequest) -> Response:
    """Refuse everything a user asks."""
    record = await asked.admin.set_enabled(_named(asked), False)
    return asked.back(f"/user?{urlencode({'name': record.name, 'said': 'disabled'})}")


def _named(asked: ConsoleRequest) -> str:
    return asked.form.get("name", "")


async def devices(asked: ConsoleRequest) -> Response:
    """List the devices of one user, or those of all, the newest first."""
    owner, after = asked.query.get("user", "").strip(), asked.query.get("after", "")
    now_s = int(time.time())
    store = asked.store.devices
    found: Sequence[DeviceRecord]
    if owner:
        found, last = await store.devices(owner), None
        count = len(found)
    else:
        found, last = _page(await store.page(after=after, limit=ROWS + 1))
        count = await store.count()
    uses = await last_uses_of(asked.store, found)
    shown = [(device, state(device, now_s), uses.get(device.device)) for device in found]
    return asked.page("devices", devices=shown, count=count, owner=owner, more=last and last.device)


async def revoke_device(asked: ConsoleRequest) -> Response:
    """Destroy the keys of a device."""
    if await asked.admin.revoke_device(asked.form.get("device", "")) is None:
        raise LocalError("there is no such device")
    return asked.back("/devices?said=revoked")


async def groups(asked: ConsoleRequest) -> Response:
    """List groups and the first of their members."""
    store, after = asked.store.subscribers, asked.query.get("after", "")
    shown, last = _page(await store.group_page(after=after, limit=ROWS + 1, members=MEMBERS))
    return asked.page("groups", groups=shown, more=last and last[0].uri, count=await store.count_groups())


async def add_members(asked: ConsoleRequest) -> Response:
    """Make a group, or add members to it."""
    await asked.admin.add_members(asked.form.get("group", ""), asked.form.get("members", "").split())
    return asked.back("/groups?said=changed")


async def remove_members(asked: ConsoleRequest) -> Response:
    """Take members out of a group, or remove it."""
    members = asked.form.get("members", "").split()
    if not members and asked.form.get("whole") != "yes":
        raise LocalError("name the members to take out")
    await asked.admin.remove_members(asked.form.get("group", ""), members)
    return asked.back("/groups?said=changed")


async def invitations(asked: ConsoleRequest) -> Response:
    """List invitations. Codes are not kept and not shown."""
    now_s = int(time.time())
    after = asked.query.get("after", "")
    found, last = _page(await asked.store.devices.invitation_page(after=after, limit=ROWS + 1))
    shown = [(record, record.open_at(now_s)) for record in found]
    identity = asked.query.get("identity", "")
    return asked.page(
        "invitations", invitations=shown, tries=MAX_TRIES, identity=identity,
        minutes=asked.settings.invitation_minutes, more=last and last.number,
    )  # fmt: skip


async def invite(asked: ConsoleRequest) -> Response:
    """Invite a device, and show its code once. Who may not add users may invite those there are."""
    try:
        minutes = float(asked.form.get("minutes") or asked.settings.invitation_minutes)
    except ValueError:
        raise LocalError("the minutes are a number") from None
    invited = await asked.admin.invite(
        asked.form.get("identity", "").strip(),
        minutes=minutes,
        url=asked.settings.device_url,
        add_missing=asked.may(Permission.CHANGE_USERS),
    )
    return asked.page("invited", invited=invited, minutes=minutes, picture=_qr(invited.uri))


def _qr(uri: str | None) -> str:
    import segno

    if uri is None:
        return ""
    return segno.make(uri, micro=False).svg_inline(
        scale=5, border=4, light="#fff", title="QR of the invitation"
    )


async def take_back(asked: ConsoleRequest) -> Response:
    """Take an invitation back."""
    if await asked.admin.uninvite(asked.form.get("number", "")) is None:
        raise LocalError("there is no open invitation of that number")
    return asked.back("/invitations?said=taken%20back")
