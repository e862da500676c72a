"""Calls that a person at the terminal answers or declines."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from sipmikey.agent import CallFailed, Reason
from sipmikey.cli.calls.session import AgentSession, Outcome
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.phone import HistoryEntry, Phone
from sipmikey.phone import Outcome as What
from sipmikey.phone.edge.desk import Desk
from sipmikey.phone.facts import Name


async def ask_about_calls(args: argparse.Namespace, session: AgentSession, desk: Desk) -> list[Outcome]:
    """Let calls ring and keys decide until Ctrl-C or q; with `--once` until the first call is over.

    Returns the outcome of each call.
    """
    outcomes: list[Outcome] = []
    first = asyncio.Event()

    def watch(document: Mapping[str, Any], before: Phone) -> None:
        if document["type"] == "call.answered" and args.duration is not None:
            number = document["call"]
            asyncio.get_running_loop().call_later(
                args.duration, desk.take, f'{{"do":"hangup","call":"{number}"}}'
            )
        new = len(session.phone.history) - len(before.history)
        for entry in session.phone.history[:new]:
            outcomes.append(_outcome(entry, session))
            first.set()

    session.watchers.append(watch)
    accepting = asyncio.create_task(desk.accept())
    await session.until_stopped(first.wait() if args.once else asyncio.Event().wait())
    accepting.cancel()
    await desk.close()
    return outcomes


def _outcome(entry: HistoryEntry, session: AgentSession) -> Outcome:
    """Return what a call comes to for the exit code."""
    if entry.outcome is What.ANSWERED:
        if not entry.proven and session.requires(entry.party):
            detail = f"{Name.MEDIA}: {entry.media}, {Name.PEER}: {entry.who}"
            return Outcome(code=ExitCode.MEDIA, reason=entry.reason, side=entry.side, detail=detail)
        return Outcome(code=ExitCode.OK, reason=entry.reason, side=entry.side)
    if entry.outcome is What.FAILED and entry.reason in tuple(Reason):
        side: Any = entry.side
        return Outcome.of_failure(CallFailed(Reason(entry.reason), side, 0, entry.detail))
    return Outcome(code=ExitCode.OK, reason=entry.reason, side=entry.side)
