"""`sipmikey kms user invite`: a code that makes a phone of a device, once."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.kms.common import open_configured, opened, output
from sipmikey.cli.kms.configuration import load
from sipmikey.cli.kms.enrolment import public_url
from sipmikey.cli.kms.users.acts import AdminAct, acted
from sipmikey.cli.output import Output, timestamp
from sipmikey.cli.qr import qr_text
from sipmikey.kms.enrolment.codes import NUMBERS, Code, new_code, parse_number, uri_of
from sipmikey.kms.enrolment.profile import SIP_PASSWORD
from sipmikey.kms.enrolment.records import MAX_TRIES, InvitationRecord
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import SubscriberRecord, normal_identity
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

DRAWS = 8
"""How often new codes are drawn when another command took a number of theirs meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """One invitation that was made. ``uri``: None where nothing tells the KMS's own URL."""

    record: InvitationRecord
    code: Code
    uri: str | None

    def document(self) -> dict[str, object]:
        """Return what a program needs of it. It holds the code."""
        return {
            "subscriber": self.record.subscriber,
            "identity": self.record.identity,
            "number": self.record.number,
            "code": self.code.written(),
            "uri": self.uri,
            "expires_s": self.record.expires_s,
        }


async def invite(
    store: Store,
    wanted: Sequence[tuple[str, str]],
    *,
    minutes: float,
    url: str | None,
    secrets: Mapping[str, Mapping[str, Secret]],
) -> list[Invited]:
    """Make one invitation for each (subscriber, identity) of *wanted*, all or none.

    *secrets*: by identity, what else its device gets. Raises `LocalError` if numbers have run out.
    """
    now_s = int(time.time())
    for _ in range(DRAWS):
        codes = _codes(len(wanted), await store.devices.numbers())
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            keys = list(pool.map(Code.key, codes))
        records = [
            InvitationRecord(
                number=code.number,
                subscriber=subscriber,
                identity=identity,
                key=key,
                created_s=now_s,
                expires_s=now_s + round(minutes * 60),
                secrets=secrets.get(identity, {}),
            )
            for code, key, (subscriber, identity) in zip(codes, keys, wanted, strict=True)
        ]
        if await store.devices.invite(records):
            return [
                Invited(record=record, code=code, uri=None if url is None else uri_of(url, code))
                for record, code in zip(records, codes, strict=True)
            ]
    raise LocalError("other commands took the numbers that were drawn: try again")


def _codes(count: int, taken: Set[str]) -> list[Code]:
    """Draw *count* codes with numbers of their own, none of them *taken*.

    Raises `LocalError` where more than half of all numbers would be in use: draws would become long.
    """
    if len(taken) + count > NUMBERS // 2:
        raise LocalError(
            f"{len(taken)} invitations have numbers, and {count} more are too many: they are free again"
            " 30 days after an invitation is over"
        )
    found: dict[str, Code] = {}
    while len(found) < count:
        code = new_code(os.urandom)
        if code.number not in taken:
            found.setdefault(code.number, code)
    return list(found.values())


async def invite_command(args: argparse.Namespace) -> int:
    """Invite one device of a user."""
    identity = normal_identity(args.identity)
    configuration = load(args.dir)
    minutes = configuration.enrolment.invitation_minutes if args.minutes is None else args.minutes
    if minutes <= 0:
        raise LocalError("--minutes is more than 0")
    url = args.url or public_url(configuration)
    secrets = {}
    if args.sip_password_file is not None:
        secrets[identity] = {SIP_PASSWORD: read_secret_file(args.sip_password_file, "--sip-password-file")}
    store = await open_configured(configuration)
    try:
        owner = await store.subscribers.principal_of(identity)
        if owner is None:
            groups = tuple(map(normal_identity, args.group))
            await store.subscribers.add(
                SubscriberRecord(name=identity, identities=(identity,), groups=groups)
            )
        name = identity if owner is None else owner.name
        (invited,) = await invite(store, [(name, identity)], minutes=minutes, url=url, secrets=secrets)
        await acted(
            store,
            AdminAct.INVITE,
            subscriber=name,
            identity=identity,
            credential=f"invitation {invited.record.number}",
        )
    finally:
        await store.close()
    _show(output(args), invited, minutes, qr=not args.no_qr)
    return ExitCode.OK


def _show(out: Output, invited: Invited, minutes: float, *, qr: bool) -> None:
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
        found = {record.number: record for record in await store.devices.invitations()}
        if number not in found or not await store.devices.revoke_invitation(number):
            raise CommandFailed(
                f"there is no open invitation {number}", code=ExitCode.USAGE, reason="no-invitation"
            )
        record = found[number]
        await acted(
            store,
            AdminAct.UNINVITE,
            subscriber=record.subscriber,
            identity=record.identity,
            credential=f"invitation {number}",
        )
    out = output(args)
    out.document({"type": "kms.user.uninvited", "number": number, "identity": record.identity})
    out.text(f"the invitation {number} of {record.identity} is taken back")
    return ExitCode.OK
