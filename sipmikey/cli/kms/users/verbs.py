"""The options of `user invite`, `user import` and the like. What they do is in `invite` and `bulk`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from sipmikey.cli.kms.common import Actions, Body, action

INVITE = """\
  sipmikey kms user invite sip:alice@example.com
  sipmikey kms user invite sip:alice@example.com --minutes 60 --sip-password-file alice.sip
  sipmikey kms user invite sip:alice@example.com --json --no-qr
"""


IMPORT = """\
  sipmikey kms user import people.csv --dry-run
  sipmikey kms user import people.csv --invitations invitations.csv --minutes 10080
  sipmikey kms user import people.json --bundles bundles/

people.csv:
  identity,name,groups,sip_password
  sip:alice@example.com tel:+46701234567,alice,sip:support@example.com,
  sip:bob@example.com,,,secret

or people.json:
  [{"identity": "sip:alice@example.com", "groups": ["sip:support@example.com"]}]

Nothing is added while a line has a mistake, unless --skip leaves such lines out.
"""

EXPORT = """\
  sipmikey kms user export users.csv
  sipmikey kms user export - --json
"""


def add_verbs(verbs: Actions[argparse.ArgumentParser]) -> None:
    """Add `invite`, `invitations`, `uninvite`, `import` and `export`."""
    _add_invitations(verbs)
    _add_files(verbs)


def _late(module: str, name: str) -> Body:
    """Return what loads *module* when it is run: it would make every other command slow to start."""

    async def body(args: argparse.Namespace) -> int:
        command: Body = getattr(importlib.import_module(f"sipmikey.cli.kms.users.{module}"), name)
        return await command(args)

    return body


def _add_invitations(verbs: Actions[argparse.ArgumentParser]) -> None:
    invite = action(
        verbs,
        "invite",
        help="invite a user's device by a code, a QR and an address; the user is added if missing",
        examples=INVITE,
        body=_late("invite", "invite_command"),
    )
    invite.add_argument("identity", help="what the device will be, e.g. sip:alice@example.com")
    invite.add_argument(
        "--minutes", type=float, metavar="N", help="life of the code (enrolment.invitation_minutes)"
    )
    invite.add_argument("--url", help="the KMS's base URL for devices (default: enrolment.url)")
    invite.add_argument(
        "--sip-password-file",
        type=Path,
        metavar="FILE",
        help="the user's password at the SIP registrar, sent along",
    )
    invite.add_argument(
        "--group", action="append", default=[], metavar="URI", help="group to put a new user in"
    )
    invite.add_argument("--no-qr", action="store_true", help="print no QR")
    listing = action(
        verbs, "invitations", help="list invitations; codes are not kept and not shown",
        examples="  sipmikey kms user invitations\n", body=_late("invite", "list_command"),
    )  # fmt: skip
    listing.add_argument("--all", action="store_true", help="those that are over too")
    back = action(
        verbs, "uninvite", help="take an invitation back",
        examples="  sipmikey kms user uninvite 7KQ2\n", body=_late("invite", "uninvite_command"),
    )  # fmt: skip
    back.add_argument("number", help="the first group of its code")


def _add_files(verbs: Actions[argparse.ArgumentParser]) -> None:
    taking = action(
        verbs, "import", help="add users from CSV or JSON, with an invitation or a key each",
        examples=IMPORT, body=_late("bulk", "import_command"),
    )  # fmt: skip
    taking.add_argument("file", type=Path, help=".csv (with a line of column names) or .json")
    how = taking.add_mutually_exclusive_group()
    how.add_argument(
        "--invitations",
        type=Path,
        metavar="FILE",
        help="invite each, and write codes and addresses there (CSV)",
    )
    how.add_argument(
        "--bundles",
        type=Path,
        metavar="DIR",
        help="make a key for each, and write a configuration each there",
    )
    taking.add_argument(
        "--minutes", type=float, metavar="N", help="life of the codes (enrolment.invitation_minutes)"
    )
    taking.add_argument("--url", help="the KMS's base URL for devices (default: enrolment.url)")
    taking.add_argument(
        "--dry-run", action="store_true", help="check the file and the store, and change nothing"
    )
    taking.add_argument("--skip", action="store_true", help="leave lines with a mistake out")
    taking.add_argument(
        "--existing",
        action="store_true",
        help="leave users alone who are there already; they are not an error",
    )
    giving = action(
        verbs,
        "export",
        help="write users as CSV or JSON, without keys",
        examples=EXPORT,
        body=_late("bulk", "export_command"),
    )
    giving.add_argument("file", help="new .csv or .json (mode 0600), or - for standard output")
