"""`sipmikey agent`: make and take calls, driven by JSON lines."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sipmikey.agent import CallFailed
from sipmikey.cli.calls.lines import input_lines
from sipmikey.cli.calls.session import AgentSession, Outcome, add_session_options, finish, open_session
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import timestamp
from sipmikey.phone import Phone
from sipmikey.phone.edge.desk import Desk

EXAMPLES = """\
examples:
  sipmikey agent --json --config alice.toml
  (echo '{"id": 1, "do": "call", "uri": "sip:bob@example.com"}'; sleep 10) \\
      | sipmikey agent --json --config alice.toml --null-audio

Commands are JSON objects, one a line, on standard input: docs/agent-json.md lists them. Its end ends all
calls and the process. Events, and what became of commands, are JSON lines on standard output.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `agent` and its options."""
    parser = subparsers.add_parser(
        "agent",
        help="make and take calls, driven by JSON lines",
        description="Make and take calls: commands as JSON lines on stdin, events on stdout.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--do-not-disturb", action="store_true", help="refuse calls until a command lets them ring"
    )
    add_session_options(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out commands until standard input ends, and return the exit code."""
    args.json = True
    loaded = load_from(args)
    return asyncio.run(_run(args, loaded))


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration) -> int:
    sessions: list[AgentSession] = []

    def say(fields: dict[str, Any]) -> None:
        told = dict(fields)
        told_at = told.pop("at")
        sessions[0].print({"ts": timestamp(told_at), **told})

    desk = _desk(say, loaded.configuration)

    def look(fields: Mapping[str, Any], before: Phone) -> None:
        if fields["type"] == "message.waiting":
            desk.look_into_box()

    async with open_session(loaded, args, called=True, decide=desk.decide) as session:
        sessions.append(session)
        desk.use(session.agent)
        session.watchers.append(look)
        desk.hello()
        if args.do_not_disturb:
            await desk.do("do-not-disturb", {"on": True})
        work = [asyncio.create_task(desk.accept()), asyncio.create_task(_commands(desk))]
        session.print(_ready(session, loaded, desk))
        desk.look_into_box()
        if loaded.configuration.sip.registrar:
            work.append(asyncio.create_task(_register(session)))
        await session.until_stopped(desk.quitting.wait())
        await desk.close()
        for task in work:
            task.cancel()
    return finish(session, Outcome(code=ExitCode.OK))


def _desk(say: Callable[[dict[str, Any]], None], configuration: Configuration) -> Desk:
    if not (configuration.mailbox.url or configuration.mailbox.domains):
        return Desk(say)
    from sipmikey.cli.messages.box import box_of  # loading them takes long
    from sipmikey.cli.messages.outbox import outbox_of

    return Desk(say, box=box_of(configuration), outbox=outbox_of(configuration))


def _ready(session: AgentSession, loaded: LoadedConfiguration, desk: Desk) -> dict[str, Any]:
    return {
        "ts": timestamp(time.time()),
        "type": "agent.ready",
        "call": "",
        "identity": loaded.configuration.identity.uri,
        "contact": session.agent.contact,
        "features": list(desk.features),
    }


async def _register(session: AgentSession) -> None:
    with suppress(CallFailed):  # the events tell, and the stack tries again
        await session.agent.register()


async def _commands(desk: Desk) -> None:
    async for line in input_lines():
        if line.strip():
            desk.take(line)
    desk.quitting.set()
