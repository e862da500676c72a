"""What `sipmikey check` looks at, one finding each: what is wrong, and what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sipmikey.agent import Agent, AgentConfig, CallFailed
from sipmikey.agent.registration import RegistrationError
from sipmikey.agent.stack import StackError
from sipmikey.call.reasons import Reason
from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.options import warn
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.messages.box import box_of
from sipmikey.mailbox.client import MailboxRefused
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.nat.servers import endpoint_text
from sipmikey.pem_file import NoPem, read_certificates

_SOON_S = 14 * 86400.0


class State(StrEnum):
    """``OK``; ``WARNING``: works, with a drawback; ``BAD``: calls will fail; ``UNUSED``: not configured."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. ``advice``: what to do, empty where there is nothing to do."""

    name: str
    state: State
    detail: str
    advice: str = ""


async def findings(configuration: Configuration) -> AsyncIterator[Finding]:
    """Yield all of them, as they are found. Raises ``ConfigurationError`` where no agent can be made."""
    config = agent_config(configuration)
    for finding in _certificates(configuration):
        yield finding
    for finding in _sound(config):
        works = finding.state is not State.OK
        yield finding if works else await asyncio.to_thread(_running_sound, config, finding)
    async for finding in _nat(config):
        yield finding
    async for finding in _agent(configuration, config):
        yield finding
    if configuration.mailbox.url:
        yield await mailbox_finding(configuration)


async def mailbox_finding(configuration: Configuration) -> Finding:
    """Look into our box at the mailbox that is configured."""
    url = configuration.mailbox.url
    box = box_of(configuration)
    if box is None:
        return Finding(
            name="mailbox", state=State.WARNING, detail=f"{url}: nothing opens a box of ours there",
            advice="set mailbox.token_file to hear messages; to leave some, nothing is missing",
        )  # fmt: skip
    try:
        messages = await box.listed()
    except MailboxRefused as error:
        return Finding(
            name="mailbox", state=State.BAD, detail=str(error),
            advice="have a new token made: sipmikey mailbox box add",
        )  # fmt: skip
    except SipmikeyError as error:
        return Finding(
            name="mailbox",
            state=State.BAD,
            detail=str(error),
            advice="look at mailbox.url and mailbox.ca_file",
        )
    new = sum(not message["heard"] for message in messages)
    return Finding(name="mailbox", state=State.OK, detail=f"{url}: {new} new, {len(messages) - new} heard")


def offline_findings(configuration: Configuration, config: AgentConfig) -> Iterator[Finding]:
    """Yield what needs no network: certificates and sound devices."""
    yield from _certificates(configuration)
    yield from _sound(config)


def warn_of_troubles(configuration: Configuration) -> None:
    """Warn of what can be seen without the network and will make calls fail."""
    for finding in offline_findings(configuration, agent_config(configuration)):
        if finding.state in (State.BAD, State.WARNING):
            warn(f"{finding.detail}; {finding.advice}")


def _certificates(configuration: Configuration) -> Iterator[Finding]:
    files = {
        "sip.tls_ca_file": configuration.sip.tls_ca_file,
        "sip.tls_certificate_file": configuration.sip.tls_certificate_file,
        "kms.ca_file": configuration.kms.ca_file,
        "kms.certificate_file": configuration.kms.certificate_file,
    }
    for name, path in files.items():
        if path is not None:
            yield _certificate(name, path)


def _certificate(name: str, path: Path) -> Finding:
    try:
        found = read_certificates(path, name)
    except NoPem as error:
        return Finding(
            name="certificates", state=State.BAD, detail=str(error),
            advice="convert it: openssl x509 -inform DER -in FILE -out FILE.pem",
        )  # fmt: skip
    except LocalError as error:
        return Finding(
            name="certificates", state=State.BAD, detail=str(error),
            advice=f"put the PEM file there, or change {name}",
        )  # fmt: skip
    first = min(found, key=lambda one: one.not_valid_after_utc)
    left_s = first.not_valid_after_utc.timestamp() - time.time()
    until = first.not_valid_after_utc.date().isoformat()
    if left_s < 0:
        return Finding(
            name="certificates", state=State.BAD, detail=f"{name}: {path} is out of date since {until}",
            advice="have a new one issued",
        )  # fmt: skip
    if first.not_valid_before_utc > datetime.now(UTC):
        return Finding(
            name="certificates", state=State.BAD, detail=f"{name}: {path} is not valid yet",
            advice="set the clock of this machine by NTP",
        )  # fmt: skip
    state = State.WARNING if left_s < _SOON_S else State.OK
    advice = "have a new one issued soon" if state is State.WARNING else ""
    return Finding(name="certificates", state=state, detail=f"{name} is valid until {until}", advice=advice)


