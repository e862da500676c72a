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
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sipmikey.mikey.errors import SipmikeyError

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
ETH_P_ALL, PACKET_OUTGOING = 0x0003, 4
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_ATTACH_FILTER = 26
LINKTYPE_ETHERNET = 1
WHOLE = 0x4_0000
"""Octets of a packet that are kept: all."""

MAX_PORTS = 100
"""Ports the kernel is asked to look for; a jump of its filter spans 255 instructions. Beyond: no filter."""

MAX_OCTETS = 256 * 1024 * 1024
"""Octets of packets kept in memory; what comes after them is counted as dropped."""

DRAIN_S = 1.0
"""Seconds that reading what has arrived may take at the end: on a busy interface there is always more."""

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
    """Collects the packets of the loopback interface from `start` to `stop`.

    Without *ports* everything is collected. With them, only packets from or to one of these TCP and UDP
    ports over IPv4, those added by `watch`, and the media ports that session descriptions on them name; the
    kernel drops the others. ``packets`` and ``dropped`` count what was collected and what was lost.
    """

    def __init__(self, ports: Iterable[int] | None = None) -> None:
        self.packets = 0
        self.dropped = 0
        self._ports = None if ports is None else set(ports)
        self._kept: list[tuple[int, bytes]] = []
        self._octets = 0
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._filtering = threading.Lock()

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
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # deaf until it is bound
        except OSError as error:
            raise CaptureError(
                f"no packet capture on the loopback interface ({error.strerror}): run as root, or allow"
                " user namespaces (sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu"
                " kernel.apparmor_restrict_unprivileged_userns=0)"
            ) from None
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        raw.settimeout(0.1)
        self._socket = raw
        if self._ports is not None:
            self.watch()
        raw.bind(("lo", ETH_P_ALL))
        self._thread = threading.Thread(target=self._collect, name="capture", daemon=True)
        self._thread.start()

    def watch(self, *ports: int) -> None:
        """Collect packets of these ports too."""
        with self._filtering:
            if self._ports is None or self._socket is None:
                return
            self._ports |= set(ports)
            program = _program(sorted(self._ports))
            octets = ctypes.create_string_buffer(program)
            address = ctypes.addressof(octets)
            descriptor = struct.pack("HL", len(program) // 8, address)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, descriptor)

    def _collect(self) -> None:
        assert self._socket is not None
        stopping = 0.0
        while not stopping or time.monotonic() < stopping + DRAIN_S:
            if not stopping and self._stopping.is_set():
                stopping = time.monotonic()
            try:
                frame, address = self._socket.recvfrom(0x1_0000 + 64)
            except TimeoutError:
                if stopping:
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
            if self._ports is not None and (named := MEDIA_PORT.findall(frame)):
                media = {port for text in named for port in (int(text), int(text) + 1) if port < 0x1_0000}
                if not media <= self._ports:
                    self.watch(*media)

    def stop(self) -> None:
        """End the collection once everything that arrived so far is read. A second call does nothing."""
        if self._socket is None or self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        _, lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.dropped += lost
        with self._filtering:
            self._socket.close()
            self._socket = None

    def save(self, path: Path) -> int:
        """Write what was collected to *path* (pcap with nanoseconds) and return the number of packets.

        The file may be read by its owner only: it shows who called whom.
        """
        self.stop()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2_3C4D, 2, 4, 0, 0, WHOLE, LINKTYPE_ETHERNET))
            for at, frame in self._kept:
                seconds, nanoseconds = divmod(at, 1_000_000_000)
                file.write(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)))
                file.write(frame)
        return len(self._kept)


def _program(ports: Sequence[int]) -> bytes:
    """Return a classic BPF program that takes TCP and UDP over IPv4 from or to one of *ports*.

    Each instruction is 8 octets: code, instructions to skip if true, if false, operand (linux/filter.h).
    """
    half, octet, equal, header, indexed, leave = 0x28, 0x30, 0x15, 0xB1, 0x48, 0x06
    if len(ports) > MAX_PORTS:
        return struct.pack("HBBI", leave, 0, 0, WHOLE)
    source, target = 7, 8 + len(ports)
    drop, take = target + len(ports), target + len(ports) + 1
    code = [
        (half, 0, 0, 12),
        (equal, 0, drop - 2, 0x0800),
        (octet, 0, 0, 23),
        (equal, 1, 0, 6),
        (equal, 0, drop - 5, 17),
        (header, 0, 0, 14),
        (indexed, 0, 0, 14),
        *((equal, take - place - 1, 0, port) for place, port in enumerate(ports, source)),
        (indexed, 0, 0, 16),
        *((equal, take - place - 1, 0, port) for place, port in enumerate(ports, target)),
        (leave, 0, 0, 0),
        (leave, 0, 0, WHOLE),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)
