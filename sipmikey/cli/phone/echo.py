"""`sipmikey echo`: a service that sends back what it hears, to try one's sound and one's keys on."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

from sipmikey.agent import CallFailed, IncomingCall
from sipmikey.cli.calls.session import (
    AgentSession,
    Outcome,
    add_session_options,
    finish,
    open_session,
    positive_seconds,
)
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.phone.ready import ready_document

EXAMPLES = """\
examples:
  sipmikey kms user add sip:echo@example.com --psk-id echo --psk-file echo.psk
  sipmikey echo --config echo.toml            up to four calls at a time, a minute each

People call it as sip:echo@example.com; `sipmikey setup` does so at its end.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `echo` and its options."""
    parser = subparsers.add_parser(
        "echo",
        help="answer calls and send back what is heard",
        description="Answer every call and send back what is heard, for callers who try their sound.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--duration", type=positive_seconds, metavar="SECONDS", default=60.0, help="longest call [60]"
    )
    add_session_options(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Answer calls until Ctrl-C, and return the exit code."""
    setattr(args, "media.echo", "true")
    setattr(args, "media.device", "null")
    loaded = load_from(args)
    return asyncio.run(_run(args, loaded))


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration) -> int:
    tasks: set[asyncio.Task[None]] = set()

    async def accept(session: AgentSession) -> None:
        while True:
            task = asyncio.create_task(_echo(session, await session.agent.incoming(), args.duration))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    outcome = Outcome(code=ExitCode.OK)
    async with open_session(loaded, args, called=True) as session:
        try:
            if loaded.configuration.sip.registrar:
                await session.agent.register()
            session.print(ready_document(session, loaded))
            await session.until_stopped(accept(session))
            await asyncio.gather(*tasks)
        except CallFailed as error:
            outcome = Outcome.of_failure(error)
    return finish(session, outcome)


async def _echo(session: AgentSession, incoming: IncomingCall, longest_s: float) -> None:
    with suppress(CallFailed):  # the events tell
        await incoming.ring()
        call = await incoming.answer()
        await session.stay(call, timeout_s=longest_s)
