"""A private network namespace that the test process can step into and out of."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.interop.lab import programs

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


class NotPermitted(Exception):
    """The kernel does not let this user make a network namespace."""


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        if number == 1:
            raise NotPermitted("a private network needs root: run the tests as root (sudo make test)")
        raise OSError(number, os.strerror(number))


class Namespace:
    """A network with nothing but a loopback of its own; `with` steps in, leaving steps out.

    Stepping in moves the calling thread, the threads it starts and the processes they start. Parallel
    test runs each make their own, so the same ports and the same nftables rules never collide.
    """

    def __init__(self) -> None:
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._depth = 0
        try:
            _check(_libc.unshare(CLONE_NEWNET))
        except NotPermitted:
            os.close(self._outside)
            raise
        self._inside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _bring_up("lo")
        finally:
            _check(_libc.setns(self._outside, CLONE_NEWNET))

    def __enter__(self) -> Self:
        if self._depth == 0:
            _check(_libc.setns(self._inside, CLONE_NEWNET))
        self._depth += 1
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._depth -= 1
        if self._depth == 0:
            _check(_libc.setns(self._outside, CLONE_NEWNET))

    def close(self) -> None:
        """Let the kernel drop the network as soon as its last process has gone."""
        os.close(self._inside)
        os.close(self._outside)


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = interface.encode().ljust(16, b"\0")
        request = bytearray(struct.pack("16sH22x", name, 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("H", request, 16)[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))


class PacketLoss:
    """Drop a share of the UDP packets that arrive at a range of ports of the current namespace.

    The rule sits on the input hook: a drop on output would be reported to the sender.
    """

    def __init__(self, percent: float, ports: str) -> None:
        self._percent = percent
        self._ports = ports

    def __enter__(self) -> Self:
        _nft(
            "add table inet lab; "
            "add chain inet lab input { type filter hook input priority 0; }; "
            "add counter inet lab lost; "
            f"add rule inet lab input udp dport {{ {self._ports} }} "
            f'numgen random mod 10000 0-{round(self._percent * 100) - 1} counter name "lost" drop'
        )
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        _nft("delete table inet lab")

    def lost(self) -> int:
        """Packets dropped so far."""
        listed = _nft("list counter inet lab lost")
        return int(listed.split("packets", 1)[1].split()[0])


def _nft(rules: str) -> str:
    argv = [programs.need("nft"), "-f", "-"]
    done = subprocess.run(argv, input=rules.replace("; ", "\n"), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"nft refused {rules!r}: {done.stderr.strip()}")
    return done.stdout


def read_interface_packets(interface: str = "lo") -> int:
    """Packets the interface of the current namespace has sent: zero means that nothing was."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == interface:
            return int(counters.split()[9])
    raise LookupError(f"no interface {interface}")
