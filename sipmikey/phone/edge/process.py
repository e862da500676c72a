"""The process of an account as asyncio runs it: lines to it, lines from it, and its end."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

MAX_LINE = 1 << 20
STOP_S = 5.0


def agent_command(options: Sequence[str]) -> list[str]:
    """Return the command that makes calls for a face; *options* are those of `sipmikey agent`."""
    return [sys.executable, "-m", "sipmikey.cli", "agent", "--json", *options]


def how_it_ended(code: int) -> str:
    """Return what the exit status of a process says: its number, or the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


class AgentProcess:
    """`sipmikey agent --json`, started again when it ends.

    *line* is told each line, *ended* (how, after how many seconds) returns how long to wait before the next
    start.
    """

    def __init__(
        self, options: Sequence[str], *, line: Callable[[str], None], ended: Callable[[str, float], float]
    ) -> None:
        self._options = options
        self._line = line
        self._ended = ended
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def process_id(self) -> int | None:
        """The number of the process that runs, None when none does."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and keep it running."""
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            self._process = process = await asyncio.create_subprocess_exec(
                *agent_command(self._options), limit=MAX_LINE,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            complaints = asyncio.create_task(process.stderr.read())
            async for line in process.stdout:
                self._line(line.decode(errors="replace"))
            code = await process.wait()
            said = (await complaints).decode(errors="replace").strip().splitlines()
            self._process = None
            if self._stopping:
                return
            detail = said[-1] if said and code >= 0 else how_it_ended(code)
            await asyncio.sleep(self._ended(detail, time.monotonic() - began))

    def send(self, line: str) -> None:
        """Send a line; it is lost when the process does not run, and its end is told then."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(line.encode() + b"\n")

    async def stop(self) -> None:
        """Have it end its calls, and wait until it ended."""
        self._stopping = True
        process, running = self._process, self._running
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_S)
        if running is not None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
