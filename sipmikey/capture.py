"""Keeping the packets of the loopback interface as a capture file, as an ordinary user where it may.

Raw sockets need privileges. A process may give itself a network of its own (a network namespace, in a user
namespace when it is not root), in which it has them; what it starts then lives in that network too, and the
capture holds nothing else. Where that is forbidden, root or CAP_NET_RAW captures the shared loopback
interface, and the packets of others are dropped by port.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sipmikey.mikey.errors import SipmikeyError

__all__ = ["CaptureError", "LoopbackCapture", "enter_private_network"]

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
ETH_P_ALL, PACKET_OUTGOING = 0x0003, 4
SOL_PACKET, PACKET_STATISTICS = 263, 6
LINKTYPE_ETHERNET = 1
MAX_OCTETS = 256 * 1024 * 1024
"""Octets of packets kept in memory; what comes after them is counted as dropped."""

MEDIA_PORT = re.compile(rb"^m=audio (\d+)", re.MULTILINE)


class CaptureError(SipmikeyError):
    """Packets cannot be captured here. The text names what would allow it."""


def enter_private_network() -> bool:
    """Move this process, which must have one thread, into a network of its own with a loopback interface.

    Returns False when the system does not allow it, and then nothing has changed. There is no way back;
    processes started later live in the same network.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        # The same user and group inside as outside, so that files are owned as ever.
        with suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    return True


class LoopbackCapture:
    """Collects the packets of the loopback interface from `start` to `save`.

    ``packets`` and ``dropped`` count what was collected and what was lost.
    """

    def __init__(self) -> None:
        self.packets = 0
        self.dropped = 0
        self._kept: list[tuple[int, bytes]] = []
        self._octets = 0
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> LoopbackCapture:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; raises CaptureError when raw sockets are not allowed."""
        try:
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            raw.bind(("lo", 0))
        except OSError as error:
            raise CaptureError(
                f"no packet capture on the loopback interface ({error.strerror}): run as root, or allow"
                " user namespaces (sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu"
                " kernel.apparmor_restrict_unprivileged_userns=0)"
            ) from None
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        raw.settimeout(0.1)
        self._socket = raw
        self._thread = threading.Thread(target=self._collect, name="capture", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        assert self._socket is not None
        while True:
            try:
                frame, address = self._socket.recvfrom(0x1_0000 + 64)
            except TimeoutError:
                if self._stopping.is_set():
                    return
                continue
            except OSError:
                return
            if address[2] == PACKET_OUTGOING:
                continue  # the loopback interface shows each packet twice: as it leaves and as it arrives
            if self._octets + len(frame) > MAX_OCTETS:
                self.dropped += 1
                continue
            self._octets += len(frame)
            self.packets += 1
            self._kept.append((time.time_ns(), frame))

    def stop(self) -> None:
        """End the collection once everything that arrived so far is read. A second call does nothing."""
        if self._socket is None or self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        _, lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.dropped += lost
        self._socket.close()
        self._socket = None

    def save(self, path: Path, *, ports: Set[int] | None = None) -> int:
        """Write what was collected to *path* (pcap with nanoseconds) and return the number of packets.

        *ports*: keep only packets from or to one of these TCP and UDP ports, and the media of the session
        descriptions seen on them; None keeps everything. The file may be read by its owner only: it
        shows who called whom.
        """
        self.stop()
        kept = self._kept if ports is None else _of_ports(self._kept, set(ports))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2_3C4D, 2, 4, 0, 0, 0x4_0000, LINKTYPE_ETHERNET))
            for at, frame in kept:
                seconds, nanoseconds = divmod(at, 1_000_000_000)
                file.write(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)))
                file.write(frame)
        return len(kept)


def _of_ports(packets: list[tuple[int, bytes]], ports: set[int]) -> list[tuple[int, bytes]]:
    """Return the packets of *ports* and of the RTP and RTCP ports that session descriptions on them name."""
    wanted = set(ports)
    for _, frame in packets:
        if ports & _ports(frame):
            for port in map(int, MEDIA_PORT.findall(frame)):
                wanted |= {port, port + 1}
    return [packet for packet in packets if wanted & _ports(packet[1])]


def _ports(frame: bytes) -> set[int]:
    """Return source and destination port of an Ethernet frame with TCP or UDP in IPv4 or IPv6."""
    if frame[12:14] == b"\x08\x00" and len(frame) > 14:
        protocol, start = frame[23:24], 14 + 4 * (frame[14] & 0x0F)
    elif frame[12:14] == b"\x86\xdd":
        protocol, start = frame[20:21], 54
    else:
        return set()
    if protocol not in (b"\x06", b"\x11") or len(frame) < start + 4:
        return set()
    return set(struct.unpack_from("!HH", frame, start))
