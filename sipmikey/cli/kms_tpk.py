"""`sipmikey kms tpk`: Ticket Protection Keys (RFC 6043 Appendix A)."""

from __future__ import annotations

import argparse
import time

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms_open import Actions, action, opened, output
from sipmikey.cli.output import Output, timestamp
from sipmikey.kms.tpk import TpkRecord

__all__ = ["add_actions"]


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


async def _rotate(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        key = await store.ticket_keys.rotate(now_s=int(time.time()))
    _line(output(args), key, "kms.tpk.rotated")
    return ExitCode.OK


async def _list(args: argparse.Namespace) -> int:
    out = output(args)
    async with opened(args) as store:
        for key in await store.ticket_keys.list():
            _line(out, key, "kms.tpk")
    return ExitCode.OK


def _line(out: Output, key: TpkRecord, kind: str) -> None:
    out.document(
        {
            "type": kind,
            "key_id": key.key_id,
            "fingerprint": key.key.fingerprint(),
            "owner": key.owner,
            "created_s": key.created_s,
            "seals_until_s": key.seals_until_s,
            "resolves_until_s": key.resolves_until_s,
        }
    )
    state = "current" if key.seals_until_s is None else f"sealed until {timestamp(key.seals_until_s)}"
    owner = "" if key.owner is None else f"  shared with {key.owner}"
    out.text(
        f"{key.key_id.hex()}  {state}, resolves until {timestamp(key.resolves_until_s)}"
        f"  fingerprint {key.key.fingerprint()}{owner}"
    )
