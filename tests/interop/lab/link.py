"""Two private networks joined by a link that delays, reorders and loses packets of every kind.

The kernel's netem is not everywhere; this needs root and /dev/net/tun.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import random
import selectors
import struct
import subprocess
import threading
import time
from types import TracebackType
from typing import Self

from tests.interop.lab import programs
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.relay import HELD_BACK_SECONDS, Network

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LONGEST_PACKET = 65535
NEAR_ADDRESS, FAR_ADDRESS = "10.9.0.1", "10.9.0.2"


class Link:
    """``near`` and ``far`` see each other at 10.9.0.1 and 10.9.0.2; *network* is what happens between.

    A context manager; while entered, packets are carried by a thread. Random choices come from *seed*.
    """

    def __init__(self, network: Network, *, seed: int = 0) -> None:
        self._network = network
        self._random = random.Random(seed)
        self.near, self.far = Namespace(), Namespace()
        self._ends = {
            _tunnel(self.near, "near0", NEAR_ADDRESS): "near",
            _tunnel(self.far, "far0", FAR_ADDRESS): "far",
        }
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._number = itertools.count()
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self.carried = 0
        self.lost = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._stop)
        self._thread.join()
        for descriptor in (*self._ends, self._stopped):
            os.close(descriptor)
        self.near.close()
        self.far.close()

    def _run(self) -> None:
        one, other = self._ends
        across = {one: other, other: one}
        with selectors.DefaultSelector() as selector:
            for descriptor in (one, other, self._stopped):
                selector.register(descriptor, selectors.EVENT_READ)
            while True:
                timeout = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
                for key, _ in selector.select(timeout):
                    if key.fd == self._stopped:
                        return
                    self._take(os.read(key.fd, LONGEST_PACKET), across[key.fd])
                now = time.monotonic()
                while self._waiting and self._waiting[0][0] <= now:
                    _, _, descriptor, packet = heapq.heappop(self._waiting)
                    os.write(descriptor, packet)

    def _take(self, packet: bytes, descriptor: int) -> None:
        network = self._network
        if self._random.random() < network.lost:
            self.lost += 1
            return
        self.carried += 1
        wait = network.delay + self._random.uniform(0.0, network.jitter)
        if self._random.random() < network.reordered:
            wait += HELD_BACK_SECONDS
        heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._number), descriptor, packet))


def _tunnel(namespace: Namespace, name: str, address: str) -> int:
    """Make a network interface in *namespace* whose packets are read and written here."""
    with namespace:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        program = programs.need("ip")
        for words in (("addr", "add", f"{address}/24", "dev", name), ("link", "set", name, "up")):
            subprocess.run([program, *words], check=True)
    return descriptor
