"""`sipmikey kms group`: groups of identities, wildcards included."""

from __future__ import annotations

import argparse

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, opened, output
from sipmikey.cli.kms.users.acts import administration

ADD = """\
  sipmikey kms group add sip:support@example.com sip:alice@example.com sip:bob@example.com
  sipmikey kms group add sip:support@example.com 'sip:*@support.example.com'
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `group` and what can be done with one."""
    parser = actions.add_parser("group", help="groups of identities")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    add = action(verbs, "add", help="make a group, or add members to one", examples=ADD, body=_add)
    add.add_argument("group", help="the group's URI")
    add.add_argument("member", nargs="*", help="identity, or wildcard such as sip:*@support.example.com")
    remove = action(
        verbs,
        "remove",
        help="take members out of a group, or remove it",
        examples="  sipmikey kms group remove sip:support@example.com sip:bob@example.com\n"
        "  sipmikey kms group remove sip:support@example.com\n",
        body=_remove,
    )
    remove.add_argument("group", help="the group's URI")
    remove.add_argument("member", nargs="*", help="members to take out; without any the group itself goes")
    action(
        verbs,
        "list",
        help="list groups and members",
        examples="  sipmikey kms group list --json\n",
        body=_list,
    )


async def _add(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        await administration(store).add_members(args.group, args.member)
    return _done(args, "added")


async def _remove(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        await administration(store).remove_members(args.group, args.member)
    return _done(args, "removed")


def _done(args: argparse.Namespace, what: str) -> int:
    out = output(args)
    out.document({"type": f"kms.group.{what}", "group": args.group, "members": args.member})
    members = f": {', '.join(args.member)}" if args.member else ""
    out.text(f"{args.group} {what}{members}")
    return ExitCode.OK


async def _list(args: argparse.Namespace) -> int:
    out = output(args)
    async with opened(args) as store:
        for group in await store.subscribers.groups():
            out.document({"type": "kms.group", "group": group.uri, "members": group.members})
            out.text(f"{group.uri}  {', '.join(group.members) or 'no members'}")
    return ExitCode.OK
