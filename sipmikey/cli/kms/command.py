"""`sipmikey kms`: set up, run and administer a key management service. One module a subject."""

from __future__ import annotations

import argparse

from sipmikey.cli.exit_codes import table
from sipmikey.cli.kms import (
    audit,
    backup,
    config,
    data,
    group,
    init,
    policy,
    probe,
    serve,
    status,
    tpk,
)
from sipmikey.cli.kms.master_key import command as master_key
from sipmikey.cli.kms.users import device, ldap, scim, user

EXAMPLES = """\
a KMS in four commands:
  sipmikey kms init --identity sip:kms@example.com
  sipmikey kms user add sip:alice@example.com
  sipmikey kms user add sip:bob@example.com
  sipmikey kms serve
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `kms` and its actions."""
    parser = subparsers.add_parser(
        "kms",
        help="set up and run a key management service",
        description="Set up, run and administer a key management service (RFC 6043).",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="kms_action", metavar="ACTION", required=True)
    for module in (
        init,
        serve,
        status,
        user,
        device,
        group,
        ldap,
        scim,
        policy,
        probe,
        tpk,
        config,
        audit,
        backup,
        master_key,
        data,
    ):
        module.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    """Run the action and return its exit code."""
    code: int = args.kms_run(args)
    return code
