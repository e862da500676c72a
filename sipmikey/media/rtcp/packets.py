"""RTCP packets (RFC 3550 section 6): sender and receiver reports, SDES, BYE. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from sipmikey.media.rtp import MalformedPacket
from sipmikey.mikey.errors import LocalError

_HEADER = struct.Struct("!BBH")
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")
_WORD = 4
_COUNT_LIMIT = 31
_CNAME = 1
_NTP_EPOCH_S = 2_208_988_800
_NS = 1_000_000_000


class RtcpType(IntEnum):
    """RTCP packet types (RFC 3550 section 12.1)."""

    SR = 200
    RR = 201
    SDES = 202
    BYE = 203


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What a receiver tells of one source (RFC 3550 section 6.4.1).

    ``fraction_lost`` in 1/256; ``lost`` cumulative, 24 bits signed; ``highest`` the extended sequence number;
    ``jitter`` in timestamp units; ``last_sr`` the middle 32 bits of the NTP timestamp of the last SR;
    ``delay`` since it came, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    jitter: int
    last_sr: int = 0
    delay: int = 0

    def encode(self) -> bytes:
        """Return the 24 octets of the block."""
        lost = max(-(1 << 23), min(self.lost, (1 << 23) - 1)) & 0xFF_FFFF
        return _BLOCK.pack(
            self.ssrc, self.fraction_lost << 24 | lost, self.highest, self.jitter, self.last_sr, self.delay
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """SR: ``ntp`` is a 64-bit NTP timestamp, ``rtp_timestamp`` the same instant in the stream's clock."""

    packet_type: ClassVar[RtcpType] = RtcpType.SR

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """Return the octets of the packet."""
        body = _SENDER.pack(self.ssrc, self.ntp, self.rtp_timestamp, self.packets, self.octets)
        return _packet(
            self.packet_type, len(self.blocks), body + b"".join(block.encode() for block in self.blocks)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """RR: reports of one that does not send."""

    packet_type: ClassVar[RtcpType] = RtcpType.RR

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """Return the octets of the packet."""
        body = self.ssrc.to_bytes(4, "big") + b"".join(block.encode() for block in self.blocks)
        return _packet(self.packet_type, len(self.blocks), body)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """SDES with one chunk; ``items`` are (type, value of at most 255 bytes), CNAME being type 1."""

    packet_type: ClassVar[RtcpType] = RtcpType.SDES

    ssrc: int
    items: tuple[tuple[int, bytes], ...]

    @classmethod
    def cname(cls, ssrc: int, name: str) -> SourceDescription:
        """Make the shortest SDES that a compound packet needs."""
        return cls(ssrc=ssrc, items=((_CNAME, name.encode()),))

    def encode(self) -> bytes:
        """Return the octets of the packet."""
        chunk = self.ssrc.to_bytes(4, "big")
        for item_type, value in self.items:
            if not 1 <= item_type <= 255 or len(value) > 255:
                raise LocalError("an SDES item has a type of 1 to 255 and at most 255 bytes")
            chunk += bytes((item_type, len(value))) + value
        chunk += bytes(_WORD - len(chunk) % _WORD)  # the list ends with a null octet, then pads
        return _packet(self.packet_type, 1, chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """BYE: the sources that leave, and a ``why`` of at most 255 bytes."""

    packet_type: ClassVar[RtcpType] = RtcpType.BYE

    ssrcs: tuple[int, ...]
    why: bytes = b""

    def encode(self) -> bytes:
        """Return the octets of the packet."""
        body = struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs)
        if self.why:
            text = bytes((len(self.why),)) + self.why
            body += text + bytes(-len(text) % _WORD)
        return _packet(self.packet_type, len(self.ssrcs), body)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRtcp:
    """Any other RTCP packet: ``count`` is its 5-bit field, ``body`` what follows its first word."""

    packet_type: int
    count: int
    body: bytes

    def encode(self) -> bytes:
        """Return the octets of the packet."""
        return _packet(self.packet_type, self.count, self.body)


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Bye | UnknownRtcp


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    if count > _COUNT_LIMIT:
        raise LocalError(f"an RTCP packet has at most {_COUNT_LIMIT} blocks")
    return _HEADER.pack(0x80 | count, packet_type, len(body) // _WORD) + body


def ntp_timestamp(unix_ns: int) -> int:
    """Return the 64-bit NTP timestamp of a Unix time in nanoseconds (RFC 3550 section 4)."""
    seconds, ns = divmod(unix_ns, _NS)
    return ((seconds + _NTP_EPOCH_S) & 0xFFFF_FFFF) << 32 | (ns << 32) // _NS


def encode_compound(packets: Iterable[RtcpPacket]) -> bytes:
    """Return the octets of a compound packet; the first must be a report (RFC 3550 section 6.1)."""
    chain = tuple(packets)
    if not chain or not isinstance(chain[0], SenderReport | ReceiverReport):
        raise LocalError("a compound RTCP packet begins with a sender or receiver report")
    return b"".join(packet.encode() for packet in chain)


def parse_compound(data: bytes) -> tuple[RtcpPacket, ...]:
    """Read a compound packet; raise `MalformedPacket` that names the field (RFC 3550 appendix A.2)."""
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise MalformedPacket("truncated", field="RTCP header", offset=offset)
        first, packet_type, words = _HEADER.unpack_from(data, offset)
        if first >> 6 != 2:
            raise MalformedPacket(f"version {first >> 6}", field="RTCP header", offset=offset)
        end = offset + _HEADER.size + words * _WORD
        if end > len(data):
            raise MalformedPacket(f"length {words} runs over the end", field="RTCP header", offset=offset)
        body = data[offset + _HEADER.size : end]
        if first & 0x20:
            body = _without_padding(body, end == len(data), offset)
        packets.append(_parse_one(packet_type, first & 0x1F, body, offset))
        offset = end
    if not packets or not isinstance(packets[0], SenderReport | ReceiverReport):
        raise MalformedPacket("does not begin with a report", field="RTCP compound", offset=0)
    return tuple(packets)


def _without_padding(body: bytes, last: bool, offset: int) -> bytes:
    padding = body[-1] if body else 0
    if not last or not padding or padding % _WORD or padding > len(body):
        raise MalformedPacket(f"{padding} bytes", field="RTCP padding", offset=offset)
    return body[:-padding]


def _parse_one(packet_type: int, count: int, body: bytes, offset: int) -> RtcpPacket:
    match packet_type:
        case RtcpType.SR:
            _need(body, _SENDER.size, "RTCP SR", offset)
            ssrc, ntp, rtp_timestamp, packets, octets = _SENDER.unpack_from(body)
            blocks = _parse_blocks(count, body[_SENDER.size :], offset)
            return SenderReport(
                ssrc=ssrc, ntp=ntp, rtp_timestamp=rtp_timestamp, packets=packets, octets=octets, blocks=blocks
            )
        case RtcpType.RR:
            _need(body, 4, "RTCP RR", offset)
            return ReceiverReport(
                ssrc=int.from_bytes(body[:4], "big"), blocks=_parse_blocks(count, body[4:], offset)
            )
        case RtcpType.SDES if count == 1:
            return _parse_sdes(body, offset)
        case RtcpType.BYE:
            return _parse_bye(count, body, offset)
        case _:
            return UnknownRtcp(packet_type=packet_type, count=count, body=body)


def _need(body: bytes, size: int, field: str, offset: int) -> None:
    if len(body) < size:
        raise MalformedPacket(f"{len(body)} of {size} bytes", field=field, offset=offset)


def _parse_blocks(count: int, body: bytes, offset: int) -> tuple[ReportBlock, ...]:
    # What follows the blocks is a profile-specific extension, which none of the profiles here has.
    _need(body, count * _BLOCK.size, "RTCP report blocks", offset)
    blocks = []
    for ssrc, loss, highest, jitter, last_sr, delay in _BLOCK.iter_unpack(body[: count * _BLOCK.size]):
        lost = loss & 0xFF_FFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=loss >> 24,
                lost=lost - (1 << 24) if lost >> 23 else lost,
                highest=highest,
                jitter=jitter,
                last_sr=last_sr,
                delay=delay,
            )
        )
    return tuple(blocks)


def _parse_sdes(body: bytes, offset: int) -> SourceDescription:
    _need(body, 5, "RTCP SDES", offset)
    items: list[tuple[int, bytes]] = []
    at = 4
    while body[at]:
        _need(body, at + 2, "RTCP SDES item", offset)
        end = at + 2 + body[at + 1]
        _need(body, end + 1, "RTCP SDES item", offset)
        items.append((body[at], body[at + 2 : end]))
        at = end
    return SourceDescription(ssrc=int.from_bytes(body[:4], "big"), items=tuple(items))


def _parse_bye(count: int, body: bytes, offset: int) -> Bye:
    _need(body, count * _WORD, "RTCP BYE", offset)
    ssrcs = struct.unpack_from(f"!{count}I", body)
    rest = body[count * _WORD :]
    why = b""
    if rest:
        _need(rest, 1 + rest[0], "RTCP BYE reason", offset)
        why = rest[1 : 1 + rest[0]]
    return Bye(ssrcs=ssrcs, why=why)
