"""`sipmikey kms scim`: tokens of SCIM clients."""

from __future__ import annotations

import argparse
import secrets
import time
from pathlib import Path
from typing import Final

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import DAY_S, Actions, action, opened, output, write_private
from sipmikey.cli.kms.users.acts import acted
from sipmikey.cli.output import timestamp
from sipmikey.kms.administration.audit_acts import AdminAct
from sipmikey.kms.stores.provisioned_users import AccessToken
from sipmikey.mikey.errors import LocalError

EXAMPLES = """\
  sipmikey kms scim token add okta --days 365
  sipmikey kms scim token list
  sipmikey kms scim token remove okta
"""

TOKEN_BYTES: Final = 32
MAX_NAME: Final = 64


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `scim token` and what can be done with it."""
    parser = actions.add_parser("scim", help="let an identity provider tell of users and groups (SCIM 2.0)")
    things = parser.add_subparsers(dest="kms_verb", metavar="THING", required=True)
    token = things.add_parser("token", help="tokens that clients show")
    verbs = token.add_subparsers(dest="kms_token", metavar="VERB", required=True)
    add = action(verbs, "add", help="make a token; it is shown once", examples=EXAMPLES, body=_add)
    add.add_argument("name", help="who will have it")
    add.add_argument("--days", type=float, metavar="DAYS", help="days it is valid (default: no end)")
    add.add_argument(
        "--file", type=Path, metavar="FILE", help="write it there (mode 0600) and do not show it"
    )
    action(verbs, "list", help="list tokens; they are never shown", examples=EXAMPLES, body=_list)
    remove = action(verbs, "remove", help="take a token back, at once", examples=EXAMPLES, body=_remove)
    remove.add_argument("name", help="its name")


async def _add(args: argparse.Namespace) -> int:
    name = args.name.strip()
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise LocalError(f"a token's name has 1 to {MAX_NAME} printable characters")
    if args.days is not None and not 0 < args.days <= 36_500:
        raise LocalError("--days is more than 0")
    now_s = int(time.time())
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    expires_s = None if args.days is None else now_s + round(args.days * DAY_S)
    token = AccessToken(name=name, created_s=now_s, expires_s=expires_s)
    async with opened(args) as store:
        if not await store.provisioned.add_token(token, secret):
            raise LocalError(f"there is a token {name!r} already: take it back first")
        if args.file is not None:
            write_private(args.file, f"{secret}\n")
        await acted(store, AdminAct.ADD_CLIENT, credential=f"token {name}")
    out = output(args)
    shown = {"file": args.file} if args.file is not None else {"token": secret}
    out.document({"type": "kms.scim.token", "name": name, "expires_s": expires_s, **shown})
    out.text(f"token {name} made" + (f": {args.file}" if args.file else f"\n\n    {secret}\n"))
    out.text("It may add, change and remove users. It is not kept and not shown again.")
    return ExitCode.OK


async def _list(args: argparse.Namespace) -> int:
    out = output(args)
    async with opened(args) as store:
        for token in await store.provisioned.tokens():
            out.document(
                {
                    "type": "kms.scim.token", "name": token.name, "created_s": token.created_s,
                    "expires_s": token.expires_s, "used_s": token.used_s,
                }
            )  # fmt: skip
            end = "no end" if token.expires_s is None else f"until {timestamp(token.expires_s)[:10]}"
            used = "never used" if token.used_s is None else f"used {timestamp(token.used_s)[:16]}Z"
            out.text(f"{token.name}  {end}, {used}")
    return ExitCode.OK


async def _remove(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        if not await store.provisioned.remove_token(args.name):
            raise LocalError(f"there is no token {args.name!r}")
        await acted(store, AdminAct.REMOVE_CLIENT, credential=f"token {args.name}")
    out = output(args)
    out.document({"type": "kms.scim.token.removed", "name": args.name})
    out.text(f"token {args.name} is taken back")
    return ExitCode.OK
