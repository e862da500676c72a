"""What the network of the machine that runs the tests has."""

from __future__ import annotations

import socket

import pytest

__all__ = ["needs_ipv6"]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="IPv6 is off on this machine: there is no ::1")
