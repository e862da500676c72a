"""Many RTP streams in one thread: UDP sockets, epoll (poll where there is none), one clock.

The loop wakes once a tick (5 ms), sends the frames whose turn it is and reads whatever came since. Streams
are spread over the four ticks of a frame. Arrival times are the kernel's, so the tick does not show in the
jitter measured.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Self, TypeVar

from sipmikey.media.codecs.codec import FRAME_MS
from sipmikey.media.errors import PacketNotSent
from sipmikey.media.lanes.fast import FastLanes, fast_lanes
from sipmikey.media.stream import RtpStream

_log = logging.getLogger("sipmikey.media.endpoint")

TICK_MS = 5
TICKS = FRAME_MS // TICK_MS

_NS = 1_000_000_000
_TICK_NS = TICK_MS * 1_000_000
_FARTHEST_BEHIND_NS = 1_000_000_000
_SO_TIMESTAMPNS = 35  # linux/socket.h; the socket module does not name it
_TIMESPEC = struct.Struct("@qq")
_DATAGRAM = 2048
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)
_EVENTS = 1024
_RTCP_EVERY_TICKS = 200 // TICK_MS

Address = tuple[str, int]
T = TypeVar("T")


def udp_socket(host: str, port: int = 0) -> socket.socket:
    """Return a non-blocking UDP socket bound to *host* that has the kernel stamp arrivals."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
        stamp_arrivals(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def stamp_arrivals(sock: socket.socket) -> None:
    """Make *sock* what `MediaLoop` reads from: non-blocking, arrivals stamped by the kernel."""
    sock.setblocking(False)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # without it the time of reading is taken
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def udp_pair(host: str, first: int = 0, *, attempts: int = 100) -> tuple[socket.socket, socket.socket]:
    """Return sockets for RTP on an even port and RTCP on the next (RFC 3550 section 11).

    With *first* (a port number) the lowest free pair from there on, else any.
    """
    for attempt in range(attempts):
        wanted = (first + 1) // 2 * 2 + 2 * attempt if first else 0
        try:
            rtp = udp_socket(host, wanted)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        port = rtp.getsockname()[1]
        if port % 2 == 0:
            try:
                return rtp, udp_socket(host, port + 1)
            except OSError:
                pass
        rtp.close()
    raise OSError(errno.EADDRINUSE, f"no free pair of UDP ports on {host}")


class MediaPort:
    """A stream on its sockets. Without an RTCP socket, RTCP shares the RTP port (RFC 5761).

    ``remote`` and ``remote_rtcp`` are where to send; None sends nothing. ``unsent`` counts packets the
    kernel did not take or SRTP refused to protect; ``error`` is the last reason.
    """

    __slots__ = ("error", "remote", "remote_rtcp", "rtcp", "rtp", "slot", "stream", "unsent")

    def __init__(self, stream: RtpStream, rtp: socket.socket, rtcp: socket.socket | None, slot: int) -> None:
        self.stream = stream
        self.rtp = rtp
        self.rtcp = rtcp
        self.slot = slot
        self.remote: Address | None = None
        self.remote_rtcp: Address | None = None
        self.unsent = 0
        self.error: Exception | None = None

    @property
    def local(self) -> Address:
        """Address and port of the RTP socket."""
        host, port = self.rtp.getsockname()[:2]
        return host, port

    def send_to_nobody(self) -> None:
        """Send nothing until there is an address again."""
        self.remote = self.remote_rtcp = None

    def send_to(self, remote: Address, remote_rtcp: Address | None = None) -> None:
        """Set where to send; RTCP goes to the next port unless shared or given."""
        self.remote = remote
        if remote_rtcp is None:
            remote_rtcp = remote if self.rtcp is None else (remote[0], remote[1] + 1)
        self.remote_rtcp = remote_rtcp


class _Poll:
    """``poll`` in the form of Linux's epoll, for systems without that (macOS). ``POLLIN`` is ``EPOLLIN``."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register, self.unregister = self._poll.register, self._poll.unregister

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Return the descriptors to which something came."""
        return self._poll.poll(timeout)

    def close(self) -> None:
        """There is nothing to close."""


class MediaLoop:
    """Runs streams in a thread of its own.

    Streams are touched by that thread only: use `call` to change one that runs. `close` sends a BYE for every
    stream, closes the sockets and ends the thread. Usable as a context manager.
    """

    def __init__(self) -> None:
        self._epoll: Any = select.epoll() if hasattr(select, "epoll") else _Poll()
        self._readers: dict[int, tuple[MediaPort, Callable[..., tuple[Any, ...]]]] = {}
        self._slots: list[list[MediaPort]] = [[] for _ in range(TICKS)]
        self._calls: deque[tuple[Callable[[], object], Future[Any] | None]] = deque()
        self._conditions: deque[tuple[Callable[[], bool], Future[None]]] = deque()
        self._lanes: FastLanes[MediaPort] | None = fast_lanes()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.late_ticks = 0
        self.skipped_ticks = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self.run, name="sipmikey-media", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Do what was asked before, end every stream with a BYE, and stop."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._thread is None:
            self._finish()
        else:
            self._thread.join()

    def open(self, stream: RtpStream, rtp: socket.socket, rtcp: socket.socket | None = None) -> MediaPort:
        """Run *stream* on sockets made by `udp_pair` or `udp_socket`, which the loop then owns."""
        slot = min(range(TICKS), key=lambda number: len(self._slots[number]))
        port = MediaPort(stream, rtp, rtcp, slot)
        self.call(lambda: self._add(port)) if self._thread is not None else self._add(port)
        return port

    def share(self, port: MediaPort) -> None:
        """In the loop's thread: send RTCP on the socket of RTP from now on, and close its own (RFC 5761)."""
        sock, port.rtcp = port.rtcp, None
        if sock is not None:
            if self._readers.pop(sock.fileno(), None) is not None:
                self._epoll.unregister(sock.fileno())
            sock.close()

    def shut(self, port: MediaPort) -> Future[None]:
        """End one stream: BYE, then close its sockets."""
        return self.call(lambda: self._remove(port))

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run *function* in the loop's thread within a tick; for asyncio, wrap the future."""
        future: Future[T] = Future()
        self._calls.append((function, future))
        if self._stopping.is_set():
            future.cancel()
        return future

    def when(self, condition: Callable[[], bool]) -> Future[None]:
        """Return a future that is done when *condition*, looked at every tick, holds."""
        future: Future[None] = Future()
        self._conditions.append((condition, future))
        if self._stopping.is_set():
            future.cancel()
        return future

    def _add(self, port: MediaPort) -> None:
        self._slots[port.slot].append(port)
        if self._lanes is not None:
            self._lanes.add(port, port.rtp.fileno())
        for sock in (port.rtp if self._lanes is None else None, port.rtcp):
            if sock is not None:
                self._readers[sock.fileno()] = (port, sock.recvmsg)
                self._epoll.register(sock.fileno(), select.POLLIN)

    def _remove(self, port: MediaPort) -> None:
        if port not in self._slots[port.slot]:
            return
        self._slots[port.slot].remove(port)
        if self._lanes is not None:
            self._lanes.remove(port)
        with contextlib.suppress(PacketNotSent):
            self._send_rtcp(port, port.stream.bye(time.time_ns()))
        for sock in (port.rtp, port.rtcp):
            if sock is None:
                continue
            if self._readers.pop(sock.fileno(), None) is not None:
                self._epoll.unregister(sock.fileno())
            sock.close()

    def run(self) -> None:
        """Run in the calling thread until `close` is called from another."""
        tick = 0
        due = time.monotonic_ns()
        try:
            while not self._stopping.is_set():
                self._tick(tick)
                tick += 1
                due += _TICK_NS
                behind = time.monotonic_ns() - due
                if behind > 0:
                    self.late_ticks += 1
                    if behind > _FARTHEST_BEHIND_NS:  # stopped or starved: do not send a burst
                        self.skipped_ticks += behind // _TICK_NS
                        due += behind
                self._read_until(due)
        finally:
            self._finish()

    def _finish(self) -> None:
        self._do_calls()
        for port in [port for slot in self._slots for port in slot]:
            self._remove(port)
        self._epoll.close()
        for _, future in (*self._calls, *self._conditions):
            if future is not None:
                future.cancel()

    def _do_calls(self) -> None:
        while self._calls:
            function, future = self._calls.popleft()
            if future is None:  # a frame to send
                function()
                continue
            if self._lanes is not None:
                self._lanes.disarm_all()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:  # noqa: BLE001 - it belongs to the caller
                    future.set_exception(error)

    def _tick(self, tick: int) -> None:
        lanes = self._lanes
        self._do_calls()
        slot = self._slots[tick % TICKS]
        if lanes is None:
            for port in tuple(slot):
                self._send_frame(port)
        else:
            left = [port for port in slot if not lanes.still_sends(port)]
            lanes.send(tick % TICKS)
            for port in left:
                if self._send_frame(port):
                    lanes.arm(port)
        if tick // TICKS % _RTCP_EVERY_TICKS == 0:
            now = time.time_ns()
            for port in slot:
                try:
                    self._send_rtcp(port, port.stream.report(now))
                except PacketNotSent as error:
                    port.error = error
        for _ in range(len(self._conditions)):
            condition, awaited = self._conditions.popleft()
            if not _settle(condition, awaited):
                self._conditions.append((condition, awaited))

    def say(self, port: MediaPort, frame: bytes) -> None:
        """Send a frame whose turn it is now, of a stream without a source. From any thread."""
        self._calls.append((partial(self._send_said, port, frame), None))

    def _send_said(self, port: MediaPort, frame: bytes) -> None:
        if self._lanes is not None and self._lanes.still_sends(port):
            self._lanes.disarm(port)
        self._transmit(port, partial(port.stream.packet_of, frame))

    def _send_frame(self, port: MediaPort) -> bool:
        """Send the frame whose turn it is; return False where that ended the stream."""
        return self._transmit(port, port.stream.next_packet)

    def _transmit(self, port: MediaPort, make: Callable[[], bytes | None]) -> bool:
        if port.remote is None:
            return True
        try:
            packet = make()
            if packet is not None:
                port.rtp.sendto(packet, port.remote)
        except (OSError, PacketNotSent) as error:
            port.unsent += 1
            port.error = error
        except Exception as error:  # noqa: BLE001 - the other streams go on
            self._broken(port, error)
            return False
        return True

    def _send_rtcp(self, port: MediaPort, packet: bytes | None) -> None:
        if packet is None or port.remote_rtcp is None:
            return
        try:
            (port.rtcp or port.rtp).sendto(packet, port.remote_rtcp)
        except OSError as error:
            port.unsent += 1
            port.error = error

    def _broken(self, port: MediaPort, error: Exception) -> None:
        """A source or sink failed: end its stream."""
        _log.error("a stream on %s:%s ends: %s", *port.local, error, exc_info=error)
        port.error = error
        self._remove(port)

    def _read_until(self, due: int) -> None:
        """Read what has arrived, at least one datagram of each socket, then sleep until *due*."""
        readers, poll, unpack = self._readers, self._epoll.poll, _TIMESPEC.unpack
        while True:
            ready = poll(0, _EVENTS)
            for descriptor, _ in ready:
                try:
                    port, recvmsg = readers[descriptor]
                    packet, ancillary, _, _ = recvmsg(_DATAGRAM, _ANCILLARY)
                except (OSError, KeyError):  # the other socket of a port that has just been closed
                    continue
                if ancillary:
                    seconds, nanoseconds = unpack(ancillary[0][2])
                    self._receive(port, packet, seconds * _NS + nanoseconds)
                else:
                    self._receive(port, packet, time.time_ns())
            wait = due - time.monotonic_ns()
            if self._lanes is not None:
                self._read_lanes(self._lanes, wait)
                wait = due - time.monotonic_ns()
            if wait <= 0:
                return
            if not ready and self._lanes is None:
                time.sleep(wait / 1e9)
                return

    def _receive(self, port: MediaPort, packet: bytes, arrival_ns: int) -> None:
        try:
            port.stream.receive(packet, arrival_ns)
        except Exception as error:  # noqa: BLE001 - the other streams go on
            self._broken(port, error)

    def _read_lanes(self, lanes: FastLanes[MediaPort], wait_ns: int) -> None:
        """Read lanes for that long, or until one has a packet for Python."""
        packets = tuple(lanes.read(wait_ns))
        for port, payload, timestamp in lanes.heard():  # all of it came before what is for Python
            try:
                if port.stream.sink is not None:
                    port.stream.sink.put(timestamp, payload)
            except Exception as error:  # noqa: BLE001 - the other streams go on
                self._broken(port, error)
        for port, packet, arrival_ns in packets:
            self._receive(port, packet, arrival_ns)
            lanes.arm(port)


def _settle(condition: Callable[[], bool], future: Future[None]) -> bool:
    if future.cancelled():
        return True
    try:
        met = condition()
    except Exception as error:  # noqa: BLE001 - it belongs to the caller
        future.set_exception(error)
        return True
    if met:
        future.set_result(None)
    return met
