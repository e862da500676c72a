"""A `sipmikey` that believes it is at a terminal: its other end is typed at and read."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time

from sipmikey.testing.program import COMMAND, Program

WAIT_S = 30
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A running command on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        variables = {"XDG_CONFIG_HOME": "/nonexistent", "TERM": "dumb", "COLUMNS": "200"}
        self.process = Program(COMMAND, *words, terminal=theirs, environment=variables)
        os.close(theirs)
        self.screen = ""
        self._read_to = 0

    def until(self, text: str) -> str:
        """Read until *text* appears after what was waited for before; return the screen so far."""
        self.first_of(text)
        return self.screen

    def first_of(self, *texts: str) -> str:
        """Read until one of *texts* appears after what was waited for before; return it."""
        deadline = time.monotonic() + WAIT_S
        while not (found := [text for text in texts if self.screen.find(text, self._read_to) >= 0]):
            left = deadline - time.monotonic()
            assert left > 0, f"{texts!r} does not come:\n{self.screen}"
            assert self._more(left), f"ended before {texts!r}:\n{self.screen}"
        self._read_to = self.screen.find(found[0], self._read_to) + len(found[0])
        return found[0]

    def _more(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if not ready:
            return True
        try:
            octets = os.read(self._ours, 65536)
        except OSError:
            return False
        self.screen += COLOUR.sub("", octets.decode(errors="replace")).replace("\r", "")
        return bool(octets)

    def type(self, keys: str) -> None:
        """Type *keys*."""
        os.write(self._ours, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal's window: the command gets SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        """Read the rest and return the exit code."""
        deadline = time.monotonic() + WAIT_S
        while self._more(1.0) and self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.screen}"
        code = self.process.wait(timeout=WAIT_S)
        os.close(self._ours)
        return code

    def kill(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
