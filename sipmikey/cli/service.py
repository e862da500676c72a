"""What a command says to the service manager that started it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def say_ready() -> None:
    """Tell systemd that the command does its work now, where it waits for that (``Type=notify``)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"  # a name that is not in the file system
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"READY=1", address)
