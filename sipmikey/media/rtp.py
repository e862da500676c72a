"""RTP packets (RFC 3550 section 5): codec and packetiser. No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.native import native

RTP_VERSION = 2
_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_WORD = 4
_SEQ_MASK = 0xFFFF
_TIMESTAMP_MASK = 0xFFFF_FFFF
_TIMESTAMP_HALF = 0x8000_0000


class MalformedPacket(PeerError):
    """An RTP or RTCP packet does not follow its encoding."""

    reason: ClassVar[str] = "malformed-packet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP packet.

    ``payload_type`` has 7 bits, ``sequence`` 16, ``timestamp`` and ``ssrc`` 32; ``csrcs`` holds at most 15.
    ``extension`` is the profile-defined word and its data (a multiple of 4 bytes), None when absent.
    ``padding`` is the number of padding bytes, 0 for none.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None
    padding: int = 0

    def __post_init__(self) -> None:
        for name, value, bits in (
            ("payload type", self.payload_type, 7),
            ("sequence number", self.sequence, 16),
            ("timestamp", self.timestamp, 32),
            ("SSRC", self.ssrc, 32),
            ("padding", self.padding, 8),
        ):
            if value >> bits:
                raise LocalError(f"RTP {name} {value} does not fit {bits} bits")
        if len(self.csrcs) > 15:
            raise LocalError("an RTP packet has at most 15 CSRCs")
        if self.extension is not None and (
            len(self.extension[1]) % _WORD or len(self.extension[1]) > _SEQ_MASK * _WORD
        ):
            raise LocalError("an RTP header extension has whole words of data, 65535 at most")

    def encode(self) -> bytes:
        """Return the octets of the packet."""
        first = (
            RTP_VERSION << 6 | bool(self.padding) << 5 | (self.extension is not None) << 4 | len(self.csrcs)
        )
        parts = [
            _HEADER.pack(
                first, self.marker << 7 | self.payload_type, self.sequence, self.timestamp, self.ssrc
            ),
            struct.pack(f"!{len(self.csrcs)}I", *self.csrcs),
        ]
        if self.extension is not None:
            profile, data = self.extension
            parts += [_EXTENSION.pack(profile, len(data) // _WORD), data]
        parts.append(self.payload)
        if self.padding:
            parts.append(bytes(self.padding - 1) + bytes((self.padding,)))
        return b"".join(parts)

    @classmethod
    def parse(cls, packet: bytes) -> Self:
        """Read a packet; raise `MalformedPacket` that names the field."""
        if len(packet) < _HEADER.size:
            raise MalformedPacket(f"{len(packet)} bytes", field="RTP header", offset=0)
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
        if first >> 6 != RTP_VERSION:
            raise MalformedPacket(f"version {first >> 6}", field="RTP header", offset=0)
        offset = _HEADER.size + _WORD * (first & 0x0F)
        if len(packet) < offset:
            raise MalformedPacket("runs over the end", field="RTP CSRC list", offset=_HEADER.size)
        csrcs = struct.unpack_from(f"!{first & 0x0F}I", packet, _HEADER.size)
        extension = None
        if first & 0x10:
            extension, offset = _parse_extension(packet, offset)
        padding = 0
        if first & 0x20:
            padding = packet[-1]
            if not 1 <= padding <= len(packet) - offset:
                raise MalformedPacket(f"{padding} bytes", field="RTP padding", offset=len(packet) - 1)
        return cls(
            payload_type=second & 0x7F,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=packet[offset : len(packet) - padding],
            marker=bool(second >> 7),
            csrcs=csrcs,
            extension=extension,
            padding=padding,
        )


def _parse_extension(packet: bytes, offset: int) -> tuple[tuple[int, bytes], int]:
    if len(packet) < offset + _EXTENSION.size:
        raise MalformedPacket("runs over the end", field="RTP header extension", offset=offset)
    profile, words = _EXTENSION.unpack_from(packet, offset)
    start = offset + _EXTENSION.size
    end = start + words * _WORD
    if len(packet) < end:
        raise MalformedPacket(f"{words} words run over the end", field="RTP header extension", offset=offset)
    return (profile, packet[start:end]), end


def timestamps_apart(timestamp: int, before: int) -> int:
    """Return by how much *timestamp* is ahead of *before*, which may have been extended over 32 bits.

    Negative where it is behind. Timestamps wrap around, so that it is the shorter of the two ways.
    """
    ahead = (timestamp - before) & _TIMESTAMP_MASK
    return ahead if ahead < _TIMESTAMP_HALF else ahead - _TIMESTAMP_MASK - 1


def is_rtcp(packet: bytes) -> bool:
    """Return whether a packet of a port shared by both is RTCP (RFC 5761 section 4)."""
    return len(packet) > 1 and 192 <= packet[1] <= 223


@native
class Packetiser:
    """Numbers the packets of one outgoing stream of fixed-length frames.

    ``samples`` is what the timestamp advances by each frame. Packet and octet counts are those of a sender
    report (RFC 3550 section 6.4.1), payload octets only.
    """

    __slots__ = ("_head", "_marker", "_samples", "octets", "packets", "sequence", "ssrc", "timestamp")

    def __init__(self, *, ssrc: int, payload_type: int, samples: int, sequence: int, timestamp: int) -> None:
        first = RtpPacket(payload_type=payload_type, sequence=sequence, timestamp=timestamp, ssrc=ssrc)
        self._head = first.payload_type
        self._marker = 0x80  # the first packet of a talk spurt (RFC 3551 section 4.1)
        self._samples = samples
        self.ssrc = ssrc
        self.sequence = sequence
        self.timestamp = timestamp
        self.packets = 0
        self.octets = 0

    def next_packet(self, payload: bytes) -> bytes:
        """Return the next RTP packet; ``sequence`` and ``timestamp`` then are those of the one after it."""
        packet = (
            _HEADER.pack(0x80, self._marker | self._head, self.sequence, self.timestamp, self.ssrc) + payload
        )
        self._marker = 0
        self.sequence = (self.sequence + 1) & _SEQ_MASK
        self.timestamp = (self.timestamp + self._samples) & _TIMESTAMP_MASK
        self.packets += 1
        self.octets += len(payload)
        return packet

    def skip(self) -> None:
        """Let one frame's time pass without a packet; the next one opens a talk spurt."""
        self.timestamp = (self.timestamp + self._samples) & _TIMESTAMP_MASK
        self._marker = 0x80
