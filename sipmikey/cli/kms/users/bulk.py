"""`sipmikey kms user import | export`: many users at once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import create_private, open_configured, opened, output
from sipmikey.cli.kms.configuration import KmsConfiguration, load
from sipmikey.cli.kms.enrolment import profile_of, public_url
from sipmikey.cli.kms.users.acts import acted
from sipmikey.cli.kms.users.bundle import Bundle, write_bundle
from sipmikey.cli.kms.users.new_key import new_psk
from sipmikey.cli.kms.users.people import Person, Problem, is_json, read_people, write_csv
from sipmikey.kms.administration.audit_acts import AdminAct
from sipmikey.kms.administration.devices import last_uses
from sipmikey.kms.administration.invite import NewInvitation, invite
from sipmikey.kms.enrolment.profile import SIP_PASSWORD
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.settings import ConfigurationError, read_text

CHUNK = 500
"""Users that share a transaction of invitations, and a step of the progress."""

INVITATION_COLUMNS = ("identity", "subscriber", "code", "uri", "number", "expires_s")
EXPORT_COLUMNS = ("identity", "name", "groups", "enabled", "keys", "devices", "last_used_s")


async def import_command(args: argparse.Namespace) -> int:
    """Add the users of a file."""
    if not args.dry_run and args.invitations is None and args.bundles is None:
        raise ConfigurationError(
            "say how users get their keys: --invitations FILE or --bundles DIR (or --dry-run)"
        )
    found = read_people(read_text(args.file), as_json=is_json(args.file))
    configuration = load(args.dir)
    store = await open_configured(configuration)
    try:
        people, existing, problems = await _compared(store, found.people, keep=args.existing)
        problems = sorted([*found.problems, *problems], key=lambda problem: problem.line)
        for problem in problems:
            _complain(args, problem)
        done: Sequence[object] = ()
        stopped = bool(problems) and not args.skip
        if not stopped and not args.dry_run:
            done = await _add(args, configuration, store, people)
    finally:
        await store.close()
    out = output(args)
    out.document(
        {
            "type": "kms.user.import", "file": args.file, "dry_run": args.dry_run, "added": len(done),
            "good": len(people), "existing": existing, "problems": len(problems),
        }
    )  # fmt: skip
    there = f", {existing} there already" if existing else ""
    wrong = f", {len(problems)} mistakes" if problems else ""
    if args.dry_run or stopped:
        out.text(f"{len(people)} users could be added{there}{wrong}; nothing was changed")
    else:
        out.text(f"{len(done)} users added{there}{wrong}")
    return ExitCode.USAGE if problems else ExitCode.OK


def _complain(args: argparse.Namespace, problem: Problem) -> None:
    out = output(args)
    out.document(
        {
            "type": "kms.user.problem", "file": args.file, "line": problem.line, "column": problem.column,
            "detail": problem.detail,
        }
    )  # fmt: skip
    if not args.json:
        print(problem.written(str(args.file)), file=sys.stderr)


async def _compared(
    store: Store, people: Sequence[Person], *, keep: bool
) -> tuple[list[Person], int, list[Problem]]:
    """Return those who can be added, how many are there already, and what is in their way."""
    names: set[str] = set()
    identities: dict[str, str] = {}
    key_ids: set[str] = set()
    async for record in store.subscribers.records():
        names.add(record.name)
        identities.update(dict.fromkeys(record.identities, record.name))
        key_ids.update(psk.key_id.decode(errors="replace") for psk in record.psks)
    good: list[Person] = []
    problems: list[Problem] = []
    existing = 0
    for person in people:
        owners = {identities[uri] for uri in person.record.identities if uri in identities}
        if owners and keep:
            existing += 1
            continue
        for column, clash in (
            ("identity", next((uri for uri in person.record.identities if uri in identities), None)),
            ("name", person.record.name if person.record.name in names else None),
            ("psk_id", person.psk_id if person.psk_id in key_ids else None),
        ):
            if clash is not None:
                problems.append(
                    Problem(line=person.line, column=column, detail=f"{clash} is at this KMS already")
                )
                break
        else:
            good.append(person)
    return good, existing, problems


async def _add(
    args: argparse.Namespace, configuration: KmsConfiguration, store: Store, people: Sequence[Person]
) -> Sequence[object]:
    if not people:
        return ()
    if args.bundles is not None:
        return await _with_bundles(args, configuration, store, people)
    return await _with_invitations(args, configuration, store, people)


async def _with_invitations(
    args: argparse.Namespace, configuration: KmsConfiguration, store: Store, people: Sequence[Person]
) -> Sequence[NewInvitation]:
    minutes = configuration.enrolment.invitation_minutes if args.minutes is None else args.minutes
    if minutes <= 0:
        raise ConfigurationError("--minutes is more than 0")
    url = args.url or public_url(configuration)
    passwords = {
        person.identity: {SIP_PASSWORD: person.sip_password}
        for person in people
        if person.sip_password is not None
    }
    done: list[NewInvitation] = []
    with create_private(args.invitations) as file:
        try:
            await store.subscribers.load([person.record for person in people])
            for chunk in _chunks(people):
                wanted = [(person.record.name, person.identity) for person in chunk]
                done += await invite(store, wanted, minutes=minutes, url=url, secrets=passwords)
                for invited in done[-len(chunk) :]:
                    record = invited.record
                    await acted(
                        store, AdminAct.INVITE, subscriber=record.subscriber, identity=record.identity,
                        credential=f"invitation {record.number}", detail=args.file.name,
                    )  # fmt: skip
                _tell(len(done), len(people))
        finally:  # the store does not keep codes: those already made are known only here
            file.write(write_csv([invited.document() for invited in done], INVITATION_COLUMNS))
    return done


async def _with_bundles(
    args: argparse.Namespace, configuration: KmsConfiguration, store: Store, people: Sequence[Person]
) -> Sequence[Bundle]:
    profile = profile_of(configuration)
    url = args.url or public_url(configuration)
    if url is None:
        raise ConfigurationError(
            "nothing tells the KMS's own URL: set enrolment.url in kms.toml, or give --url"
        )
    bundles = [
        Bundle(
            identity=person.identity,
            kms_url=url,
            psk=new_psk(person.identity, psk_id=person.psk_id, valid_days=person.valid_days),
            profile=profile,
            sip_password=person.sip_password,
        )
        for person in people
    ]
    records = [
        SubscriberRecord(
            name=person.record.name, identities=person.record.identities, groups=person.record.groups,
            psks=(bundle.psk,),
        )
        for person, bundle in zip(people, bundles, strict=True)
    ]  # fmt: skip
    try:
        args.bundles.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"{args.bundles}: {error.strerror}; name a new directory") from None
    for number, bundle in enumerate(bundles, 1):
        write_bundle(args.bundles, bundle)
        _tell(number, len(bundles))
    await store.subscribers.load(records)
    for record, bundle in zip(records, bundles, strict=True):
        await acted(
            store, AdminAct.ADD, subscriber=record.name, identity=bundle.identity,
            credential=bundle.psk.key_id.hex(), detail=args.file.name,
        )  # fmt: skip
    return bundles


def _chunks(people: Sequence[Person]) -> Iterator[Sequence[Person]]:
    for start in range(0, len(people), CHUNK):
        yield people[start : start + CHUNK]


def _tell(count: int, whole: int) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        end = "\n" if count == whole else ""
        print(f"\r{count} of {whole} users", end=end, file=sys.stderr, flush=True)


async def export_command(args: argparse.Namespace) -> int:
    """Write the users to a file."""
    as_json = args.json if args.file == "-" else is_json(Path(args.file))
    rows = []
    async with opened(args) as store:
        devices: dict[str, int] = {}
        uses = await store.audit.uses()
        by_device = await last_uses(store)
        used: dict[str, int] = {}
        for device in await store.devices.devices():
            if device.revoked_s is None:
                devices[device.subscriber] = devices.get(device.subscriber, 0) + 1
            last = by_device.get(device.device, 0)
            used[device.subscriber] = max(last, used.get(device.subscriber, 0))
        async for record in store.subscribers.records():
            keys = [uses.get(psk.key_id.hex(), 0) for psk in record.psks]
            last = max([used.get(record.name, 0), *keys])
            rows.append(
                {
                    "identity": list(record.identities), "name": record.name, "groups": list(record.groups),
                    "enabled": record.enabled, "keys": len(record.psks) + len(record.certificates),
                    "devices": devices.get(record.name, 0), "last_used_s": last or None,
                }
            )  # fmt: skip
    text = json.dumps(rows, indent=1) + "\n" if as_json else write_csv(rows, EXPORT_COLUMNS)
    if args.file == "-":
        print(text, end="")
        return ExitCode.OK
    with create_private(Path(args.file)) as file:
        file.write(text)
    out = output(args)
    out.document({"type": "kms.user.export", "file": args.file, "users": len(rows)})
    out.text(f"{len(rows)} users written to {args.file}")
    return ExitCode.OK
