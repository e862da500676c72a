"""The process that has loaded pjsua2 and starts no stack: each stack process is a copy of it.

Loading takes nearly all the time of a start, so that a copy is there at once, and shares its memory. It is
itself a copy of the agent's process (`copied`), or run by `ahead.load` as
``python -m sipmikey.agent.isolation.loader FD PARENT``. It does not touch the network and knows no key. A
request and its answer are one packet each::

    make (with a descriptor)    made PID
    end PID MILLISECONDS        ended PID STATUS
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from sipmikey.agent.isolation.process import serve
from sipmikey.guard import die_with_parent, forbid_core_dumps

_PACKET = 128
_LOOK_S = 0.005


def main(arguments: list[str]) -> int:
    """Serve the socket of descriptor ``arguments[0]`` for the process ``arguments[1]``."""
    descriptor, parent = (int(argument) for argument in arguments)
    forbid_core_dumps()
    die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C and service managers reach all processes; the agent's decides what happens to the calls.
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as sock:
        while True:
            packet, descriptors, _, _ = socket.recv_fds(sock, _PACKET, 1)
            match packet.split():
                case []:
                    return 0
                case [b"make"]:
                    if (pid := os.fork()) == 0:
                        sock.close()
                        return serve(descriptors[0])
                    os.close(descriptors[0])
                    sock.send(b"made %d" % pid)
                case [b"end", pid, wait_ms]:
                    sock.send(b"ended %d %d" % (int(pid), _end(int(pid), int(wait_ms) / 1e3)))


def _end(pid: int, wait_s: float) -> int:
    """Return the exit status of a child, negative for a signal; kill it if it is there after *wait_s*."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOK_S)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
