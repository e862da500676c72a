"""`sipmikey kms device`: the devices that were enrolled, and those that were lost."""

from __future__ import annotations

import argparse
import time

from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.kms.common import Actions, action, opened, output
from sipmikey.cli.kms.users.acts import administration
from sipmikey.cli.output import timestamp
from sipmikey.kms.administration.devices import last_uses, state


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `device` and what can be done with one."""
    parser = actions.add_parser("device", help="devices that were enrolled by an invitation")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    listing = action(
        verbs,
        "list",
        help="list devices, of all users or of one",
        examples="  sipmikey kms device list\n  sipmikey kms device list sip:alice@example.com --json\n",
        body=_list,
    )
    listing.add_argument("name", nargs="?", help="only those of this subscriber, by name or identity")
    revoke = action(
        verbs,
        "revoke",
        help="destroy the keys of one device that was lost; the user's other devices go on",
        examples="  sipmikey kms device revoke alice.3f2a91c0\n",
        body=_revoke,
    )
    revoke.add_argument("device", help="its identifier, as `device list` shows it")


async def _list(args: argparse.Namespace) -> int:
    out = output(args)
    now_s = int(time.time())
    async with opened(args) as store:
        found = await store.devices.devices(args.name)
        uses = await last_uses(store)
    for device in found:
        used_s = uses.get(device.device)
        out.document(
            {
                "type": "kms.device", "device": device.device, "name": device.name,
                "subscriber": device.subscriber, "identity": device.identity, "state": state(device, now_s),
                "enrolled_s": device.enrolled_s, "seen_s": device.seen_s, "used_s": used_s,
                "valid_until_s": device.valid_until_s, "revoked_s": device.revoked_s,
            }
        )  # fmt: skip
        parts = [device.device, device.name, device.identity, state(device, now_s)]
        parts.append(f"key until {_day(device.valid_until_s)}")
        if used_s is not None:
            parts.append(f"last ticket {timestamp(used_s)[:16]}Z")
        elif device.revoked_s is None:  # the last use of a destroyed certificate is not known any more
            parts.append("never used")
        out.text("  ".join(parts))
    out.text(f"{len(found)} device{'' if len(found) == 1 else 's'}")
    return ExitCode.OK


async def _revoke(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        found = await administration(store).revoke_device(args.device)
    if found is None:
        raise CommandFailed(
            f"there is no device {args.device}: `sipmikey kms device list` shows them",
            code=ExitCode.USAGE, reason="no-device",
        )  # fmt: skip
    device, changed = found
    out = output(args)
    out.document({"type": "kms.device.revoked", "device": device.device, "identity": device.identity})
    out.text(
        f"{device.device} ({device.name}) of {device.identity} is revoked"
        if changed
        else f"{device.device} was revoked before"
    )
    return ExitCode.OK


def _day(seconds: int) -> str:
    return timestamp(seconds)[:10]
