"""The probation of pjmedia's SRTP: during a stream's first packets it accepts too much."""

from __future__ import annotations

import contextlib
import socket

from sipmikey.agent.config import ANY_ADDRESS

_PROBATION = 100
"""PROBATION_CNT_INIT of pjmedia's SRTP."""

_NOTHING = bytes((0x80, 127)) + bytes(10)
"""An RTP header with a payload type that was never agreed on."""


def end_probation(rtp: str, bind: str) -> None:
    """Have pjmedia not start SRTP again, with the same keys, when a packet is replayed.

    It does so during the first hundred datagrams that reach a socket, keys or not. Without keys it drops
    packets, so this sends it a hundred to drop. *rtp*: ``host:port`` of the socket; *bind*: the configured
    address.
    """
    host = bind if bind not in ANY_ADDRESS else "::1" if ":" in rtp.rpartition(":")[0] else "127.0.0.1"
    target = (host, int(rtp.rpartition(":")[2]))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        for _ in range(_PROBATION):
            sock.sendto(_NOTHING, target)
