"""Where stack processes come from, on the agent's side: see `loader`."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from typing import NamedTuple, Protocol

from sipmikey.agent.stack import StackError

_PACKET = 128
_ANSWER_S = 30.0


class SpawnedProcess(NamedTuple):
    """A process that has loaded pjsua2, holds nothing, and waits at ``sock`` to be told what to do."""

    pid: int
    sock: socket.socket


class Loader(Protocol):
    """The process that `loader` is, as `subprocess.Popen` has it."""

    def kill(self) -> None:
        """End it by force."""

    def wait(self) -> int:
        """Return its exit status."""


def start_loader(descriptor: int) -> Loader:
    """Start the process that makes stack processes; *descriptor* is its end of a socket."""
    return subprocess.Popen(
        [sys.executable, "-m", "sipmikey.agent.isolation.loader", str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(descriptor,),
    )  # fmt: skip


class Nursery:
    """Has the process that makes stack processes, which ends with the thread that makes this.

    Stack processes outlive it: they talk with the agent's process directly.
    """

    def __init__(self) -> None:
        self._child: Loader | None = None
        self._sock: socket.socket | None = None

    def make(self) -> SpawnedProcess:
        """Make a stack process. Raises ``StackError``."""
        if self._sock is not None:
            # It may have been killed.
            with contextlib.suppress(OSError):
                return self._make(self._sock)
            self.close()
        try:
            return self._make(self._load())
        except OSError as error:
            self.close()
            raise StackError(f"no process for the SIP stack: {error}") from None

    def end(self, pid: int, wait_s: float) -> int | None:
        """Return the exit status of a stack process, negative for a signal; None where it is unknown.

        It is killed if it does not end within *wait_s*.
        """
        if self._sock is None:
            return None
        try:
            answer = self._ask(self._sock, b"end %d %d" % (pid, wait_s * 1e3))
            return int(answer.split()[2])
        except OSError:
            return None

    def close(self) -> None:
        """End the process that makes the others."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _load(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_S)
        self._sock = ours
        with theirs:
            self._child = start_loader(theirs.fileno())
        return ours

    def _make(self, sock: socket.socket) -> SpawnedProcess:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                answer = self._ask(sock, b"make", theirs.fileno())
        except OSError:
            ours.close()
            raise
        return SpawnedProcess(int(answer.split()[1]), ours)

    def _ask(self, sock: socket.socket, question: bytes, *descriptors: int) -> bytes:
        socket.send_fds(sock, [question], descriptors)
        answer = sock.recv(_PACKET)
        if not answer:
            raise ConnectionError("the process that loads pjsua2 is gone")
        return answer
