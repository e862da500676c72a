"""The process of an account, in threads beside a face: lines to it, lines from it, and its end."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

from sipmikey.json_agent import start_agent

STOP_S = 5.0

Running: TypeAlias = Mapping[str, "subprocess.Popen[bytes]"]
"""Account -> its process, which was started already."""


def how_it_ended(code: int) -> str:
    """Return what the exit status of a process says: its number, or the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


class Thread(Protocol):
    """The thread of a face."""

    def soon(self, work: Callable[[], None]) -> None:
        """Do *work* in that thread; called from another one."""

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do *work* in that thread in so many seconds; called from it."""


class AgentProcess:
    """`sipmikey agent --json`, started again when it ends.

    In the *face*'s thread *line* is told each line, and *ended* (how, after how many seconds) returns how
    long to wait before the next start. *running* is a process that was started already.
    """

    def __init__(
        self,
        options: Sequence[str],
        *,
        face: Thread,
        line: Callable[[str], None],
        ended: Callable[[str, float], float],
        running: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._options = options
        self._face = face
        self._line = line
        self._ended = ended
        self._began = time.monotonic()
        self._process = running
        self._stopping = False

    @property
    def process_id(self) -> int | None:
        """The number of the process that runs, None when none does."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, unless it was, and listen to it."""
        if self._stopping:
            return
        if self._process is None:
            self._began = time.monotonic()
            try:
                self._process = start_agent(self._options)
            except OSError as error:
                self._over(str(error))
                return
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        complaints: list[bytes] = []
        hearing = threading.Thread(target=_hear, args=(process, complaints), daemon=True)
        hearing.start()
        for line in process.stdout:
            text = line.decode(errors="replace")
            self._face.soon(lambda text=text: self._line(text))  # type: ignore[misc]
        code = process.wait()
        hearing.join()
        said = complaints[-1].decode(errors="replace").strip() if complaints and code >= 0 else ""
        self._face.soon(lambda: self._over(said or how_it_ended(code)))

    def _over(self, detail: str) -> None:
        if self._stopping:
            return
        self._process = None
        self._face.later(self._ended(detail, time.monotonic() - self._began), self.start)

    def send(self, line: str) -> None:
        """Send a line; it is lost when the process does not run, and its end is told then."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def stop(self) -> None:
        """Have it end its calls, and wait until it ended; from any thread."""
        self._stopping = True
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _hear(process: subprocess.Popen[bytes], complaints: list[bytes]) -> None:
    """Keep the last line that is not empty of what *process* complains of."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip():
            complaints[:] = [line]
