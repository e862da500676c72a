"""`sipmikey setup`: an invitation or five questions, each answer checked, and a call that tries it all."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sipmikey.agent import Agent, CallFailed
from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import default_path, load
from sipmikey.cli.enrol.command import enrol_command, leave_command, refresh_command
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, table
from sipmikey.keys.key_text import parse_key
from sipmikey.kms.client import HttpKmsClient
from sipmikey.kms.enrolment.codes import parse_invitation
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.phone.edge.place import place_of
from sipmikey.sealed.vault import KEYRING_PREFIX, Vault, data_folder, system_keyring
from sipmikey.ticket.identity import canonical

EXAMPLES = """\
examples:
  sipmikey setup 7KQ2-M3XA-0VZD-J8TN --kms https://kms.example.com
  sipmikey setup 'https://kms.example.com/enrolment#7KQ2-M3XA-0VZD-J8TN'
  sipmikey setup --refresh
  sipmikey setup
  sipmikey setup --config work.toml
  sipmikey setup --no-call < answers.txt       one answer a line

Secrets go into the keyring of this system, or into a file of mode 0600 where there is none, which is said.
"""

T = TypeVar("T")

TRIES = 3
"""How often a question is asked before `setup` gives up."""

CALL_S = 10.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was asked for. ``server`` is ``""`` where calls go directly to the other side."""

    identity: str
    kms_url: str
    kms_identity: str
    psk_id: str
    key: Secret
    server: str = ""
    password: Secret | None = None


def run(args: argparse.Namespace) -> int:
    """Redeem or ask, check, write and try; return the exit code."""
    path: Path = args.config or default_path(os.environ)
    vault = Vault(data_folder(), system_keyring())
    if args.refresh or args.leave:
        return (refresh_command if args.refresh else leave_command)(args, path, vault)
    invitation = parse_invitation(args.invitation) if args.invitation else None
    if path.exists() and not args.force:
        raise LocalError(
            f"{path} is there already: give --force to replace it, or --config for another account"
        )
    if invitation is not None:
        url = args.kms or invitation.kms_url or _answer("Address of the KMS (https://...): ", _url(""))
        enrol_command(args, invitation, url, path, vault)
        print(place_of(vault))
        asyncio.run(_check_enrolled(path))
        return _finish(args, path, load(path=path).configuration.identity.uri)
    print("Five questions, and the phone is ready. Ctrl-C leaves without a change.\n")
    answers = _ask()
    _keep(answers, path, vault)
    print(f"\nWritten: {path}\n{place_of(vault)}")
    return _finish(args, path, answers.identity)


def _finish(args: argparse.Namespace, path: Path, identity: str) -> int:
    """Make the test call, and say what comes next."""
    if not args.no_call:
        echo = args.echo or f"sip:echo@{identity.rpartition('@')[2]}"
        asyncio.run(_try_call(path, echo))
    usual = "" if args.config is None else f" --config {path}"
    print(f"\nNext: sipmikey phone{usual}    (or sipmikey phone --tui{usual})")
    return ExitCode.OK


# Questions


def _ask() -> Answers:
    identity = _answer("1. Your SIP address (sip:you@example.com): ", _identity)
    domain = identity.rpartition("@")[2]
    user = identity.partition(":")[2].partition("@")[0]
    kms_url = _answer(f"2. Address of the KMS [https://kms.{domain}]: ", _url(f"https://kms.{domain}"))
    key = _answer("3. Your key for the KMS, or the file that has it: ", _key, secret=True)
    answers = Answers(
        identity=identity, kms_url=kms_url, kms_identity=f"sip:kms@{domain}", psk_id=user, key=key
    )
    asyncio.run(_check_kms(answers))
    print("   The KMS accepts the key.")
    server = _answer("4. Your SIP server (example.com; empty for calls without one): ", _server)
    if not server:
        print("5. (No password is needed without a server.)")
        return answers
    password = _answer("5. Your password at the SIP server (empty for none): ", _password, secret=True)
    whole = Answers(
        identity=identity, kms_url=kms_url, kms_identity=answers.kms_identity, psk_id=user, key=key,
        server=server, password=password,
    )  # fmt: skip
    asyncio.run(_check_server(whole))
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


def _identity(typed: str) -> str:
    if not typed:
        raise LocalError("without an address nobody can call you")
    identity = canonical(typed if ":" in typed else f"sip:{typed}")
    if "@" not in identity or not identity.startswith(("sip:", "sips:")):
        raise LocalError(f"{typed}: a SIP address looks like sip:you@example.com")
    return identity


def _url(usual: str) -> Callable[[str], str]:
    def read(typed: str) -> str:
        url = typed or usual
        if not url:
            raise LocalError("the KMS's address comes with the code: https://kms.example.com, for example")
        if "://" not in url:
            url = f"https://{url}"
        if not re.fullmatch(r"https?://[^\s/]+(/[^\s]*)?", url):
            raise LocalError(f"{typed}: this is not an https address")
        return url

    return read


