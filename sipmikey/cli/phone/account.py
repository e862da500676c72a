"""What sets an account up: reading each answer, trying it, keeping it, and a call that tries it all."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sipmikey.agent import Agent, CallFailed
from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import load
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.keys.key_text import parse_key
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.phone.assistant import Tried
from sipmikey.phone.text import Text
from sipmikey.sealed.vault import KEYRING_PREFIX, Vault
from sipmikey.ticket.identity import canonical

CALL_S = 10.0


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


def read_identity(typed: str) -> str:
    if not typed:
        raise LocalError("without an address nobody can call you")
    identity = canonical(typed if ":" in typed else f"sip:{typed}")
    if "@" not in identity or not identity.startswith(("sip:", "sips:")):
        raise LocalError(f"{typed}: a SIP address looks like sip:you@example.com")
    return identity


def read_url(usual: str) -> Callable[[str], str]:
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


def read_key(typed: str) -> Secret:
    """Return the key as it was typed, or as it stands in a file; both are checked."""
    path = Path(typed).expanduser()
    text = typed.encode()
    if typed and len(typed) < 4096 and path.is_file():
        text = path.read_bytes().strip()
    parse_key(text, "the key")
    return Secret(text)


def read_server(typed: str) -> str:
    return "" if not typed else canonical(typed if ":" in typed else f"sip:{typed}")


def read_password(typed: str) -> Secret | None:
    return Secret(typed.encode()) if typed else None


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


async def check_kms(answers: Answers) -> None:
    """Ask the KMS for a ticket for ourselves. Raises ``CommandFailed`` with what is wrong."""
    agent, client = _agent(answers)
    async with client, agent:
        try:
            await agent.prefetch(answers.identity)
        except CallFailed as error:
            raise CommandFailed(
                f"{error.detail or error.reason}; nothing was written", code=ExitCode.KMS, reason=error.reason
            ) from None


async def check_enrolled(path: Path) -> None:
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


async def check_server(answers: Answers) -> None:
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


def keep(answers: Answers, path: Path, vault: Vault) -> None:
    """Put the secrets into the vault and write the configuration."""

    def secrets_in(name: str, secret: Secret) -> str:
        vault.put(name, secret)
        return f"{KEYRING_PREFIX}{name}"

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = _toml(answers, secrets_in=secrets_in)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


async def try_call(path: Path, echo: str) -> Tried:
    """Call the echo service and return how that went; that it is not there is not an error of the setup."""
    configuration = load(path=path, options={("media", "device"): "null"}).configuration
    client = kms_client(configuration)
    assert client is not None, "setup asks for a KMS"
    try:
        async with client, Agent(agent_config(configuration), kms=client) as agent:
            call = await agent.call(echo)
            async with asyncio.timeout(CALL_S):
                await call.established()
                await call.proven()
            values = {"kms": call.security.kms or "?", "peer": call.security.peer or "?"}
            await call.hangup()
    except TimeoutError:
        return Tried(Text("Nobody answered. Your settings are written; call somebody to try them."))
    except SipmikeyError as error:
        why = {"why": str(error)}
        return Tried(
            Text("The call did not work: {why}. Your settings are written; call somebody to try them.", why)
        )
    said = Text(
        "The call is protected: {kms} vouches that {peer} answered,"
        " and what arrives decrypts with the keys of the call.",
        values,
    )
    return Tried(said, protected=True)


def echo_of(identity: str) -> str:
    """Return where the echo service of the domain of *identity* is."""
    return f"sip:echo@{identity.rpartition('@')[2]}"
