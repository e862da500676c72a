"""The process of an account as Qt runs it: lines to it, lines from it, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, QProcess, QTimer

from sipmikey.phone.edge.process import agent_command, how_it_ended

STOP_MS = 5000


class AgentProcess(QObject):
    """`sipmikey agent --json`, started again when it ends.

    *line* is told each line, *ended* (how, after how many seconds) returns how long to wait before the next
    start.
    """

    def __init__(
        self,
        options: Sequence[str],
        *,
        line: Callable[[str], None],
        ended: Callable[[str, float], float],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._options = options
        self._line = line
        self._ended = ended
        self._stopping = False
        self._began = 0.0
        self._rest = b""
        self._complaint = ""
        self._process = QProcess(self)
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.readyReadStandardError.connect(self._hear)
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._failed)

    @property
    def process_id(self) -> int:
        """The number of the process that runs, 0 when none does."""
        return int(self._process.processId())

    def start(self) -> None:
        """Start it."""
        program, *arguments = agent_command(self._options)
        self._began, self._rest, self._complaint = time.monotonic(), b"", ""
        self._process.start(program, arguments)

    def _read(self) -> None:
        octets = self._rest + bytes(self._process.readAllStandardOutput().data())
        *whole, self._rest = octets.split(b"\n")
        for line in whole:
            self._line(line.decode(errors="replace"))

    def _hear(self) -> None:
        said = bytes(self._process.readAllStandardError().data()).decode(errors="replace").strip()
        if said:
            self._complaint = said.splitlines()[-1]

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self._again(self._process.errorString())

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        crashed = status is QProcess.ExitStatus.CrashExit
        self._again(how_it_ended(-code) if crashed else self._complaint or f"exit code {code}")

    def _again(self, detail: str) -> None:
        if self._stopping:
            return
        wait_s = self._ended(detail, time.monotonic() - self._began)
        QTimer.singleShot(round(wait_s * 1000), self, self._restart)

    def _restart(self) -> None:
        if not self._stopping:
            self.start()

    def send(self, line: str) -> None:
        """Send a line; it is lost when the process does not run, and its end is told then."""
        if self._process.state() is QProcess.ProcessState.Running:
            self._process.write(line.encode() + b"\n")

    def stop(self) -> None:
        """Have it end its calls, and wait until it ended."""
        self._stopping = True
        if self._process.state() is QProcess.ProcessState.NotRunning:
            return
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(STOP_MS):
            self._process.kill()
            self._process.waitForFinished(STOP_MS)
