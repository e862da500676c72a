"""Python programs of the kit, each in a process of its own that is there at once: see `preloaded`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, TypedDict

COMMAND = "sipmikey.cli.main:main"
"""The entry of the `sipmikey` command."""

LARGEST_REQUEST = 1 << 17
LARGEST_ANSWER = 32
MOST_DESCRIPTORS = 5

RUN_S = 60.0
_NETWORK = "/proc/thread-self/ns/net"


class Request(TypedDict):
    """``entry`` is "module:function"; the function takes nothing and returns an exit status or None."""

    entry: str
    words: list[str]
    environment: dict[str, str]
    directory: str


class Program:
    """A running program, with the names of `subprocess.Popen`. A context manager that waits for the end.

    *entry* is "module:function" and *words* what is in ``sys.argv`` behind the name; None takes a variable
    out of the *environment*. Standard input, output and error are pipes, of text or of bytes; *terminal* is a
    descriptor for all three, *stderr* a file for the last, or ``subprocess.STDOUT``. The program leads a
    session of its own, works in the network namespace of the thread that starts it, and ends with this
    process. Raises OSError.
    """

    def __init__(
        self,
        entry: str,
        *words: object,
        text: bool = False,
        stderr: IO[bytes] | int | None = None,
        terminal: int | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.args = [entry, *map(str, words)]
        self.returncode: int | None = None
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self._lock = threading.Lock()
        variables = {**os.environ, **(environment or {})}
        request: Request = {
            "entry": entry,
            "words": self.args[1:],
            "environment": {name: value for name, value in variables.items() if value is not None},
            "directory": os.getcwd(),
        }
        mode = "" if text else "b"
        with ExitStack() as theirs:
            if terminal is not None:
                given = [terminal] * 3
            else:
                given = [_pipe(theirs, self, name, mode) for name in ("stdin", "stdout")]
                if stderr is None:
                    given.append(_pipe(theirs, self, "stderr", mode))
                else:
                    given.append(given[1] if isinstance(stderr, int) else stderr.fileno())
            self._report, report = os.pipe()
            theirs.callback(os.close, report)
            given.append(report)
            if sys.platform == "linux":
                given.append(os.open(_NETWORK, os.O_RDONLY))
                theirs.callback(os.close, given[-1])
            self.pid = _original().copy(request, given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while the program runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises ``subprocess.TimeoutExpired`` after *timeout* seconds."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the program to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the program by force."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Give *input* and its end to the program, wait, and return what it printed, output and error.

        Raises ``subprocess.TimeoutExpired``.
        """
        printed: dict[str, Any] = {}
        readers = [
            threading.Thread(target=_read, args=(name, stream, printed), daemon=True)
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
            if stream is not None and not stream.closed
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with suppress(OSError, ValueError):
                if input is not None:
                    self.stdin.write(input)
                self.stdin.close()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        self.close()
        return printed.get("stdout"), printed.get("stderr")

    def close(self) -> None:
        """Close our ends of the pipes."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            select.select([self._report], [], [], timeout)
        with self._lock:
            if self.returncode is None and select.select([self._report], [], [], 0)[0]:
                # Nothing is reported when the original is gone, and with it its copies.
                self.returncode = int(os.read(self._report, LARGEST_ANSWER) or -signal.SIGKILL)
                os.close(self._report)
        return self.returncode


class FinishedProgram(NamedTuple):
    """What `run` returns, with the names of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def run(
    *words: object,
    entry: str = COMMAND,
    input: str | None = None,
    timeout_s: float = RUN_S,
    environment: Mapping[str, str | None] | None = None,
) -> FinishedProgram:
    """Run a program, `sipmikey` with *words* unless told otherwise, and return what it printed.

    Raises ``subprocess.TimeoutExpired``.
    """
    program = Program(entry, *words, text=True, environment=environment)
    try:
        output, error = program.communicate(input, timeout_s)
    finally:
        program.kill()
    return FinishedProgram(program.wait(), output, error)


def _read(name: str, stream: IO[Any], printed: dict[str, Any]) -> None:
    printed[name] = stream.read()


def _pipe(theirs: ExitStack, program: Program, name: str, mode: str) -> int:
    """Give *program* its end of a new pipe and return the other one, which *theirs* closes."""
    readable, writable = os.pipe()
    ours, their_end = (writable, readable) if name == "stdin" else (readable, writable)
    theirs.callback(os.close, their_end)
    setattr(program, name, os.fdopen(ours, ("w" if name == "stdin" else "r") + mode))
    return their_end


class _Original:
    """The process that is copied."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sipmikey.testing.preloaded", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            )  # fmt: skip

    def copy(self, request: Request, descriptors: list[int]) -> int:
        """Have a copy made and return its number. Raises OSError."""
        with self._lock:
            socket.send_fds(self._sock, [json.dumps(request).encode()], descriptors)
            answer = self._sock.recv(LARGEST_ANSWER)
        if not answer:
            raise ConnectionError("the process that has loaded sipmikey is gone")
        return int(answer)


_lock = threading.Lock()
_made: list[_Original] = []


def _original() -> _Original:
    with _lock:
        if not _made:
            _made.append(_Original())
        return _made[0]
