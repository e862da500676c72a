"""Peers as child processes: started, watched line by line, always stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sipmikey.testing.parent import end_with_parent
from sipmikey.testing.program import Program

STOP_SECONDS = 5.0


class PeerFailed(AssertionError):
    """A peer ended, or stayed silent, where the test needed it; carries the end of its output."""


class Process:
    """A child whose output lines are kept and can be waited for.

    It leads a process group of its own, so that stopping it stops what it forked as well.
    """

    def __init__(
        self,
        argv: Sequence[str | Path] | Program,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bool = False,
    ) -> None:
        words = argv.args if isinstance(argv, Program) else argv
        self.name = name or Path(words[0]).name
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._child = (
            argv
            if isinstance(argv, Program)
            else subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for raw in self._child.stdout:
            with self._changed:
                self.lines.append(raw.decode(errors="replace").rstrip("\r\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def write_line(self, line: str) -> None:
        """Send *line* to the child's standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()

    def wait_for(self, wanted: str | Callable[[str], bool], *, timeout: float = 15.0, start: int = 0) -> int:
        """Index of the first output line, from *start* on, that contains or satisfies *wanted*."""
        matches = wanted if callable(wanted) else (lambda line: wanted in line)
        deadline = time.monotonic() + timeout
        seen = start
        with self._changed:
            while True:
                while seen < len(self.lines) and time.monotonic() < deadline:
                    if matches(self.lines[seen]):
                        return seen
                    seen += 1
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "ended" if self._ended else f"said nothing of it for {timeout:g} s"
                    raise PeerFailed(f"{self.name} {why}, waiting for {wanted!r}\n{self.tail()}")
                self._changed.wait(left)

    def wait(self, timeout: float = 15.0) -> int:
        """Exit status of the child, which must end by itself within *timeout* seconds."""
        try:
            status = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"{self.name} still runs after {timeout:g} s\n{self.tail()}") from None
        self._reader.join(STOP_SECONDS)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the child alone."""
        self._child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the child and everything it started."""
        if self.running:
            self._child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._reader.join(STOP_SECONDS)
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    def tail(self, count: int = 40) -> str:
        """The last output lines, for a message."""
        return "\n".join(f"  {self.name}| {line}" for line in self.lines[-count:])
