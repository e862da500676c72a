"""One process of the demonstration: a `sipmikey` command that tells what it does as JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from sipmikey.mikey.errors import SipmikeyError

MAX_LINE = 1 << 20
"""Octets of the longest line of events."""

Document = dict[str, Any]


class ActorFailed(SipmikeyError):
    """A process ended too early or did not do in time what was waited for."""


class Actor:
    """A running command. Its events are kept in ``events`` and handed to *tell* as they come.

    ``at`` of an event is its time as Unix seconds.
    """

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, tell: Callable[[str, Document], None]
    ) -> None:
        self.name = name
        self.events: list[Document] = []
        self._process = process
        self._tell = tell
        self._news = asyncio.Condition()
        self._errors: list[str] = []
        self._reading = asyncio.gather(self._read(process.stdout), self._read(process.stderr))

    @classmethod
    async def start(cls, name: str, words: list[str], tell: Callable[[str, Document], None]) -> Actor:
        """Start `sipmikey` with the arguments *words*."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sipmikey.cli", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
        )  # fmt: skip
        return cls(name, process, tell)

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        """Take the events of *stream*; other lines are kept as what the process reports."""
        assert stream is not None
        async for line in stream:
            if (event := _event(line)) is None:
                self._errors = [*self._errors[-50:], line.decode(errors="replace").rstrip()]
                continue
            self.events.append(event)
            self._tell(self.name, event)
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    @property
    def errors(self) -> str:
        """Lines it wrote that are not events: mostly errors."""
        return "\n".join(self._errors)

    def all(self, kind: str) -> list[Document]:
        """Return the events of type *kind* so far."""
        return [event for event in self.events if event["type"] == kind]

    def last(self, kind: str) -> Document | None:
        """Return the latest event of type *kind*."""
        return next((event for event in reversed(self.events) if event["type"] == kind), None)

    async def until(
        self, kind: str, *, timeout_s: float, where: Callable[[Document], bool] = lambda event: True
    ) -> Document:
        """Wait for an event of type *kind*, for which *where* holds, and return it.

        Raises ActorFailed with what went wrong instead.
        """

        def found() -> Document | None:
            return next((event for event in reversed(self.all(kind)) if where(event)), None)

        def here() -> bool:
            return found() is not None or self._over()

        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(here)
        except TimeoutError:
            raise ActorFailed(f"{self.name}: no {kind} within {timeout_s:g} s{self._why()}") from None
        if (event := found()) is None:
            await self._reading
            raise ActorFailed(f"{self.name} ended without {kind}{self._why()}")
        return event

    async def exit_code(self, *, timeout_s: float) -> int:
        """Wait for the end of the process and return its exit code; raises ActorFailed after *timeout_s*."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._reading)
                return await self._process.wait()
        except TimeoutError:
            raise ActorFailed(f"{self.name} did not end within {timeout_s:g} s{self._why()}") from None

    async def stop(self) -> None:
        """Ask the process to end, and end it if it does not within five seconds."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()
        with suppress(asyncio.CancelledError):
            await self._reading

    def _signal(self, number: int) -> None:
        """Send a signal. Popen's own way would reap a dead process before asyncio sees it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _over(self) -> bool:
        return self._process.stdout is not None and self._process.stdout.at_eof()

    def _why(self) -> str:
        return f": {self.errors.splitlines()[-1]}" if self.errors else ""


def _event(line: bytes) -> Document | None:
    """Return a line as an event, or None. A line of a server's log becomes an event of type `log.*`."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    event.setdefault("type", f"log.{event.get('event', '')}")
    event["at"] = datetime.fromisoformat(event["ts"]).timestamp() if "ts" in event else time.time()
    return event


async def run_once(words: list[str], *, timeout_s: float = 60.0) -> Document:
    """Run `sipmikey` with *words* to its end and return the last JSON document it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sipmikey.cli", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_s):
            out, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise ActorFailed(f"sipmikey {' '.join(words[:3])} did not end within {timeout_s:g} s") from None
    if process.returncode != 0:
        raise ActorFailed(f"sipmikey {' '.join(words[:3])} failed: {errors.decode(errors='replace').strip()}")
    lines = out.splitlines()
    document = json.loads(lines[-1]) if lines else {}
    return document if isinstance(document, dict) else {}
