"""The process that has loaded sipmikey and does nothing: the kit's Python programs are copies of it.

Loading takes a second of a core, a copy some milliseconds. Run by `program.Program` as
``python -m sipmikey.testing.preloaded FD``. A request is one packet, a `Request` in JSON with descriptors:
what becomes standard input, output and error, where the exit status is to be written, and the network
namespace if it has one. The answer is the number of the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

from sipmikey.guard import die_with_parent
from sipmikey.testing.program import LARGEST_REQUEST, MOST_DESCRIPTORS, Request

LOADED = (
    "sipmikey.cli.kms.command",
    "sipmikey.cli.mailbox.command",
    "sipmikey.testing.agent_process",
)
"""What nearly every program of the kit imports. One that lacks an extra is left to who needs it."""

_CLONE_NEWNET = 0x40000000


def main(arguments: Sequence[str]) -> Callable[[], int | None]:
    """Serve the socket of descriptor ``arguments[0]``; return, in each copy, what it has to do."""
    for module in LOADED:
        try:
            import_module(module)
        except ImportError as error:
            if (error.name or "").startswith("sipmikey."):
                raise
    return _serve(socket.socket(fileno=int(arguments[0])))


def _serve(sock: socket.socket) -> Callable[[], int | None]:
    """Return in copies, and in the original when the other end of *sock* is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([sock.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ends(reports)
            continue
        packet, descriptors, _, _ = socket.recv_fds(sock, LARGEST_REQUEST, MOST_DESCRIPTORS)
        if not packet:
            return lambda: 0
        parent = os.getpid()
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            die_with_parent(parent)
            sock.detach()
            return _become(json.loads(packet), descriptors)
        reports[pid] = descriptors.pop(3)
        for descriptor in descriptors:
            os.close(descriptor)
        sock.send(b"%d" % pid)


def _report_ends(reports: dict[int, int]) -> None:
    for pid, report in tuple(reports.items()):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with suppress(OSError):
                os.write(report, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(reports.pop(pid))


def _become(request: Request, descriptors: list[int]) -> Callable[[], int | None]:
    """Make this copy look like a program just started; return what it runs."""
    os.setsid()
    if len(descriptors) == MOST_DESCRIPTORS and ctypes.CDLL(None).setns(descriptors[4], _CLONE_NEWNET):
        raise OSError("the copy does not get into the network namespace")
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    module, _, function = request["entry"].partition(":")
    sys.argv = [module, *request["words"]]
    run: Callable[[], int | None] = getattr(import_module(module), function)
    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:])())
