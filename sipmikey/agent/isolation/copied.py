"""The loader of stack processes as a copy of the agent's process, which has loaded most of it already."""

from __future__ import annotations

import os
import signal
import sys


class CopiedLoader:
    """A child that was not started but copied; see `ahead.Loader`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def kill(self) -> None:
        """End it by force."""
        os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def copy_loader(descriptor: int) -> CopiedLoader:
    """Do what `ahead.start_loader` does. Only for a process with one thread that knows no key yet.

    The copy keeps no descriptor but standard error and *descriptor*. Raises ``OSError``.
    """
    parent = os.getpid()
    if pid := os.fork():
        return CopiedLoader(pid)
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(nothing, number)
        os.closerange(3, descriptor)
        os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
        from sipmikey.agent.isolation import loader  # loads pjsua2, which the agent's process does without

        status = loader.main([str(descriptor), str(parent)])
    finally:
        sys.stderr.flush()
        os._exit(status)
