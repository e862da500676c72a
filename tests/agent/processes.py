"""Running an agent in a process of its own, spoken to in JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WAIT_S = 20.0


class Process:
    """A child that writes JSON events to stdout and takes JSON commands on stdin."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.seen: list[dict[str, Any]] = []
        self._next = 0
        self._news = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            async with self._news:
                self.seen.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Return the next event with these fields; the ones before it are passed over."""
        async with asyncio.timeout(WAIT_S), self._news:
            while True:
                while self._next < len(self.seen):
                    event = self.seen[self._next]
                    self._next += 1
                    if all(event.get(name) == value for name, value in wanted.items()):
                        return event
                if self._reader.done():
                    raise AssertionError(f"the process ended before {wanted}: {self.seen}")
                await self._news.wait()

    def do(self, command: str, **arguments: Any) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write((json.dumps({"do": command, **arguments}) + "\n").encode())

    async def close(self) -> int:
        """Close its stdin, which ends it, and return its exit status."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        async with asyncio.timeout(WAIT_S):
            status = await self.child.wait()
            await self._reader
        return status


def children_of(pid: int) -> list[int]:
    """Return the processes that *pid* started, oldest first."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(found)


def stacks_of(process: Process) -> list[int]:
    """Return the stack processes of an agent, oldest first: copies of the one that it started."""
    return [stack for loader in children_of(process.child.pid) for stack in children_of(loader)]


@contextlib.asynccontextmanager
async def running(script: str, settings: dict[str, Any]) -> AsyncIterator[Process]:
    """Start *script* of this folder with *settings*; kill it in the end unless it has exited."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / script),
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    process = Process(child)
    try:
        yield process
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        await process._reader
