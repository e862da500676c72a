"""Single keys from the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

ENDS = "\x03\x04q"
"""Ctrl-C comes as a signal; where it does not, it is a key like Ctrl-D and q."""


@asynccontextmanager
async def keys_typed(press: Callable[[str], None], gone: Callable[[], None]) -> AsyncIterator[None]:
    """Call *press* with each key typed meanwhile. *gone* is called when the terminal is closed.

    Standard input has to be a terminal.
    """
    descriptor = sys.stdin.fileno()
    usual = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            typed = os.read(descriptor, 64).decode(errors="ignore")
        except OSError:
            typed = ""
        if not typed:
            loop.remove_reader(descriptor)
            gone()
        for key in typed:
            press(key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, usual)
