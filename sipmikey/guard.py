"""What the operating system can do for keys: no core files, no readers, files for their owner only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Let no core file of this process be written, and no other process of the user trace or read it.

    The second (``PR_SET_DUMPABLE``) on Linux only.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def create_private(path: Path) -> None:
    """Have an empty file at *path* that its owner alone can read, whatever was there. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def die_with_parent(parent: int) -> None:
    """Have this process killed when the thread that started it ends; end it now if *parent* is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
