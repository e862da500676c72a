"""Packets: recorded with tcpdump, read with tshark; media, of which there is much, with dpkt."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpkt

from sipmikey.testing.process import Process
from sipmikey.testing.program import run
from tests.interop.lab import programs

PROBE_PORT = 9
TSHARK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP or SRTP packet as it was on the wire."""

    source: int
    destination: int
    ssrc: int
    sequence: int
    payload_type: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        """Everything after the 12-byte header (no packet of the lab has CSRCs or extensions)."""
        return self.raw[12:]


class Capture:
    """A capture file; `stop` first, then ask."""

    def __init__(self, path: Path, process: Process | None = None) -> None:
        self.path = path
        self._process = process

    def stop(self) -> None:
        """End the recording once everything sent before this call is in the file."""
        if self._process is None or not self._process.running:
            return
        mark = base64.b32encode(str(id(self)).encode()).decode()
        _send_mark(mark)
        while self._process.running and mark.encode() not in _tail(self.path):
            pass
        self._process.send_signal(signal.SIGINT)
        self._process.wait()

    def fields(self, display_filter: str, *names: str, options: Sequence[str] = ()) -> list[list[str]]:
        """Values of the named fields of every packet that passes; repeated values are joined with ','."""
        argv = ["-T", "fields", "-E", "occurrence=a", *(word for name in names for word in ("-e", name))]
        text = self._tshark("-Y", display_filter, *argv, *options)
        return [line.split("\t") for line in text.splitlines()]

    def packets(self, display_filter: str, *options: str) -> list[dict[str, Any]]:
        """The layers of every packet that passes, as tshark's JSON has them."""
        text = self._tshark("-Y", display_filter, "-T", "json", "--no-duplicate-keys", *options)
        return [packet["_source"]["layers"] for packet in json.loads(text or "[]")]

    def count(self, display_filter: str, *options: str) -> int:
        return len(self.fields(display_filter, "frame.number", options=options))

    def datagrams(self, display_filter: str = "udp") -> list[tuple[int, int, bytes]]:
        """(source port, destination port, payload) of every UDP packet that passes."""
        rows = self.fields(display_filter, "udp.srcport", "udp.dstport", "udp.payload")
        return [(int(row[0]), int(row[1]), bytes.fromhex(row[2])) for row in rows if row[2]]

    def _sent(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (source port, destination port, payload) of every UDP packet, not of what ICMP quotes."""
        self.stop()
        with self.path.open("rb") as file:
            for _, frame in dpkt.pcap.UniversalReader(file):
                udp = getattr(dpkt.ethernet.Ethernet(frame).data, "data", None)
                if isinstance(udp, dpkt.udp.UDP) and udp.data:
                    yield udp.sport, udp.dport, bytes(udp.data)

    def rtp(self, *, destination: int | None = None) -> list[RtpPacket]:
        """Every RTP-shaped datagram with a payload (RTCP and SIP are not RTP-shaped).

        Without one are those that an agent sends to itself to end the probation of its SRTP.
        """
        found = []
        for source, target, raw in self._sent():
            if len(raw) <= 12 or raw[0] >> 6 != 2 or 192 <= raw[1] <= 223 or target == PROBE_PORT:
                continue
            if destination is not None and target != destination:
                continue
            found.append(
                RtpPacket(
                    source=source,
                    destination=target,
                    ssrc=int.from_bytes(raw[8:12], "big"),
                    sequence=int.from_bytes(raw[2:4], "big"),
                    payload_type=raw[1] & 0x7F,
                    raw=raw,
                )
            )
        return found

    def rtcp(self) -> list[tuple[int, int, bytes]]:
        """Every RTCP-shaped datagram: version 2 and a packet type of 192 to 223."""
        return [
            (source, target, raw)
            for source, target, raw in self._sent()
            if len(raw) >= 8 and raw[0] >> 6 == 2 and 192 <= raw[1] <= 223 and target != PROBE_PORT
        ]

    def ladder(self) -> str:
        """The SIP, HTTP and MIKEY messages as `sipmikey decode --ladder` draws them."""
        self.stop()
        return run("decode", self.path, "--ladder").stdout

    def _tshark(self, *options: str) -> str:
        self.stop()
        argv = [programs.need("tshark"), "-n", "-r", str(self.path), *options]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TSHARK_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"tshark {' '.join(options)}: {done.stderr.strip()}")
        return done.stdout


@contextmanager
def recording(path: Path, interface: str = "lo") -> Iterator[Capture]:
    """Record everything on *interface* while the body runs."""
    argv = [programs.need("tcpdump"), "-i", interface, "-nn", "-U", "--immediate-mode", "-Z", "root"]
    with Process([*argv, "-s", "0", "-B", "16384", "-w", path], name="tcpdump") as process:
        process.wait_for("listening on")
        capture = Capture(path, process)
        try:
            yield capture
        finally:
            capture.stop()


def _send_mark(text: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), ("127.0.0.1", PROBE_PORT))


def _tail(path: Path, length: int = 4096) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length))
        return file.read()
