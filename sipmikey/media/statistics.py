"""Loss and jitter of one incoming stream (RFC 3550 appendix A). No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.media.rtcp.packets import ReportBlock, SenderReport, ntp_timestamp
from sipmikey.native import native

_SEQ_SPACE = 1 << 16
_HALF = 1 << 15
_TIMESTAMP_MASK = 0xFFFF_FFFF
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionStatistics:
    """``lost`` may be negative when packets are duplicated; ``jitter_ms`` is the smoothed estimate."""

    received: int
    octets: int
    expected: int
    lost: int
    reordered: int
    jitter_ms: float


@native
class ReceptionCount:
    """What there is to know of the packets of one SSRC, updated with each.

    ``base`` and ``highest`` are extended sequence numbers, the first is -1 before any packet; ``jitter`` is
    in units of the RTP timestamp.
    """

    __slots__ = ("_scale", "_transit", "base", "highest", "jitter", "octets", "received", "reordered")

    def __init__(self, clock_rate: float) -> None:
        self._scale = clock_rate / _NS
        self._transit = 0.0
        self.base = -1
        self.highest = 0
        self.jitter = 0.0
        self.received = 0
        self.octets = 0
        self.reordered = 0

    def count(self, sequence: int, timestamp: int, payload_octets: int, arrival_ns: int) -> int:
        """Count one packet that arrived at *arrival_ns* (Unix time); return its extended sequence number."""
        transit = arrival_ns * self._scale - timestamp
        if self.base < 0:
            self.base = self.highest = extended = sequence
        else:
            ahead = (sequence - self.highest) & (_SEQ_SPACE - 1)
            if ahead < _HALF:
                self.highest = extended = self.highest + ahead
            else:
                extended = self.highest + ahead - _SEQ_SPACE
                self.reordered += 1
            moved = abs(transit - self._transit)
            if moved < _HALF << 8:  # not across a wrap of the timestamp
                self.jitter += (moved - self.jitter) / 16
        self._transit = transit
        self.received += 1
        self.octets += payload_octets
        return extended


class ReceptionCounter:
    """Counts what has been authenticated of one SSRC, for statistics and reports; ``counts`` are the counts.

    Packets that fail authentication must not be given to it: an attacker would move the counters.
    """

    __slots__ = (
        "_clock_rate",
        "_expected_before",
        "_last_sr",
        "_last_sr_ns",
        "_received_before",
        "count",
        "counts",
    )

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._last_sr = 0
        self._last_sr_ns = 0
        self._expected_before = 0
        self._received_before = 0
        self.counts = ReceptionCount(clock_rate)
        self.count = self.counts.count

    @property
    def received(self) -> int:
        """Packets counted."""
        return self.counts.received

    def sender_report(self, report: SenderReport, arrival_ns: int) -> None:
        """Remember the last sender report, for LSR and DLSR."""
        self._last_sr = report.ntp >> 16 & _TIMESTAMP_MASK
        self._last_sr_ns = arrival_ns

    @property
    def expected(self) -> int:
        """Packets from the first to the highest sequence number."""
        return self.counts.highest - self.counts.base + 1 if self.received else 0

    def statistics(self) -> ReceptionStatistics:
        """Return the counts so far."""
        return ReceptionStatistics(
            received=self.received,
            octets=self.counts.octets,
            expected=self.expected,
            lost=self.expected - self.received,
            reordered=self.counts.reordered,
            jitter_ms=self.counts.jitter / self._clock_rate * 1000,
        )

    def report_block(self, ssrc: int, now_ns: int) -> ReportBlock:
        """Return the block for the next report and begin a new reporting interval."""
        expected = self.expected - self._expected_before
        lost = expected - (self.received - self._received_before)
        self._expected_before, self._received_before = self.expected, self.received
        delay = (now_ns - self._last_sr_ns) * 65536 // _NS if self._last_sr_ns else 0
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=min(255, lost * 256 // expected) if expected > 0 and lost > 0 else 0,
            lost=self.expected - self.received,
            highest=self.counts.highest & _TIMESTAMP_MASK,
            jitter=int(self.counts.jitter) & _TIMESTAMP_MASK,
            last_sr=self._last_sr,
            delay=max(0, delay) & _TIMESTAMP_MASK,
        )


def round_trip_ns(block: ReportBlock, now_ns: int) -> int | None:
    """Return the round-trip time a report block shows, None when it refers to no report of ours."""
    if not block.last_sr:
        return None
    now = ntp_timestamp(now_ns) >> 16 & _TIMESTAMP_MASK
    return ((now - block.last_sr - block.delay) & _TIMESTAMP_MASK) * _NS // 65536
