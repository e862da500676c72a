"""Media that arrives before the answer is held, and opened with candidates' keys only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sipmikey.media.diagnosis import fits
from sipmikey.media.keying import StreamKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPacket:
    """A packet as it came: ``arrival_ns`` is Unix time, ``rtcp`` says on which kind of port."""

    packet: bytes
    arrival_ns: int
    rtcp: bool = False


class EarlyMedia:
    """A bounded queue of packets no key is known for yet.

    Nothing in it is decoded, played or counted as media. When full, the oldest go first: the newest are what
    a user would hear. ``dropped`` counts those lost, ``fitting`` how many packets each candidate opened.
    """

    __slots__ = ("_bytes", "_max_age_ns", "_max_bytes", "_max_packets", "_packets", "dropped", "fitting")

    def __init__(
        self, *, max_packets: int = 100, max_bytes: int = 64 * 1024, max_age_ns: int = 4_000_000_000
    ) -> None:
        self._packets: deque[HeldPacket] = deque()
        self._bytes = 0
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._max_age_ns = max_age_ns
        self.dropped = 0
        self.fitting: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._packets)

    def hold(self, packet: bytes, arrival_ns: int, *, rtcp: bool = False) -> None:
        """Keep *packet* (up to the limits) until a candidate's key opens it."""
        self._packets.append(HeldPacket(packet=packet, arrival_ns=arrival_ns, rtcp=rtcp))
        self._bytes += len(packet)
        oldest = arrival_ns - self._max_age_ns
        while self._packets and (
            len(self._packets) > self._max_packets
            or self._bytes > self._max_bytes
            or self._packets[0].arrival_ns < oldest
        ):
            self._bytes -= len(self._packets.popleft().packet)
            self.dropped += 1

    def take(self, candidate: str, key: StreamKey) -> tuple[HeldPacket, ...]:
        """Remove and return the packets that authenticate under *key*, in order, still protected.

        They are to be given to the receiver of that candidate; the others stay for other candidates.
        """
        taken: list[HeldPacket] = []
        kept: deque[HeldPacket] = deque()
        for held in self._packets:
            (taken if fits(key, held.packet, rtcp=held.rtcp) else kept).append(held)
        self._packets = kept
        self._bytes = sum(len(held.packet) for held in kept)
        self.fitting[candidate] = self.fitting.get(candidate, 0) + len(taken)
        return tuple(taken)

    def clear(self) -> None:
        """Forget what is held: the call was answered, or is over."""
        self._packets.clear()
        self._bytes = 0
