"""The process that makes stack processes, started before the agent is: it takes as long to load."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import NamedTuple, Protocol

from sipmikey.agent.isolation.copied import copy_loader


class Loader(Protocol):
    """The process that `loader` is, as `subprocess.Popen` has it."""

    def kill(self) -> None:
        """End it by force."""

    def wait(self) -> int:
        """Return its exit status."""


class Loading(NamedTuple):
    """A process that loads pjsua2, or has, and our end of the socket to it."""

    child: Loader
    sock: socket.socket

    def close(self) -> None:
        """End it."""
        self.sock.close()
        self.child.kill()
        self.child.wait()


def start_loader(descriptor: int) -> Loader:
    """Start the process that makes stack processes; *descriptor* is its end of a socket.

    On Linux it is a copy of this process while that has one thread: a lock that another thread held, of
    OpenSSL for one, would stay locked in the copy.
    """
    if sys.platform == "linux" and threading.active_count() == 1:
        return copy_loader(descriptor)
    return subprocess.Popen(
        [sys.executable, "-m", "sipmikey.agent.isolation.loader", str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(descriptor,),
    )  # fmt: skip


def load() -> Loading:
    """Start a process that loads pjsua2. Raises ``OSError``."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            return Loading(start_loader(theirs.fileno()), ours)
    except BaseException:
        ours.close()
        raise


_ahead: list[Loading] = []


def load_ahead() -> None:
    """Start one for the first agent of this process; called in its main thread, with which it ends.

    Called before the process knows a key. What it has loaded by then is not loaded once more on Linux.
    """
    if find_spec("pjsua2") is not None:
        with contextlib.suppress(OSError):  # the agent tries again, and tells
            _ahead.append(load())


def take_ahead() -> Loading | None:
    """Return the one that `load_ahead` started, to the first that asks."""
    return _ahead.pop() if _ahead else None
