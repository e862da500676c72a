"""`sipmikey setup`: an invitation or five questions, each answer checked, and a call that tries it all."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sipmikey.cli.config.load import load
from sipmikey.cli.config.place import default_path
from sipmikey.cli.enrol.command import enrolled, leave_command, refresh_command
from sipmikey.cli.enrol.sign_on import sign_on_and_enrol
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.phone.account import (
    Answers,
    check_enrolled,
    check_kms,
    check_server,
    domain_of,
    echo_of,
    keep,
    read_identity,
    read_key,
    read_password,
    read_server,
    read_url,
    try_call,
)
from sipmikey.kms.enrolment.codes import Invitation, parse_invitation
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.edge.place import place_of
from sipmikey.sealed.vault import Vault, data_folder, system_keyring

EXAMPLES = """\
examples:
  sipmikey setup 7KQ2-M3XA-0VZD-J8TN --kms https://kms.example.com
  sipmikey setup 'https://kms.example.com/enrolment#7KQ2-M3XA-0VZD-J8TN'
  sipmikey setup --sso https://kms.example.com
  sipmikey setup --refresh
  sipmikey setup
  sipmikey setup --config work.toml
  sipmikey setup --no-call < answers.txt       one answer a line

Secrets go into the keyring of this system, or into a file of mode 0600 where there is none, which is said.
"""

T = TypeVar("T")

TRIES = 3
"""How often a question is asked before `setup` gives up."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `setup` and its options."""
    parser = subparsers.add_parser(
        "setup",
        help="set the phone up from an invitation, or by five questions",
        description="Redeem an invitation, or ask five questions and check each answer; write the"
        " configuration and make a test call.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "invitation", nargs="?", metavar="INVITATION", help="code or address that an administrator gave"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="file to write, instead of the usual one")
    parser.add_argument("--kms", metavar="URL", help="the KMS that a code is for [asked]")
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificates to verify the KMS by, instead of the system's"
    )
    parser.add_argument(
        "--sso", metavar="URL", help="sign on with your account at the organisation of the KMS at URL"
    )
    parser.add_argument("--name", help="what this device is called at the KMS [the host's name]")
    parser.add_argument(
        "--certificate", action="store_true", help="ask for a certificate instead of a pre-shared key"
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="ask the KMS for a changed profile, and a new key if it is time",
    )
    parser.add_argument(
        "--accept", action="store_true", help="with --refresh: take a profile that protects less, too"
    )
    parser.add_argument(
        "--leave", action="store_true", help="give this device's enrolment back; its keys are destroyed"
    )
    parser.add_argument("--echo", metavar="SIP-URI", help="whom to call at the end [sip:echo@your domain]")
    parser.add_argument("--no-call", action="store_true", help="no test call")
    parser.add_argument("--force", action="store_true", help="replace a configuration that is there")


def run(args: argparse.Namespace) -> int:
    """Redeem or ask, check, write and try; return the exit code."""
    path: Path = args.config or default_path(os.environ)
    vault = Vault(data_folder(), system_keyring())
    if args.refresh or args.leave:
        return (refresh_command if args.refresh else leave_command)(args, path, vault)
    invitation = parse_invitation(args.invitation) if args.invitation else None
    if invitation is not None and args.sso:
        raise LocalError("an invitation or --sso, one of them")
    if path.exists() and not args.force:
        raise LocalError(
            f"{path} is there already: give --force to replace it, or --config for another account"
        )
    if args.sso:
        _told(sign_on_and_enrol(args, read_url("")(args.sso), path, vault), path, vault)
        return _finish(args, path, load(path=path).configuration.identity.uri)
    if invitation is not None:
        url = args.kms or invitation.kms_url or _answer("Address of the KMS (https://...): ", read_url(""))
        _enrol(args, invitation, url, path, vault)
        return _finish(args, path, load(path=path).configuration.identity.uri)
    print("Five questions, and the phone is ready. Ctrl-C leaves without a change.\n")
    answers = _ask()
    keep(answers, path, vault)
    print(f"\nWritten: {path}\n{place_of(vault)}")
    return _finish(args, path, answers.identity)


def _finish(args: argparse.Namespace, path: Path, identity: str) -> int:
    """Make the test call, and say what comes next."""
    if not args.no_call:
        echo = args.echo or echo_of(identity)
        print(f"\nTest call to {echo} ...", flush=True)
        print(asyncio.run(try_call(path, echo)).text)
    usual = "" if args.config is None else f" --config {path}"
    print(f"\nNext: sipmikey phone{usual}    (or sipmikey phone --tui{usual})")
    return ExitCode.OK


def _enrol(args: argparse.Namespace, invitation: Invitation, url: str, path: Path, vault: Vault) -> None:
    """Redeem *invitation*, and say what came of it."""
    lines = enrolled(
        invitation, url, path, vault, name=args.name, ca_file=args.ca, with_certificate=args.certificate
    )
    _told(lines, path, vault)


def _told(lines: Iterator[str], path: Path, vault: Vault) -> None:
    """Say what an enrolment comes to, and ask for a ticket with the new key."""
    for line in lines:
        print(line, flush=True)
    print(place_of(vault))
    asyncio.run(check_enrolled(path))
    print("The KMS gives tickets for this device's key.")


# Questions


def _ask() -> Answers:
    identity = _answer("1. Your SIP address (sip:you@example.com): ", read_identity)
    domain = domain_of(identity)
    kms_url = _answer(f"2. Address of the KMS [https://kms.{domain}]: ", read_url(f"https://kms.{domain}"))
    key = _answer("3. Your key for the KMS, or the file that has it: ", read_key, secret=True)
    answers = Answers(identity=identity, kms_url=kms_url, key=key)
    asyncio.run(check_kms(answers))
    print("   The KMS accepts the key.")
    server = _answer("4. Your SIP server (example.com; empty for calls without one): ", read_server)
    if not server:
        print("5. (No password is needed without a server.)")
        return answers
    password = _answer("5. Your password at the SIP server (empty for none): ", read_password, secret=True)
    whole = replace(answers, server=server, password=password)
    asyncio.run(check_server(whole))
    print("   The server accepts the registration.")
    return whole


def _answer(question: str, read: Callable[[str], T], *, secret: bool = False) -> T:
    """Ask until the answer can be read, a few times; say why one cannot."""
    for _ in range(TRIES):
        if secret and sys.stdin.isatty():
            typed = getpass.getpass(question)
        else:
            print(question, end="", flush=True)
            line = sys.stdin.readline()
            if not line:
                raise LocalError("the answers ended before the questions did")
            typed = line.rstrip("\n")
            if not sys.stdin.isatty():
                print()
        try:
            return read(typed.strip())
        except LocalError as error:
            print(f"   {error}")
    raise LocalError("no answer that can be used was given")