def _key(typed: str) -> Secret:
    """Return the key as it was typed, or as it stands in a file; both are checked."""
    path = Path(typed).expanduser()
    text = typed.encode()
    if typed and len(typed) < 4096 and path.is_file():
        text = path.read_bytes().strip()
    parse_key(text, "the key")
    return Secret(text)


def _server(typed: str) -> str:
    return "" if not typed else canonical(typed if ":" in typed else f"sip:{typed}")


def _password(typed: str) -> Secret | None:
    return Secret(typed.encode()) if typed else None


# Checks


def _toml(answers: Answers, *, secrets_in: Callable[[str, Secret], str]) -> str:
    """Return the configuration; *secrets_in* keeps a secret by its name and returns what stands for it."""
    name = answers.identity.partition(":")[2]
    lines = [
        "[identity]", f'uri = "{answers.identity}"', "",
        "[kms]", f'url = "{answers.kms_url}"', f'identity = "{answers.kms_identity}"',
        f'psk_id = "{answers.psk_id}"', f'psk = "{secrets_in(f"{name}/kms", answers.key)}"',
    ]  # fmt: skip
    if answers.server:
        lines += ["", "[sip]", f'registrar = "{answers.server}"', f'proxy = "{answers.server}"']
    if answers.password is not None:
        lines += ["", "[credentials]", f'password = "{secrets_in(f"{name}/sip", answers.password)}"']
    return "\n".join(lines) + "\n"


def _agent(answers: Answers) -> tuple[Agent, HttpKmsClient]:
    """Return an agent for checks, and its KMS client."""
    options: dict[tuple[str, str], object] = {
        ("identity", "uri"): answers.identity,
        ("kms", "url"): answers.kms_url,
        ("kms", "identity"): answers.kms_identity,
        ("kms", "psk_id"): answers.psk_id,
        ("kms", "psk"): answers.key.reveal().decode(),
        ("media", "device"): "null",
    }
    if answers.server:
        options |= {("sip", "registrar"): answers.server, ("sip", "proxy"): answers.server}
    if answers.password is not None:
        options["credentials", "password"] = answers.password.reveal().decode()
    loaded = load(path=Path(os.devnull), options=options)
    client = kms_client(loaded.configuration)
    assert client is not None, "setup asks for a KMS"
    return Agent(agent_config(loaded.configuration), kms=client), client


async def _check_kms(answers: Answers) -> None:
    """Ask the KMS for a ticket for ourselves. Raises ``CommandFailed`` with what is wrong."""
    agent, client = _agent(answers)
    async with client, agent:
        try:
            await agent.prefetch(answers.identity)
        except CallFailed as error:
            raise CommandFailed(
                f"{error.detail or error.reason}; nothing was written", code=ExitCode.KMS, reason=error.reason
            ) from None


async def _check_enrolled(path: Path) -> None:
    """Ask the KMS for a ticket with the new key. Raises ``CommandFailed``; the configuration stays."""
    configuration = load(path=path, options={("media", "device"): "null"}).configuration
    client = kms_client(configuration)
    assert client is not None, "an enrolled device has a KMS"
    async with client, Agent(agent_config(configuration), kms=client) as agent:
        try:
            await agent.prefetch(configuration.identity.uri)
        except CallFailed as error:
            raise CommandFailed(
                f"this device is enrolled and {path} is written, but a ticket was refused: "
                f"{error.detail or error.reason}",
                code=ExitCode.KMS, reason=error.reason,
            ) from None  # fmt: skip
    print("The KMS gives tickets for this device's key.")


async def _check_server(answers: Answers) -> None:
    """Register once. Raises ``CommandFailed`` with what is wrong."""
    agent, client = _agent(answers)
    async with client, agent:
        try:
            await agent.register()
            await agent.unregister()
        except CallFailed as error:
            raise CommandFailed(
                f"the server {answers.server} refused: {error.detail or error.reason}; nothing was written",
                code=ExitCode.TRANSPORT, reason=error.reason,
            ) from None  # fmt: skip


def _keep(answers: Answers, path: Path, vault: Vault) -> None:
    """Put the secrets into the vault and write the configuration."""

    def secrets_in(name: str, secret: Secret) -> str:
        vault.put(name, secret)
        return f"{KEYRING_PREFIX}{name}"

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = _toml(answers, secrets_in=secrets_in)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


async def _try_call(path: Path, echo: str) -> None:
    """Call the echo service and say how that went; that it is not there is not an error of the setup."""
    print(f"\nTest call to {echo} ...")
    configuration = load(path=path, options={("media", "device"): "null"}).configuration
    client = kms_client(configuration)
    assert client is not None, "setup asks for a KMS"
    try:
        async with client, Agent(agent_config(configuration), kms=client) as agent:
            call = await agent.call(echo)
            async with asyncio.timeout(CALL_S):
                await call.established()
                await call.proven()
            print(f"The call is protected: {call.security.kms} vouches that {call.security.peer} answered,")
            print("and what arrives decrypts with the keys of the call.")
            await call.hangup()
    except TimeoutError:
        print("Nobody answered. Your settings are written; call somebody to try them.")
    except SipmikeyError as error:
        print(f"The call did not work: {error}. Your settings are written; call somebody to try them.")
