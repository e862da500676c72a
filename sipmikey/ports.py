"""Choice of a local port that is free for both UDP and TCP."""

from __future__ import annotations

import socket

_TRIES = 100


def free_port(address: str) -> int:
    """Return a port of the local *address* (IPv4, IPv6, empty for any) free for both; 0 if none is found."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(_TRIES):
        with (
            socket.socket(family, socket.SOCK_DGRAM) as udp,
            socket.socket(family, socket.SOCK_STREAM) as tcp,
        ):
            try:
                udp.bind((address, 0))
                tcp.bind((address, udp.getsockname()[1]))
            except OSError:
                continue
            return int(udp.getsockname()[1])
    return 0
