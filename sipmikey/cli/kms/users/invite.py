"""`sipmikey kms user invite`: a code that makes a phone of a device, once."""

from __future__ import annotations

import argparse
import time

from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.kms.common import open_configured, opened, output
from sipmikey.cli.kms.configuration import load
from sipmikey.cli.kms.enrolment import public_url
from sipmikey.cli.kms.users.acts import administration
from sipmikey.cli.output import Output, timestamp
from sipmikey.cli.qr import qr_text
from sipmikey.kms.administration.invite import NewInvitation
from sipmikey.kms.enrolment.codes import parse_number
from sipmikey.kms.enrolment.profile import SIP_PASSWORD
from sipmikey.kms.enrolment.records import MAX_TRIES, InvitationRecord
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError


async def invite_command(args: argparse.Namespace) -> int:
    """Invite one device of a user."""
    identity = normal_identity(args.identity)
    configuration = load(args.dir)
    minutes = configuration.enrolment.invitation_minutes if args.minutes is None else args.minutes
    if minutes <= 0:
        raise LocalError("--minutes is more than 0")
    url = args.url or public_url(configuration)
    secrets = None
    if args.sip_password_file is not None:
        secrets = {SIP_PASSWORD: read_secret_file(args.sip_password_file, "--sip-password-file")}
    store = await open_configured(configuration)
    try:
        invited = await administration(store).invite(
            identity, minutes=minutes, url=url, groups=args.group, secrets=secrets
        )
    finally:
        await store.close()
    _show(output(args), invited, minutes, qr=not args.no_qr)
    return ExitCode.OK


def _show(out: Output, invited: NewInvitation, minutes: float, *, qr: bool) -> None:
    out.document({"type": "kms.user.invited", **invited.document()})
    until = timestamp(invited.record.expires_s)[:16].replace("T", " ")
    out.text(
        f"{invited.record.identity} is invited: one device, once, within {minutes:g} minutes ({until} UTC)."
    )
    out.text(f"\n    {invited.code.written()}\n")
    if invited.uri is None:
        out.text("On the device: sipmikey setup CODE --kms https://ADDRESS-OF-THIS-KMS")
        out.text("Set enrolment.url in kms.toml to print an address and a QR too.")
        return
    out.text(f"On the device: sipmikey setup '{invited.uri}'")
    if qr and (picture := qr_text(invited.uri)):
        out.text(f"\n{picture}")
    out.text(
        "Hand it over by a way nobody else reads: who uses it first is this user. It is not shown again."
    )


async def list_command(args: argparse.Namespace) -> int:
    """List invitations."""
    out = output(args)
    now_s = int(time.time())
    async with opened(args) as store:
        found = await store.devices.invitations()
    shown = [record for record in found if args.all or record.open_at(now_s)]
    for record in shown:
        state = _state(record, now_s)
        out.document(
            {
                "type": "kms.user.invitation", "number": record.number, "subscriber": record.subscriber,
                "identity": record.identity, "state": state, "tries": record.tries,
                "created_s": record.created_s, "expires_s": record.expires_s, "used_s": record.used_s,
            }
        )  # fmt: skip
        tried = f"  {record.tries} of {MAX_TRIES} tries" if record.tries and state != "used" else ""
        out.text(f"{record.number}  {record.identity}  {state}  until {timestamp(record.expires_s)}{tried}")
    out.text(f"{len(shown)} invitation{'' if len(shown) == 1 else 's'}")
    return ExitCode.OK


def _state(record: InvitationRecord, now_s: int) -> str:
    for holds, word in (
        (record.used_s is not None, "used"),
        (record.revoked, "taken back"),
        (now_s >= record.expires_s, "expired"),
        (record.tries > MAX_TRIES, "tried too often"),
    ):
        if holds:
            return word
    return "open"


async def uninvite_command(args: argparse.Namespace) -> int:
    """Take an invitation back."""
    number = parse_number(args.number)
    async with opened(args) as store:
        record = await administration(store).uninvite(number)
    if record is None:
        raise CommandFailed(
            f"there is no open invitation {number}", code=ExitCode.USAGE, reason="no-invitation"
        )
    out = output(args)
    out.document({"type": "kms.user.uninvited", "number": number, "identity": record.identity})
    out.text(f"the invitation {number} of {record.identity} is taken back")
    return ExitCode.OK
