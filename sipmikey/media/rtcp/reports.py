"""The RTCP reports of one stream: when ours are due, what they say, what those of the peer tell. No I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sipmikey.media.rtcp.packets import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    encode_compound,
    ntp_timestamp,
    parse_compound,
)
from sipmikey.media.statistics import ReceptionCounter, round_trip_ns

RTCP_INTERVAL_S = 5.0
"""Minimum interval of reports (RFC 3550 section 6.2)."""

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How far the sending of a stream got; ``timestamp`` is the RTP timestamp of the next packet."""

    ssrc: int
    timestamp: int
    packets: int
    octets: int


class Reports:
    """Makes and reads the reports of one stream.

    ``sent``, ``received``: reports so far. ``peer_left``: the peer said BYE. ``round_trip_ns`` is from the
    peer's last report, None without one.
    """

    def __init__(self, cname: str, rng: random.Random, interval_s: float = RTCP_INTERVAL_S) -> None:
        self._cname = cname
        self._rng = rng
        self._interval_ns = int(interval_s * _NS)
        self._due_ns: int | None = None
        self.sent = 0
        self.received = 0
        self.peer_left = False
        self.round_trip_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Return True when a report is due at *now_ns* (Unix time); the next is due an interval later."""
        if self._due_ns is None:
            # The first comes after half an interval (RFC 3550 section 6.2).
            self._due_ns = now_ns + self._next_interval() // 2
            return False
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns + self._next_interval()
        return True

    def _next_interval(self) -> int:
        # Spread over half to one and a half, so that parties do not report in step (RFC 3550 section 6.3.1).
        return int(self._interval_ns * (0.5 + self._rng.random()))

    def make(self, sending: Sending, block: ReportBlock | None, now_ns: int, *more: RtcpPacket) -> bytes:
        """Return a compound packet; *block* reports on what was received, *more* packets follow."""
        blocks = () if block is None else (block,)
        first: RtcpPacket
        if sending.packets:
            first = SenderReport(
                ssrc=sending.ssrc,
                ntp=ntp_timestamp(now_ns),
                rtp_timestamp=sending.timestamp,
                packets=sending.packets & 0xFFFF_FFFF,
                octets=sending.octets & 0xFFFF_FFFF,
                blocks=blocks,
            )
        else:
            first = ReceiverReport(ssrc=sending.ssrc, blocks=blocks)
        self.sent += 1
        return encode_compound((first, SourceDescription.cname(sending.ssrc, self._cname), *more))

    def take(self, plain: bytes, arrival_ns: int, *, own: int | None, counter: ReceptionCounter) -> None:
        """Read a compound packet of the peer; *own* is the SSRC that we send with.

        Raises ``MalformedPacket``.
        """
        for packet in parse_compound(plain):
            if isinstance(packet, Bye):
                self.peer_left = True
            elif isinstance(packet, SenderReport | ReceiverReport):
                if isinstance(packet, SenderReport):
                    counter.sender_report(packet, arrival_ns)
                for block in packet.blocks:
                    if block.ssrc == own:
                        self.round_trip_ns = round_trip_ns(block, arrival_ns)
        self.received += 1
