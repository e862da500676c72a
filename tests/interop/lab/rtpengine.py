"""rtpengine as the media relay of the proxy: userspace only, loopback only, in both IP versions."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self

from sipmikey.testing.process import PeerFailed, Process
from tests.interop.lab import programs
from tests.networks import has_ipv6

READY_SECONDS = 10.0


class Rtpengine:
    """Relays media through ports of its own; a context manager."""

    def __init__(self, *, control_port: int = 2223, first_port: int = 28000, last_port: int = 28100) -> None:
        self.control_port = control_port
        self.ports = range(first_port, last_port + 1)
        argv = [programs.need("rtpengine"), "--config-file=none", "--table=-1", "--interface=127.0.0.1"]
        argv += ["--interface=::1"] if has_ipv6() else []
        argv += [
            f"--listen-ng=127.0.0.1:{control_port}",
            f"--port-min={first_port}",
            f"--port-max={last_port}",
        ]
        argv += ["--foreground", "--log-stderr", "--log-level=5", "--num-threads=2"]
        self._process = Process(argv, name="rtpengine")
        try:
            self._await_answer()
        except BaseException:
            self._process.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.stop()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.05)
            while time.monotonic() < deadline and self._process.running:
                try:
                    probe.sendto(b"1 d7:command4:pinge", ("127.0.0.1", self.control_port))
                    if b"pong" in probe.recv(1024):
                        return
                except (TimeoutError, ConnectionRefusedError):
                    continue
        raise PeerFailed(f"rtpengine does not answer\n{self._process.tail()}")
