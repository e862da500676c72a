"""`sipmikey answer`: wait for calls and answer them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from sipmikey.agent import CallFailed, IncomingCall
from sipmikey.cli.calls.ask import ask_about_calls
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
from sipmikey.cli.output import timestamp
from sipmikey.cli.service import say_ready
from sipmikey.mikey.errors import LocalError

TEMPORARILY_UNAVAILABLE = 480
BUSY_HERE = 486

EXAMPLES = """\
examples:
  sipmikey answer --config bob.toml                     ask about each call, with keys during calls
  sipmikey answer --config bob.toml --auto --listen 127.0.0.1:5070 --null-audio --play hello.wav --once
  sipmikey answer --config bob.toml --reject 486

Without a registrar, call the address that the line "Ready" shows. Without a terminal nobody can be asked:
give --auto or --reject.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `answer` and its options."""
    parser = subparsers.add_parser(
        "answer",
        help="wait for calls and answer them",
        description="Wait for calls, have the KMS resolve their tickets, and answer them.",
        epilog=f"{EXAMPLES}\n{table()}\n\nWith several calls the exit code is the highest of theirs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--auto", action="store_true", help="take each call without asking, but never two at a time"
    )
    parser.add_argument(
        "--once", action="store_true", help="exit after the first call, even if it was refused"
    )
    parser.add_argument(
        "--duration", type=positive_seconds, metavar="SECONDS", help="hang up this long after answering"
    )
    parser.add_argument(
        "--ring",
        type=positive_seconds,
        metavar="SECONDS",
        help="ring this long before answering (with --auto)",
    )
    parser.add_argument(
        "--reject", type=_failure_status, metavar="STATUS", help="refuse calls with this SIP status (300-699)"
    )
    add_session_options(parser)
    add_options(parser)


def _failure_status(text: str) -> int:
    """Return *text* as a SIP status that refuses a call; raises ValueError, as argparse expects."""
    status = int(text)
    if not 300 <= status <= 699:
        raise ValueError(text)
    return status


def run(args: argparse.Namespace) -> int:
    """Answer calls until Ctrl-C, or one with `--once`, and return the exit code."""
    if not (args.auto or args.reject or sys.stdin.isatty()):
        raise LocalError("standard input is not a terminal, so nobody can be asked: give --auto or --reject")
    loaded = load_from(args)
    return asyncio.run(_run(args, loaded))


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration) -> int:
    async with open_desk(loaded, args, called=True) as (session, desk):
        try:
            if loaded.configuration.sip.registrar:
                await session.agent.register()
            session.print(
                {
                    "ts": timestamp(time.time()),
                    "type": "agent.ready",
                    "call": "",
                    "identity": loaded.configuration.identity.uri,
                    "contact": session.agent.contact,
                }
            )
            say_ready()
            automatic = args.auto or args.reject
            outcomes = await (
                _answer_calls(args, session) if automatic else ask_about_calls(args, session, desk)
            )
        except CallFailed as error:
            outcomes = [Outcome.of_failure(error)]
    return finish(session, _worst(outcomes))


async def _answer_calls(args: argparse.Namespace, session: AgentSession) -> list[Outcome]:
    """Handle calls until Ctrl-C; with `--once` until the first one is over.

    Returns the outcomes, of which only the worst is kept as they come.
    """
    outcomes: list[Outcome] = []
    handlers: set[asyncio.Task[None]] = set()

    async def handle(incoming: IncomingCall) -> None:
        beside = len(handlers) > 1
        outcomes[:] = [_worst([*outcomes, await _handle(args, session, incoming, beside=beside)])]

    def finished(task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            handlers.discard(task)
        else:
            session.stopping.set()  # a bug: `gather` below raises it

    async def accept() -> None:
        while True:
            task = asyncio.create_task(handle(await session.agent.incoming()))
            handlers.add(task)
            task.add_done_callback(finished)
            if args.once:
                await asyncio.wait((task,))  # unlike `await task`, this does not cancel it with us
                return

    if args.once:
        # A call that is refused before it rings ends without ever having been an incoming call.
        await session.until_stopped(_first(accept(), _first_end(session, outcomes, handlers)))
    else:
        await session.until_stopped(accept())
    if handlers:
        await asyncio.gather(*handlers)
    return outcomes


async def _first_end(
    session: AgentSession, outcomes: list[Outcome], handlers: set[asyncio.Task[None]]
) -> None:
    """Wait for the end of a call; note its outcome if no other task does."""
    outcome = await session.ended.get()
    if not handlers and not outcomes:
        outcomes.append(outcome)


async def _first(*work: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of *work* is done, and cancel the others."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


async def _handle(
    args: argparse.Namespace, session: AgentSession, incoming: IncomingCall, *, beside: bool
) -> Outcome:
    """Ring, answer (or reject), stay, and hang up. *beside*: there is a call already, and one is enough."""
    try:
        if beside and args.reject is None:
            await incoming.reject(BUSY_HERE)
            return Outcome(code=ExitCode.OK, reason="busy", side="local", status=BUSY_HERE)
        if args.reject is not None:
            await incoming.reject(args.reject)
            return Outcome(code=ExitCode.OK, reason="declined", side="local", status=args.reject)
        await incoming.ring()
        if args.ring is not None and await session.until_stopped(incoming.ended(), timeout_s=args.ring):
            end = await incoming.ended()
            return Outcome.of_end(end, required=False)
        if session.stopping.is_set():
            # A user who leaves while it rings is not to be heard.
            await incoming.reject(TEMPORARILY_UNAVAILABLE)
            return Outcome(
                code=ExitCode.INTERRUPTED, reason="declined", side="local", status=TEMPORARILY_UNAVAILABLE
            )
        call = await incoming.answer()
    except CallFailed as error:
        return Outcome.of_failure(error)
    end = await session.stay(call, timeout_s=args.duration)
    return Outcome.of_end(end, required=session.requires(incoming.caller))


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: outcome.code, default=Outcome(code=ExitCode.OK))
