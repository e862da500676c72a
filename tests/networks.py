"""What the network of the machine that runs the tests has."""

from __future__ import annotations

import socket

import pytest

__all__ = ["has_ipv6", "needs_ipv6"]


def has_ipv6() -> bool:
    """True where ::1 can be used, in the network namespace of the calling thread."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="IPv6 is off on this machine: there is no ::1")