def _sound(config: AgentConfig) -> Iterator[Finding]:
    if config.audio.device == "null":
        yield Finding(name="sound", state=State.UNUSED, detail="no sound device (media.device = null)")
        return
    try:
        from sipmikey.sound.devices import Devices, Direction, choose
    except ImportError as error:
        yield Finding(
            name="sound", state=State.BAD, detail=f"{error.name} is not installed",
            advice="pip install 'sipmikey[sound]'",
        )  # fmt: skip
        return
    try:
        devices = Devices()
        there = devices.all()
        wanted = (
            ("input", config.audio.sound.input, Direction.INPUT),
            ("output", config.audio.sound.output, Direction.OUTPUT),
            ("ringer", config.audio.sound.ringer, Direction.OUTPUT),
        )
        for role, name, direction in wanted:
            if name:
                choose(name, direction, there)
            if not any(one.direction is direction for one in there):
                raise LocalError(f"there is no {role} device")
    except LocalError as error:
        yield Finding(
            name="sound", state=State.BAD, detail=str(error),
            advice="sipmikey devices shows what there is; --null-audio does without",
        )  # fmt: skip
        return
    yield Finding(
        name="sound", state=State.OK, detail=f"{devices.backend}, {len(there)} devices",
    )  # fmt: skip


def _running_sound(config: AgentConfig, found: Finding) -> Finding:
    """Return *found*, or what is wrong where microphone or speaker do not run."""
    from sipmikey.sound.devices import Direction
    from sipmikey.sound.trial import open_and_close

    sound = config.audio.sound
    for role, direction, name in (
        ("input", Direction.INPUT, sound.input), ("output", Direction.OUTPUT, sound.output),
    ):  # fmt: skip
        try:
            open_and_close(direction, name)
        except LocalError as error:
            return replace(
                found, state=State.BAD, detail=f"{found.detail}; media.{role}: {error}",
                advice="sipmikey devices --test tries the others; --null-audio does without",
            )  # fmt: skip
    return found


async def _nat(config: AgentConfig) -> AsyncIterator[Finding]:
    if not config.nat.stun and not config.nat.turn:
        yield Finding(
            name="nat", state=State.UNUSED, detail="neither a STUN nor a TURN server is set",
            advice="behind a NAT nobody hears you without: set nat.turn",
        )  # fmt: skip
        return
    try:
        from sipmikey.nat.probe import NatKind, probe
    except ImportError as error:
        yield Finding(
            name="nat", state=State.BAD, detail=f"{error.name} is not installed",
            advice="pip install 'sipmikey[nat]'",
        )  # fmt: skip
        return
    report = await probe(config.nat, bind=config.sip.bind)
    for name, server in (("stun", report.stun), ("turn", report.turn)):
        if server is None:
            continue
        if server.works and server.address is not None:
            what = "sees us at" if name == "stun" else "relays at"
            detail = f"{what} {endpoint_text(server.address)}, after {server.took_ms:.0f} ms"
            yield Finding(name=name, state=State.OK, detail=detail)
        else:
            what = "nat.stun" if name == "stun" and config.nat.stun else "nat.turn"
            advice = f"check {what}, and that UDP leaves this network"
            if server.detail.startswith("refused"):
                advice = "check nat.turn_username and nat.turn_password_file, or nat.turn_secret_file"
            yield Finding(name=name, state=State.BAD, detail=server.detail, advice=advice)
    advice = ""
    if report.kind is NatKind.SYMMETRIC and not config.nat.turn:
        advice = "STUN alone is not enough behind a symmetric NAT: set nat.turn"
    elif report.kind is NatKind.BLOCKED:
        advice = "where the servers are right, UDP does not leave this network: media needs it"
    elif report.kind is NatKind.UNKNOWN:
        advice = "no server tells: mend the one above"
    bad = report.kind is NatKind.BLOCKED
    state = State.BAD if bad else State.WARNING if advice else State.OK
    yield Finding(name="nat", state=state, detail=report.kind.replace("-", " "), advice=advice)


