"""Lines of standard input as they come, whatever it is: a pipe, a terminal or a file."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

CHUNK = 1 << 16
"""Octets read at a time."""

MAX_LINE = 1 << 20
"""Octets of the longest line; what is longer comes in pieces, which are not commands."""


async def input_lines() -> AsyncIterator[str]:
    """Yield the lines of standard input until it ends.

    A thread reads them: a file cannot be waited for, and a terminal must not be made non-blocking for others.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def say(line: str | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is on its way out
            loop.call_soon_threadsafe(lines.put_nowait, line)

    # A daemon must not hold the lock of a buffered stream when the interpreter ends: it reads the descriptor.
    threading.Thread(target=_read, args=(sys.stdin.fileno(), say), daemon=True, name="stdin").start()
    while (line := await lines.get()) is not None:
        yield line


def _read(descriptor: int, say: Callable[[str | None], None]) -> None:
    rest = b""
    with suppress(OSError):
        while octets := os.read(descriptor, CHUNK):
            *whole, rest = (rest + octets).split(b"\n")
            if len(rest) > MAX_LINE:
                whole, rest = [*whole, rest], b""
            for line in whole:
                say(line.decode(errors="replace"))
    if rest:
        say(rest.decode(errors="replace"))
    say(None)
