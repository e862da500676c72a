"""Child processes on a chosen core, and the CPU time they use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
UNDER_TEST, LOAD = 0, 1
"""Cores."""


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of a process have run, to the nanosecond (schedstat)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def busy_s() -> float:
    """CPU seconds that all of the machine has been busy."""
    values = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(values) - values[3] - values[4]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*argv: object, core: int, python: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a program (a script of this directory, if *python*) on one core until the block ends."""
    words = [str(word) for word in argv]
    if python:
        words = [sys.executable, str(HERE / words[0]), *words[1:]]
    with subprocess.Popen(
        ["taskset", "-c", str(core), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def line_of(process: subprocess.Popen[str], start: str) -> str:
    """Return the rest of the next output line that begins with *start*."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line.removeprefix(start).strip()
    raise RuntimeError(f"{process.args} ended with {process.wait()} before {start!r}")


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Send a line to a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


class Span:
    """CPU used by some processes, and by everything else, while a block runs."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids

    def __enter__(self) -> Span:
        self._cpu = [cpu_s(pid) for pid in self._pids]
        self._busy, self._start = busy_s(), time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._start
        self.cpu = [cpu_s(pid) - before for pid, before in zip(self._pids, self._cpu, strict=True)]
        self.foreign = max(0.0, busy_s() - self._busy - sum(self.cpu)) / self.seconds
        """Cores that other processes kept busy."""
