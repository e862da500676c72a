"""Where stack processes come from, on the agent's side: see `loader`."""

from __future__ import annotations

import contextlib
import socket
from typing import NamedTuple

from sipmikey.agent.isolation.ahead import Loading, load, take_ahead
from sipmikey.agent.stack import StackError

_PACKET = 128
_ANSWER_S = 30.0


class SpawnedProcess(NamedTuple):
    """A process that has loaded pjsua2, holds nothing, and waits at ``sock`` to be told what to do."""

    pid: int
    sock: socket.socket


class Nursery:
    """Has the process that makes stack processes, which ends with the thread that makes this.

    Stack processes outlive it: they talk with the agent's process directly.
    """

    def __init__(self) -> None:
        self._loading: Loading | None = None

    def make(self) -> SpawnedProcess:
        """Make a stack process. Raises ``StackError``."""
        if self._loading is None:
            self._loading = take_ahead()
        if self._loading is not None:
            # It may have been killed.
            with contextlib.suppress(OSError):
                return self._make(self._loading.sock)
            self.close()
        try:
            self._loading = load()
            return self._make(self._loading.sock)
        except OSError as error:
            self.close()
            raise StackError(f"no process for the SIP stack: {error}") from None

    def end(self, pid: int, wait_s: float) -> int | None:
        """Return the exit status of a stack process, negative for a signal; None where it is unknown.

        It is killed if it does not end within *wait_s*.
        """
        if self._loading is None:
            return None
        try:
            answer = self._ask(self._loading.sock, b"end %d %d" % (pid, wait_s * 1e3))
            return int(answer.split()[2])
        except OSError:
            return None

    def close(self) -> None:
        """End the process that makes the others."""
        if self._loading is not None:
            self._loading.close()
            self._loading = None

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
        sock.settimeout(_ANSWER_S)
        socket.send_fds(sock, [question], descriptors)
        answer = sock.recv(_PACKET)
        if not answer:
            raise ConnectionError("the process that loads pjsua2 is gone")
        return answer