async def _agent(configuration: Configuration, config: AgentConfig) -> AsyncIterator[Finding]:
    """Start an agent without sound, have the KMS give it a ticket for itself, and register."""
    quiet = replace(config, audio=replace(config.audio, device="null", play=None, record=None))
    async with AsyncExitStack() as stack:
        client = kms_client(configuration)
        if client is not None:
            await stack.enter_async_context(client)
        agent = Agent(quiet, kms=client)
        try:
            await stack.enter_async_context(agent)
        except (StackError, LocalError) as error:
            if "codec" not in str(error):
                yield Finding(
                    name="sip", state=State.BAD, detail=str(error), advice="change sip.listen or [sip]"
                )
                return
            yield Finding(
                name="codecs", state=State.BAD, detail=str(error), advice="set media.codecs to some of these"
            )
            agent = Agent(replace(quiet, audio=replace(quiet.audio, codecs=())), kms=client)
            await stack.enter_async_context(agent)
        else:
            offered = ", ".join(config.audio.offered) or "all of this pjsua2"
            yield Finding(name="codecs", state=State.OK, detail=offered)
        yield await _kms(agent, config)
        yield await _registrar(agent, config)


async def _kms(agent: Agent, config: AgentConfig) -> Finding:
    if config.keys is None:
        return Finding(name="kms", state=State.UNUSED, detail="no KMS is set: calls are not protected")
    started = time.monotonic()
    try:
        await agent.prefetch(config.identity)
    except CallFailed as error:
        detail, advice = _advised(str(error), error.reason)
        return Finding(name="kms", state=State.BAD, detail=detail, advice=advice)
    took_ms = (time.monotonic() - started) * 1e3
    return Finding(
        name="kms", state=State.OK, detail=f"{config.keys.kms} gave a ticket after {took_ms:.0f} ms"
    )


_CERTIFICATES = {
    "expired": "its administrator has to renew it; or the clock of this machine is wrong",
    "not yet valid": "set the clock of this machine by NTP",
    "mismatch": "kms.url has to name the KMS as its certificate does",
    "not valid for": "kms.url has to name the KMS as its certificate does",
}
"""What OpenSSL says of a certificate, in part -> what to do."""


def _advised(told: str, reason: Reason) -> tuple[str, str]:
    """Return what is wrong with the KMS, and what to do. *told*: both, or the first only."""
    if "is not trusted" in told:
        fitting = (advice for words, advice in _CERTIFICATES.items() if words in told)
        return told, next(fitting, "set kms.ca_file to the certificate of the CA that issued it")
    if reason in (Reason.KMS_UNREACHABLE, Reason.KMS_TIMEOUT):
        return told, "check kms.url and the network"
    detail, told_so, advice = told.partition("): ")
    if told_so:
        return f"{detail})", advice
    return (
        told,
        "check kms.psk_file, kms.psk_id and the clock of this machine, or ask the KMS's administrator",
    )


async def _registrar(agent: Agent, config: AgentConfig) -> Finding:
    if not config.sip.registrar:
        return Finding(name="registrar", state=State.UNUSED, detail="no registrar is set")
    try:
        await agent.register()
        await agent.unregister()
    except (RegistrationError, SipmikeyError) as error:
        return Finding(
            name="registrar", state=State.BAD, detail=str(error),
            advice="check sip.registrar, sip.proxy and credentials.password_file",
        )  # fmt: skip
    return Finding(name="registrar", state=State.OK, detail=f"{config.sip.registrar} accepts us")
