"""`sipmikey kms user`: subscribers and their pre-shared keys and certificates."""

from __future__ import annotations

import argparse
import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import DAY_S, Actions, action, opened, output, write_private
from sipmikey.cli.kms.users import verbs as more_verbs
from sipmikey.cli.kms.users.acts import acted, administration
from sipmikey.cli.kms.users.new_key import new_psk
from sipmikey.cli.output import Output, timestamp
from sipmikey.kms.administration.audit_acts import AdminAct
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord, normal_identity
from sipmikey.mikey.secret import Secret
from sipmikey.pem_file import read_certificates
from sipmikey.settings import ConfigurationError

ADD = """\
  sipmikey kms user add sip:alice@example.com
  sipmikey kms user add sip:alice@example.com tel:+46701234567 --group sip:support@example.com
  sipmikey kms user add sip:bob@example.com --psk-file bob.psk --valid-days 365
  sipmikey kms user add sip:carol@example.com --certificate carol.pem --no-psk
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `user` and what can be done with one."""
    parser = actions.add_parser("user", help="subscribers and their keys")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    add = action(verbs, "add", help="add a subscriber; its key is shown once", examples=ADD, body=_add)
    add.add_argument("identity", nargs="+", help="SIP or tel URIs it owns, the primary first")
    add.add_argument("--name", help="stable name (default: the primary identity)")
    add.add_argument("--group", action="append", default=[], metavar="URI", help="group to put it in")
    add.add_argument("--certificate", action="append", default=[], type=Path, metavar="FILE", help="PEM")
    add.add_argument("--no-psk", action="store_true", help="no pre-shared key (certificates only)")
    add.add_argument(
        "--vouches-for",
        action="append",
        default=[],
        metavar="PATTERN",
        help="it is another KMS, which speaks for these identities, e.g. 'sip:*@example.org'",
    )
    _psk_options(add)
    more_verbs.add_verbs(verbs)
    rotate = action(
        verbs,
        "rotate",
        help="give a subscriber a new pre-shared key; the old ones go on for a while",
        examples="  sipmikey kms user rotate sip:alice@example.com --overlap-days 7 --psk-file alice.psk\n",
        body=_rotate,
    )
    rotate.add_argument("name", help="name or identity of the subscriber")
    rotate.add_argument("--overlap-days", type=float, default=7.0, help="life left to old keys (default: 7)")
    _psk_options(rotate)
    listing = action(
        verbs,
        "list",
        help="list subscribers; keys are never shown",
        examples="  sipmikey kms user list\n  sipmikey kms user list --json\n",
        body=_list,
    )
    listing.add_argument("name", nargs="?", help="only this one, by name or identity")
    for name, help, body in (
        ("remove", "remove a subscriber with its keys", _remove),
        ("disable", "refuse everything a subscriber asks, and everything asked for it", _disable),
        ("enable", "serve a disabled subscriber again", _enable),
    ):
        verb = action(
            verbs, name, help=help, examples=f"  sipmikey kms user {name} sip:alice@example.com\n", body=body
        )
        verb.add_argument("name", help="name or identity of the subscriber")


def _psk_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--psk-id", metavar="NAME", help="name of the key, sent as IDRpsk (default: generated)"
    )
    parser.add_argument(
        "--psk-file", type=Path, metavar="FILE", help="write the key there, mode 0600, instead of showing it"
    )
    parser.add_argument("--valid-days", type=float, metavar="DAYS", help="days it is valid (default: no end)")


async def _add(args: argparse.Namespace) -> int:
    identities = tuple(map(normal_identity, args.identity))
    psk = None if args.no_psk else new_psk(identities[0], psk_id=args.psk_id, valid_days=args.valid_days)
    if psk is None and not args.certificate:
        raise ConfigurationError("a subscriber needs a key: leave --no-psk out or give --certificate")
    record = SubscriberRecord(
        name=args.name or identities[0],
        identities=identities,
        psks=() if psk is None else (psk,),
        certificates=tuple(_der(path) for path in args.certificate),
        groups=tuple(map(normal_identity, args.group)),
        vouches_for=tuple(map(normal_identity, args.vouches_for)),
    )
    with _key_file(args, psk):
        async with opened(args) as store:
            await administration(store).add(record)
    _show(args, "kms.user.added", record.name, identities, psk)
    return ExitCode.OK


