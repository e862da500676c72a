"""An open session with a desk that carries out commands, and keys at a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sipmikey.cli.calls.console import Console
from sipmikey.cli.calls.prompt import ask_at_terminal
from sipmikey.cli.calls.session import AgentSession, open_session
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.output import timestamp
from sipmikey.phone import fold
from sipmikey.phone.edge.desk import Desk


@asynccontextmanager
async def open_desk(
    loaded: LoadedConfiguration, args: argparse.Namespace, *, called: bool = False
) -> AsyncIterator[tuple[AgentSession, Desk]]:
    """Open an agent whose calls a person at the terminal handles with keys. *called*: calls come in."""
    sessions: list[AgentSession] = []

    def say(fields: dict[str, Any]) -> None:
        told = dict(fields)
        at = told.pop("at")
        sessions[0].print({"ts": timestamp(at), **told})

    desk = Desk(say)
    decide = desk.decide if sys.stdin.isatty() else ask_at_terminal
    async with open_session(loaded, args, called=called, decide=decide) as session:
        sessions.append(session)
        desk.use(session.agent)
        ready = {"type": "agent.ready", "identity": session.agent.identity, "features": list(desk.features)}
        session.phone = fold(session.phone, ready)
        async with Console(session, desk, dials=called).keyboard():
            yield session, desk
