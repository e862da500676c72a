"""The loader of stack processes as a copy of an agent's process that has loaded pjsua2 already."""

from __future__ import annotations

import os
import signal
import sys

from sipmikey.agent.isolation import loader


class CopiedLoader:
    """A child that was not started but copied; see `sipmikey.agent.isolation.ahead.Loader`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def kill(self) -> None:
        """End it by force."""
        os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def copy_loader(descriptor: int) -> CopiedLoader:
    """Do what `sipmikey.agent.isolation.ahead.start_loader` does, at once."""
    parent = os.getpid()
    if pid := os.fork():
        return CopiedLoader(pid)
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    status = 1
    try:
        status = loader.main([str(descriptor), str(parent)])
    finally:
        sys.stderr.flush()
        os._exit(status)
