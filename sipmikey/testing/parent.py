"""Programs that must not outlive the tests which started them."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In a child before it runs its program: ask Linux for SIGTERM as soon as the parent is gone.

    The parent is the thread that starts the child, so that has to be one which stays.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
