"""What sets an account up: reading each answer, trying it, keeping it, and a call that tries it all."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sipmikey.agent import Agent, CallFailed
from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import load
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.key_file import read_key_text
from sipmikey.keys.key_text import parse_key
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.phone.assistant import TrialCall
from sipmikey.phone.text import Text
from sipmikey.sealed.vault import Vault
from sipmikey.ticket.identity import canonical
from sipmikey.whole_file import write_whole

CALL_S = 10.0

_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was asked for. ``server`` is ``""`` where calls go directly to the other side."""

    identity: str
    kms_url: str
    key: Secret
    server: str = ""
    password: Secret | None = None

    @property
    def kms_identity(self) -> str:
        """The identity of the KMS, as it usually is."""
        return f"sip:kms@{domain_of(self.identity)}"

    @property
    def psk_id(self) -> str:
        """What the KMS calls our key, as it usually does: the user part."""
        return self.identity.partition(":")[2].partition("@")[0]


def domain_of(identity: str) -> str:
    """Return the domain of a SIP URI."""
    return identity.rpartition("@")[2]


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
    """Return the key as it was typed, or as it is in a file; both are checked."""
    path = Path(typed).expanduser()
    is_file = bool(typed) and len(typed) < _LONGEST_PATH and path.is_file()
    text = read_key_text(path, "the key") if is_file else Secret(typed.encode())
    parse_key(text.reveal(), "the key")
    return text


def read_server(typed: str) -> str:
    return "" if not typed else canonical(typed if ":" in typed else f"sip:{typed}")


def read_password(typed: str) -> Secret | None:
    return Secret(typed.encode()) if typed else None


def _toml(answers: Answers, vault: Vault) -> str:
    """Return the configuration, with the secrets in *vault*."""
    name = answers.identity.partition(":")[2]
    lines = [
        "[identity]", f'uri = "{answers.identity}"', "",
        "[kms]", f'url = "{answers.kms_url}"', f'identity = "{answers.kms_identity}"',
        f'psk_id = "{answers.psk_id}"', f'psk = "{vault.keep(f"{name}/kms", answers.key)}"',
    ]  # fmt: skip
    if answers.server:
        lines += ["", "[sip]", f'registrar = "{answers.server}"', f'proxy = "{answers.server}"']
    if answers.password is not None:
        lines += ["", "[credentials]", f'password = "{vault.keep(f"{name}/sip", answers.password)}"']
    return "\n".join(lines) + "\n"


def _for_checks(answers: Answers) -> Configuration:
    """Return the configuration of an agent that tries *answers*."""
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
    return load(path=Path(os.devnull), options=options).configuration


def _written(path: Path) -> Configuration:
    """Return the configuration at *path*, of an agent that needs no sound device."""
    return load(path=path, options={("media", "device"): "null"}).configuration


@asynccontextmanager
async def _opened(configuration: Configuration) -> AsyncIterator[Agent]:
    """Open an agent that asks the KMS of *configuration*."""
    client = kms_client(configuration)
    assert client is not None, "an account that setup makes has a KMS"
    async with client, Agent(agent_config(configuration), kms=client) as agent:
        yield agent


async def check_kms(answers: Answers) -> None:
    """Ask the KMS for a ticket for ourselves. Raises ``CommandFailed`` with what is wrong."""
    async with _opened(_for_checks(answers)) as agent:
        try:
            await agent.prefetch(answers.identity)
        except CallFailed as error:
            raise CommandFailed(
                f"{error.detail or error.reason}; nothing was written", code=ExitCode.KMS, reason=error.reason
            ) from None


async def check_enrolled(path: Path) -> None:
    """Ask the KMS for a ticket with the new key. Raises ``CommandFailed``; the configuration stays."""
    configuration = _written(path)
    async with _opened(configuration) as agent:
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
    async with _opened(_for_checks(answers)) as agent:
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
    write_whole(path, _toml(answers, vault))


async def try_call(path: Path, echo: str) -> TrialCall:
    """Call the echo service and return how that went; that it is not there is not an error of the setup."""
    configuration = _written(path)
    try:
        async with _opened(configuration) as agent:
            call = await agent.call(echo)
            async with asyncio.timeout(CALL_S):
                await call.established()
                await call.proven()
            values = {"kms": call.security.kms or "?", "peer": call.security.peer or "?"}
            await call.hangup()
    except TimeoutError:
        return TrialCall(Text("Nobody answered. Your settings are written; call somebody to try them."))
    except SipmikeyError as error:
        why = {"why": str(error)}
        return TrialCall(
            Text("The call did not work: {why}. Your settings are written; call somebody to try them.", why)
        )
    said = Text(
        "The call is protected: {kms} vouches that {peer} answered,"
        " and what arrives decrypts with the keys of the call.",
        values,
    )
    return TrialCall(said, protected=True)


def echo_of(identity: str) -> str:
    """Return where the echo service of the domain of *identity* is."""
    return f"sip:echo@{domain_of(identity)}"