async def _rotate(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        record = await store.subscribers.get(args.name)
        psk = new_psk(record.identities[0], psk_id=args.psk_id, valid_days=args.valid_days)
        with _key_file(args, psk):
            await store.subscribers.rotate_psk(record.name, psk, overlap_s=round(args.overlap_days * DAY_S))
            await acted(
                store, AdminAct.ROTATE, subscriber=record.name, identity=record.identities[0],
                credential=_key_name(psk),
            )  # fmt: skip
    _show(args, "kms.user.rotated", record.name, record.identities, psk)
    return ExitCode.OK


async def _list(args: argparse.Namespace) -> int:
    out = output(args)
    async with opened(args) as store:
        uses = await store.audit.uses()
        if args.name:
            _line(out, await store.subscribers.get(args.name), uses)
            return ExitCode.OK
        count = 0
        async for record in store.subscribers.records():
            _line(out, record, uses)
            count += 1
    out.text(f"{count} subscriber{'' if count == 1 else 's'}")
    return ExitCode.OK


async def _remove(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        record = await administration(store).remove(args.name)
    return _done(args, "removed", record)


async def _disable(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        record = await administration(store).set_enabled(args.name, False)
    return _done(args, "disabled", record)


async def _enable(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        record = await administration(store).set_enabled(args.name, True)
    return _done(args, "enabled", record)


def _key_name(psk: PskRecord | None) -> str:
    """Return how the audit log names a key."""
    return "" if psk is None else psk.key_id.hex()


def _done(args: argparse.Namespace, what: str, record: SubscriberRecord) -> int:
    out = output(args)
    out.document({"type": f"kms.user.{what}", "name": record.name, "identities": record.identities})
    out.text(f"{record.name} {what}")
    return ExitCode.OK


def _show(
    args: argparse.Namespace, kind: str, name: str, identities: tuple[str, ...], psk: PskRecord | None
) -> None:
    """Print what a subscriber needs to know. This is the one place where a key is printed."""
    out = output(args)
    fields: dict[str, object] = {"type": kind, "name": name, "identities": identities}
    out.text(f"{name} {kind.rpartition('.')[2]}: {', '.join(identities)}")
    if psk is not None and psk.key is not None:
        fields |= {"psk_id": psk.key_id.decode(), "valid_until_s": psk.valid_until_s}
        out.text(f"  psk_id = {psk.key_id.decode()}")
        if args.psk_file is not None:
            fields["psk_file"] = args.psk_file
            out.text(f"  psk_file = {args.psk_file}")
        else:
            fields["psk"] = _encoded(psk.key)
            out.text(f"  psk = {_encoded(psk.key)}")
            out.text("The key is not shown again: hand it over now, by a way nobody else reads.")
    out.document(fields)


@contextmanager
def _key_file(args: argparse.Namespace, psk: PskRecord | None) -> Iterator[None]:
    """Write `--psk-file` before the store learns the key, and take it back if the store does not."""
    if args.psk_file is None or psk is None or psk.key is None:
        yield
        return
    write_private(args.psk_file, _encoded(psk.key) + "\n")
    try:
        yield
    except BaseException:
        args.psk_file.unlink()
        raise


def _encoded(key: Secret) -> str:
    return base64.b64encode(key.reveal()).decode()


def _line(out: Output, record: SubscriberRecord, uses: Mapping[str, int]) -> None:
    out.document(
        {
            "type": "kms.user",
            "name": record.name,
            "identities": record.identities,
            "enabled": record.enabled,
            "psks": [
                {
                    "psk_id": _text(psk.key_id),
                    "valid_from_s": psk.valid_from_s,
                    "valid_until_s": psk.valid_until_s,
                    "used_s": uses.get(psk.key_id.hex()),
                }
                for psk in record.psks
            ],
            "certificates": len(record.certificates),
            "groups": record.groups,
            "vouches_for": record.vouches_for,
        }
    )
    parts = [record.name, ", ".join(record.identities)]
    keys = ", ".join(f"{_text(psk.key_id)} ({_life(psk, uses)})" for psk in record.psks)
    parts.append(f"keys: {keys or 'none'}")
    if record.certificates:
        parts.append(f"certificates: {len(record.certificates)}")
    if record.groups:
        parts.append(f"groups: {', '.join(record.groups)}")
    if record.vouches_for:
        parts.append(f"a KMS, for {', '.join(record.vouches_for)}")
    if not record.enabled:
        parts.append("DISABLED")
    out.text("  ".join(parts))


def _life(psk: PskRecord, uses: Mapping[str, int]) -> str:
    """Return when a key ends and when it was used last, in words."""
    used_s = uses.get(psk.key_id.hex())
    used = "never used" if used_s is None else f"used {timestamp(used_s)[:16]}Z"
    return used if psk.valid_until_s is None else f"until {timestamp(psk.valid_until_s)[:10]}, {used}"


def _text(key_id: bytes) -> str:
    try:
        text = key_id.decode()
    except UnicodeDecodeError:
        return f"hex:{key_id.hex()}"
    return text if text.isprintable() else f"hex:{key_id.hex()}"


def _der(path: Path) -> bytes:
    return read_certificates(path)[0].public_bytes(Encoding.DER)
