"""The deposit: a message as a mailbox keeps it, which cannot open it. No I/O.

    octets  field
    4       magic, "MTDD"
    1       version, 1
    3       length of TRANSFER_INIT
    n       TRANSFER_INIT (RFC 6043 section 4.2.2)
    ...     SRTP packets, then one SRTCP packet, each after its length in 2 octets (RFC 4571 section 2)

Nothing in it but the lengths is outside what MIKEY, SRTP or SRTCP authenticates. The clear RTP headers tell
already whether packets are missing or moved, so who keeps a deposit can refuse that too.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.deferred.errors import DisorderedDeposit, MalformedDeposit
from sipmikey.media.codecs.codec import FRAME_MS
from sipmikey.media.rtcp.packets import RtcpType
from sipmikey.mikey.errors import LimitExceeded, LocalError

MEDIA_TYPE = "application/vnd.sipmikey.deposit"
MAGIC = b"MTDD"
VERSION = 1
_HEAD_LENGTH = len(MAGIC) + 1 + 3
_LENGTH_LIMIT = 1 << 24
_RTP = struct.Struct("!BBHII")
_SHORTEST_RTCP = 8
_LONGEST_PACKET = 0xFFFF
_SEQ_MASK = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositLimits:
    """``transfer_bytes``: longest TRANSFER_INIT. ``packets``: most SRTP packets; 30000 are ten minutes.

    ``packet_bytes``: longest packet.
    """

    transfer_bytes: int = 65_536
    packets: int = 30_000
    packet_bytes: int = 1_500


DEFAULT_DEPOSIT_LIMITS = DepositLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """``transfer_init``: the octets of TRANSFER_INIT. ``packets``: SRTP packets in order, one or more.

    ``closing``: the SRTCP packet with the sender's last report, which says how many packets there are.
    """

    transfer_init: bytes
    packets: tuple[bytes, ...]
    closing: bytes

    def __post_init__(self) -> None:
        if not self.transfer_init or len(self.transfer_init) >= _LENGTH_LIMIT:
            raise LocalError("a deposit has a TRANSFER_INIT of 1 to 16777215 octets")
        if not self.packets:
            raise LocalError("a deposit has at least one SRTP packet")
        if any(not packet or len(packet) > _LONGEST_PACKET for packet in (*self.packets, self.closing)):
            raise LocalError(f"a packet of a deposit has 1 to {_LONGEST_PACKET} octets")

    @property
    def duration_s(self) -> float:
        """How long the message is, in seconds, by the number of its packets."""
        return len(self.packets) * FRAME_MS / 1000

    def encode(self) -> bytes:
        """Return the octets of the deposit."""
        parts = [MAGIC, bytes((VERSION,)), len(self.transfer_init).to_bytes(3, "big"), self.transfer_init]
        for packet in (*self.packets, self.closing):
            parts += [len(packet).to_bytes(2, "big"), packet]
        return b"".join(parts)


def parse_deposit(data: bytes, limits: DepositLimits = DEFAULT_DEPOSIT_LIMITS) -> Deposit:
    """Read the octets of a deposit.

    Raises `MalformedDeposit` or `DisorderedDeposit`, which name the field and its first octet, and
    `LimitExceeded`.
    """
    transfer_init = transfer_init_of(data, limits)
    packets = list(_packets(data, _HEAD_LENGTH + len(transfer_init), limits))
    if not packets:
        raise MalformedDeposit("no packets", field="deposit", offset=len(data))
    end, closing = packets.pop()
    if not packets:
        raise MalformedDeposit("no SRTP packets before the last", field="packet 1", offset=end)
    _check_closing(closing, packets[0][1], len(packets) + 1, end)
    for number, ((_, before), (offset, packet)) in enumerate(itertools.pairwise(packets), 2):
        _check_order(before, packet, number, offset)
    return Deposit(
        transfer_init=transfer_init, packets=tuple(packet for _, packet in packets), closing=closing
    )


def transfer_init_of(data: bytes, limits: DepositLimits = DEFAULT_DEPOSIT_LIMITS) -> bytes:
    """Read the beginning of a deposit; raise `MalformedDeposit` or `LimitExceeded`, as `parse_deposit`."""
    if data[: len(MAGIC)] != MAGIC:
        raise MalformedDeposit("is not a deposit", field="magic", offset=0)
    if len(data) < _HEAD_LENGTH:
        raise MalformedDeposit("truncated", field="deposit header", offset=len(data))
    if data[len(MAGIC)] != VERSION:
        raise MalformedDeposit(
            f"version {data[len(MAGIC)]}, not {VERSION}", field="version", offset=len(MAGIC)
        )
    length = int.from_bytes(data[_HEAD_LENGTH - 3 : _HEAD_LENGTH], "big")
    if not length:
        raise MalformedDeposit("empty", field="TRANSFER_INIT", offset=_HEAD_LENGTH)
    if length > limits.transfer_bytes:
        raise LimitExceeded(
            f"{length} octets, at most {limits.transfer_bytes}",
            field="TRANSFER_INIT",
            offset=_HEAD_LENGTH - 3,
        )
    if len(data) < _HEAD_LENGTH + length:
        raise MalformedDeposit(
            f"truncated: {length} octets are announced, and {len(data) - _HEAD_LENGTH} are there",
            field="TRANSFER_INIT", offset=_HEAD_LENGTH,
        )  # fmt: skip
    return data[_HEAD_LENGTH : _HEAD_LENGTH + length]


def _packets(data: bytes, offset: int, limits: DepositLimits) -> Iterator[tuple[int, bytes]]:
    number = 0
    while offset < len(data):
        number += 1
        field = f"packet {number}"
        if number > limits.packets + 1:
            raise LimitExceeded(f"more than {limits.packets} packets", field="deposit", offset=offset)
        if len(data) < offset + 2:
            raise MalformedDeposit("truncated in its length", field=field, offset=offset)
        length = int.from_bytes(data[offset : offset + 2], "big")
        if length > limits.packet_bytes:
            raise LimitExceeded(f"{length} octets, at most {limits.packet_bytes}", field=field, offset=offset)
        offset += 2
        packet = data[offset : offset + length]
        if len(packet) < length:
            raise MalformedDeposit(
                f"truncated: {length} octets are announced, and {len(packet)} are there",
                field=field, offset=offset,
            )  # fmt: skip
        if len(packet) < _SHORTEST_RTCP or packet[0] >> 6 != 2:
            raise MalformedDeposit("is not RTP or RTCP of version 2", field=field, offset=offset)
        yield offset, packet
        offset += length


def _check_closing(closing: bytes, first: bytes, number: int, offset: int) -> None:
    """Check that the last packet, and no other, is the sender's report of this stream."""
    field = f"packet {number}"
    if closing[1] != RtcpType.SR:
        raise MalformedDeposit(
            "the last packet is not a sender report: the end is missing", field=field, offset=offset
        )
    if closing[4:8] != first[8:12]:
        raise DisorderedDeposit("the sender report is of another SSRC", field=field, offset=offset)


def _check_order(before: bytes, packet: bytes, number: int, offset: int) -> None:
    """Check that *packet* is the next of the same stream."""
    field = f"packet {number}"
    if len(packet) < _RTP.size or len(before) < _RTP.size:
        raise MalformedDeposit("is shorter than an RTP header", field=field, offset=offset)
    _, kind, sequence, _, ssrc = _RTP.unpack_from(packet)
    _, kind_before, sequence_before, _, ssrc_before = _RTP.unpack_from(before)
    if (kind & 0x7F, ssrc) != (kind_before & 0x7F, ssrc_before):
        raise DisorderedDeposit("is of another stream than the one before", field=field, offset=offset)
    if sequence != (sequence_before + 1) & _SEQ_MASK:
        raise DisorderedDeposit(
            f"has sequence number {sequence} after {sequence_before}", field=field, offset=offset
        )
