"""The rtpdump file format of rtptools; Wireshark writes it and, from 4.4, reads it. No I/O.

A text line, a start time, then each packet with its time since then. RTCP packets have a packet length of 0.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from sipmikey.media.rtp import MalformedPacket
from sipmikey.mikey.errors import LimitExceeded, LocalError

_FIRST_LINE = re.compile(rb"#!rtpplay1\.0 ([^/\s]{1,255})/(\d{1,5})\n")
_HEADER = struct.Struct("!IIIHH")
_PACKET = struct.Struct("!HHI")
_LONGEST_PACKET = 0xFFFF - _PACKET.size
MAX_PACKETS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpDumpPacket:
    """A packet of at most 65527 bytes that was taken *offset_ms* (32 bits) after the start."""

    offset_ms: int
    packet: bytes
    rtcp: bool = False

    def __post_init__(self) -> None:
        if self.offset_ms >> 32:
            raise LocalError("an rtpdump holds at most 49 days: an offset has 32 bits of milliseconds")
        if not self.packet or len(self.packet) > _LONGEST_PACKET:
            raise LocalError(f"a packet of an rtpdump has 1 to {_LONGEST_PACKET} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpDump:
    """A recording; ``host`` and ``port`` are where the packets were sent, ``start_us`` is Unix time."""

    packets: tuple[RtpDumpPacket, ...]
    host: str = "127.0.0.1"
    port: int = 0
    start_us: int = 0

    def encode(self) -> bytes:
        """Return the octets of the file."""
        seconds, microseconds = divmod(self.start_us, 1_000_000)
        parts = [
            f"#!rtpplay1.0 {self.host}/{self.port}\n".encode("latin-1"),
            _HEADER.pack(seconds & 0xFFFF_FFFF, microseconds, 0, self.port, 0),
        ]
        for item in self.packets:
            size = len(item.packet)
            parts.append(_PACKET.pack(size + _PACKET.size, 0 if item.rtcp else size, item.offset_ms))
            parts.append(item.packet)
        return b"".join(parts)


def parse_rtpdump(data: bytes, *, max_packets: int = MAX_PACKETS) -> RtpDump:
    """Read a file; raise `MalformedPacket` that names the field and offset, or `LimitExceeded`.

    A packet recorded with fewer bytes than it had (snapped) is refused: SRTP cannot authenticate it.
    """
    first = _FIRST_LINE.match(data)
    if first is None:
        raise MalformedPacket("is not #!rtpplay1.0 ADDRESS/PORT", field="rtpdump first line", offset=0)
    offset = first.end()
    if len(data) < offset + _HEADER.size:
        raise MalformedPacket("truncated", field="rtpdump header", offset=offset)
    seconds, microseconds, _, port, _ = _HEADER.unpack_from(data, offset)
    offset += _HEADER.size
    packets: list[RtpDumpPacket] = []
    while offset < len(data):
        if len(packets) >= max_packets:
            raise LimitExceeded(f"more than {max_packets} packets", field="rtpdump", offset=offset)
        packet = _parse_packet(data, offset)
        packets.append(packet)
        offset += _PACKET.size + len(packet.packet)
    return RtpDump(
        packets=tuple(packets),
        host=first.group(1).decode("latin-1"),
        port=port,
        start_us=seconds * 1_000_000 + microseconds,
    )


def _parse_packet(data: bytes, offset: int) -> RtpDumpPacket:
    if len(data) < offset + _PACKET.size:
        raise MalformedPacket("truncated", field="rtpdump packet header", offset=offset)
    length, packet_length, offset_ms = _PACKET.unpack_from(data, offset)
    size = length - _PACKET.size
    if size < 1 or len(data) < offset + length:
        raise MalformedPacket(f"length {length}", field="rtpdump packet", offset=offset)
    if packet_length not in (0, size):
        raise MalformedPacket(
            f"{size} of {packet_length} bytes were recorded", field="rtpdump packet", offset=offset
        )
    start = offset + _PACKET.size
    return RtpDumpPacket(offset_ms=offset_ms, packet=data[start : start + size], rtcp=packet_length == 0)
