"""A closed-loop HTTP/1.1 load generator over raw sockets, light enough to share a small machine.

It keeps one request in flight on each of a fixed number of keep-alive connections and never builds a
request while the clock runs: the caller hands in finished request bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import select
import socket
import time
from collections.abc import Iterable, Iterator


@dataclasses.dataclass(slots=True, kw_only=True)
class Outcome:
    """What came back: answers by HTTP status, seconds taken, and each answer's latency in seconds."""

    statuses: collections.Counter[int]
    seconds: float
    latencies: list[float]
    bodies: list[bytes]

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds

    def percentile_us(self, fraction: float) -> float:
        """Return the latency below which *fraction* of the answers came, in microseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] * 1e6


def post(path: str, body: bytes, *, content_type: str = "application/mikey") -> bytes:
    """Return the bytes of one keep-alive POST."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: kms\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def answer(data: bytes) -> tuple[int, bytes] | None:
    """Return (status, body) when *data* holds a whole answer, else None."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = data[:head_end].lower()
    length = 0
    at = head.find(b"content-length:")
    if at >= 0:
        line_end = head.find(b"\r", at)
        length = int(head[at + 15 : line_end if line_end >= 0 else len(head)])
    body = data[head_end + 4 :]
    return (int(head[9:12]), body) if len(body) >= length else None


def drive(
    address: tuple[str, int], requests: Iterable[bytes], *, connections: int, keep_bodies: bool = False
) -> Outcome:
    """Send *requests*, *connections* at a time, and return what came back.

    Raises ConnectionError if the server closes a connection without answering.
    """
    supply: Iterator[bytes] = iter(requests)
    poller = select.epoll()
    open_sockets: dict[int, socket.socket] = {}
    partial: dict[int, bytes] = {}
    sent_at: dict[int, float] = {}
    outcome = Outcome(statuses=collections.Counter(), seconds=0.0, latencies=[], bodies=[])
    for _ in range(connections):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_sockets[connection.fileno()] = connection
        poller.register(connection.fileno(), select.EPOLLIN)
    started = time.perf_counter()
    busy = 0
    for number, connection in open_sockets.items():
        if (request := next(supply, None)) is None:
            break
        connection.sendall(request)
        sent_at[number], partial[number] = time.perf_counter(), b""
        busy += 1
    while busy:
        for number, _ in poller.poll():
            data = open_sockets[number].recv(65536)
            if not data:
                raise ConnectionError("the server closed a connection without answering")
            partial[number] += data
            if (found := answer(partial[number])) is None:
                continue
            outcome.latencies.append(time.perf_counter() - sent_at[number])
            outcome.statuses[found[0]] += 1
            if keep_bodies:
                outcome.bodies.append(found[1])
            if (request := next(supply, None)) is None:
                busy -= 1
                continue
            partial[number], sent_at[number] = b"", time.perf_counter()
            open_sockets[number].sendall(request)
    outcome.seconds = time.perf_counter() - started
    for connection in open_sockets.values():
        connection.close()
    poller.close()
    return outcome


def cpu_seconds(pid: int) -> float:
    """Return the CPU time process *pid* has used, all its threads, in seconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9
