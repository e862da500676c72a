"""Sending the BYE of a dialog whose stack process is dead, by sockets of our own."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

from sipmikey.agent.isolation.dialog import Farewell, via

_log = logging.getLogger("sipmikey.agent.isolation")

_T1_S = 0.5
_TRIES = 4
_CONNECT_S = 2.0


def send(farewell: Farewell) -> None:
    """Send in a thread, until the peer answers or four tries are over (RFC 3261 section 17.1.2.2).

    A BYE over TLS is not sent: this connection would not be authenticated.
    """
    if farewell.transport in ("udp", "tcp"):
        threading.Thread(target=_send, args=(farewell,), name="sipmikey-farewell", daemon=True).start()


def _send(farewell: Farewell) -> None:
    kind = socket.SOCK_DGRAM if farewell.transport == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(farewell.host, farewell.port, type=kind)[0]
        with socket.socket(found[0], kind) as sock:
            sock.settimeout(_CONNECT_S)
            sock.connect(found[4])
            host, port = sock.getsockname()[:2]
            octets = farewell.text.replace("{via}", via(farewell.transport, host, port)).encode()
            wait_s = _T1_S
            for _ in range(_TRIES if kind == socket.SOCK_DGRAM else 1):
                sock.send(octets)
                sock.settimeout(wait_s)
                with contextlib.suppress(TimeoutError):
                    sock.recv(4096)
                    return
                wait_s *= 2
    except OSError as error:
        _log.info("the peer of a lost call could not be told: %s", error)
