"""`sipmikey kms tpk`: Ticket Protection Keys (RFC 6043 Appendix A)."""

from __future__ import annotations

import argparse
import base64
import os
import time
from collections.abc import Mapping
from pathlib import Path

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, opened, output, write_private
from sipmikey.cli.kms.users.acts import acted, administration
from sipmikey.cli.output import Output, timestamp
from sipmikey.kms.administration.audit_acts import AdminAct
from sipmikey.kms.tpk import TpkRecord, generate

SHARE = """\
  sipmikey kms tpk share sip:bob@example.com --tpk-file bob.tpk      bob resolves by himself
  sipmikey kms tpk share sip:alice@example.com --tpk-file alice.tpk  alice makes tickets herself
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `tpk` and what can be done with one."""
    parser = actions.add_parser("tpk", help="ticket protection keys")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    action(
        verbs,
        "rotate",
        help="seal new tickets with a new key; old tickets go on resolving until they expire",
        examples="  sipmikey kms tpk rotate\n",
        body=_rotate,
    )
    action(
        verbs,
        "list",
        help="list ticket protection keys by identifier and fingerprint",
        examples="  sipmikey kms tpk list --json\n",
        body=_list,
    )
    share = action(
        verbs,
        "share",
        help="make a key shared with a subscriber, who then resolves or makes tickets by itself (modes 2, 3)",
        examples=SHARE,
        body=_share,
    )
    share.add_argument("subscriber", metavar="SUBSCRIBER", help="name, as `user list` shows it")
    share.add_argument(
        "--tpk-file", type=Path, metavar="FILE", help="write the key there, mode 0600, instead of showing it"
    )
    destroy = action(
        verbs,
        "destroy",
        help="destroy a key now: no ticket under it resolves any more",
        examples="  sipmikey kms tpk destroy 5f0c6a2b9d1e4473\n",
        body=_destroy,
    )
    destroy.add_argument("key_id", type=_key_id, metavar="KEY_ID", help="identifier, from `tpk list`")


def _key_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not hexadecimal; `sipmikey kms tpk list` shows them"
        ) from None


async def _share(args: argparse.Namespace) -> int:
    now_s = int(time.time())
    key = generate(os.urandom, now_s=now_s, owner=args.subscriber)
    encoded = base64.b64encode(key.key.reveal()).decode()
    if args.tpk_file is not None:
        write_private(args.tpk_file, encoded + "\n")
    try:
        async with opened(args) as store:
            await store.ticket_keys.share(key, now_s=now_s)
            await acted(store, AdminAct.SHARE_TPK, subscriber=args.subscriber, credential=key.key_id.hex())
    except BaseException:
        if args.tpk_file is not None:
            args.tpk_file.unlink()
        raise
    out = output(args)
    shown = {"tpk_file": args.tpk_file} if args.tpk_file is not None else {"tpk": encoded}
    _line(out, key, "kms.tpk.shared", shown)
    for name, value in shown.items():
        out.text(f"  {name} = {value}")
    return ExitCode.OK


async def _destroy(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        await administration(store).destroy_tpk(args.key_id)
    out = output(args)
    out.document({"type": "kms.tpk.destroyed", "key_id": args.key_id})
    out.text(f"{args.key_id.hex()} destroyed: its tickets resolve no more")
    return ExitCode.OK


async def _rotate(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        key = await administration(store).rotate_tpk()
    _line(output(args), key, "kms.tpk.rotated")
    return ExitCode.OK


async def _list(args: argparse.Namespace) -> int:
    out = output(args)
    async with opened(args) as store:
        for key in await store.ticket_keys.list():
            _line(out, key, "kms.tpk")
    return ExitCode.OK


def _line(out: Output, key: TpkRecord, kind: str, shown: Mapping[str, object] | None = None) -> None:
    out.document(
        {
            "type": kind,
            "key_id": key.key_id,
            "fingerprint": key.key.fingerprint(),
            "owner": key.owner,
            "created_s": key.created_s,
            "seals_until_s": key.seals_until_s,
            "resolves_until_s": key.resolves_until_s,
            **(shown or {}),
        }
    )
    state = "current" if key.seals_until_s is None else f"sealed until {timestamp(key.seals_until_s)}"
    resolves = f"resolves until {timestamp(key.resolves_until_s)}"
    if key.seals_until_s is None and key.resolves_until_s <= key.created_s:
        resolves = "no ticket under it yet"
    owner = "" if key.owner is None else f"  shared with {key.owner}"
    out.text(f"{key.key_id.hex()}  {state}, {resolves}  fingerprint {key.key.fingerprint()}{owner}")
