"""`sipmikey call`: call a SIP URI, keep the call for a while, and say how secure it was."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from sipmikey.agent import CallFailed
from sipmikey.cli.calls.desk import open_desk
from sipmikey.cli.calls.session import (
    AgentSession,
    Outcome,
    add_session_options,
    finish,
    positive_seconds,
)
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.messages.leave_options import UNANSWERED, add_leaving_options
from sipmikey.cli.output import Output
from sipmikey.phone.edge.desk import Desk
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.identity import canonical

if TYPE_CHECKING:
    from sipmikey.cli.messages.leave import LeavingMessage

EXAMPLES = """\
examples:
  sipmikey call --config alice.toml sip:bob@example.com
  sipmikey call --config alice.toml sip:bob@example.com --via sip:192.0.2.7:5060 \\
      --duration 10 --null-audio --play hello.wav --record heard.wav
  sipmikey call --config alice.toml sip:bob@example.com --json --duration 5 | jq -r .type
  sipmikey call --config alice.toml sip:bob@example.com --leave-message --message hello.wav
  sipmikey call --config alice.toml sip:bob@example.com --leave-message --without-calling

The call lasts until the other side hangs up, --duration is over, or Ctrl-C, which hangs up too. At a terminal
the keys that are shown hold, mute, transfer, send digits and make new keys.
"""

INTERRUPTED = Outcome(code=ExitCode.INTERRUPTED, reason="cancelled", side="local")
"""Of a call that Ctrl-C ended before it was one."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `call` and its options."""
    parser = subparsers.add_parser(
        "call",
        help="call a SIP URI with keys from a MIKEY ticket",
        description="Call a SIP URI. Keys come from the KMS; nothing is sent before they are there.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("uri", metavar="SIP-URI", help="whom to call")
    parser.add_argument(
        "--via", metavar="SIP-URI", help="send the INVITE there, e.g. to the other agent's own address"
    )
    parser.add_argument(
        "--duration", type=positive_seconds, metavar="SECONDS", help="hang up this long after the answer"
    )
    parser.add_argument(
        "--prefetch", action="store_true", help="get the ticket first, so that the call itself needs no KMS"
    )
    add_leaving_options(parser)
    add_session_options(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Make the call and return its exit code."""
    loaded = load_from(args)
    _check_uri(args.uri)
    if not args.leave_message:
        if args.without_calling or args.message is not None:
            raise ConfigurationError("--without-calling and --message go with --leave-message")
        return asyncio.run(_run(args, loaded, None))
    # Loaded late: what protects messages takes SRTP in Python, which a call does without.
    from sipmikey.cli.messages.leave import LeavingMessage

    message = LeavingMessage(args, loaded)
    if args.without_calling:
        asyncio.run(message.leave(Output(as_json=args.json), quiet=args.quiet))
        return ExitCode.OK
    return asyncio.run(_run(args, loaded, message))


def _check_uri(uri: str) -> None:
    """Raise ``ConfigurationError`` for a URI that cannot be called, before a call is made."""
    scheme, colon, rest = uri.partition(":")
    if scheme.lower() == "tel":
        raise ConfigurationError(
            "a tel: URI does not say which SIP domain to ask: call"
            f" sip:{rest.partition(';')[0]}@DOMAIN;user=phone"
        )
    if not colon or scheme.lower() not in ("sip", "sips"):
        raise ConfigurationError(f"{uri!r} is not a SIP URI, such as sip:bob@example.com")
    canonical(uri)


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration, message: LeavingMessage | None) -> int:
    async with open_desk(loaded, args) as (session, desk):
        try:
            ready = await _get_ready(args, loaded, session)
            outcome = await _call(args, session, desk) if ready else INTERRUPTED
        except CallFailed as error:
            outcome = Outcome.of_failure(error)
    if message is not None and outcome.reason in UNANSWERED:
        # The agent is closed: the microphone is free.
        await message.leave(session.output, quiet=args.quiet)
        outcome = Outcome(code=ExitCode.OK, reason="message-left", side="local", status=outcome.status)
    return finish(session, outcome)


async def _get_ready(args: argparse.Namespace, loaded: LoadedConfiguration, session: AgentSession) -> bool:
    """Register and get the ticket, where that is asked for; return False after Ctrl-C."""
    agent = session.agent
    if loaded.configuration.sip.registrar and not await session.until_stopped(agent.register()):
        return False
    return not args.prefetch or await session.until_stopped(agent.prefetch(args.uri))


async def _call(args: argparse.Namespace, session: AgentSession, desk: Desk) -> Outcome:
    """Call and wait for the end; raises CallFailed when there was no call."""
    calling = asyncio.ensure_future(session.agent.call(args.uri, via=args.via))
    if not await session.until_stopped(calling):
        return INTERRUPTED
    call = calling.result()
    desk.keep(call)
    if not await session.until_stopped(call.established()):
        await call.hangup()
        return INTERRUPTED
    end = await session.stay(call, timeout_s=args.duration)
    return Outcome.of_end(end, required=session.requires(args.uri))
