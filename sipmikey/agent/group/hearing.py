"""The sound of a group whose members talk in turn: packets in, samples out. No I/O; the clock is passed in.

Each member that talks has its own clock, so each turn has its own buffer between that clock and ours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sipmikey.media.g711 import PCMA, RATE
from sipmikey.media.playout import Playout
from sipmikey.media.rtp import RtpPacket, timestamps_apart
from sipmikey.sound.elastic import Elastic
from sipmikey.sound.samples import Samples, from_octets, silence

LEAST_DELAY_MS = 60.0
"""How long packets wait: as long as it takes to see that one of them does not come."""

MOST_DELAY_MS = 160.0

_FRAME_MS = 20.0
_GROWTH_MS = 10.0
"""How much the buffer may grow at the end of a turn, which it cannot tell from a gap."""

_REORDERED = 1
"""How many packets may wait for an earlier one."""

_FAR = RATE


class _Turn:
    """One turn, from when the floor was taken. A packet that is lost, or too late, is silence."""

    def __init__(self, packet: RtpPacket, *, delay_ms: float, clock: Callable[[], float]) -> None:
        self._ssrc = packet.ssrc
        self._newest = packet.timestamp
        self.elastic = Elastic(
            RATE,
            least_ms=delay_ms - _FRAME_MS,
            most_ms=MOST_DELAY_MS - _FRAME_MS,
            conceals=False,
            clock=clock,
        )
        self._playout = Playout(self._write, missing=self._fill, depth=_REORDERED)

    def put(self, packet: RtpPacket) -> None:
        if self._ahead(packet) > 0:
            self._newest = packet.timestamp
        self._playout.put(packet.timestamp, packet.payload)

    def ends_with(self, packet: RtpPacket) -> bool:
        """Return whether *packet* belongs to a turn after this one."""
        ahead = self._ahead(packet)
        return packet.ssrc != self._ssrc or (packet.marker and ahead > 0) or abs(ahead) > _FAR

    def _ahead(self, packet: RtpPacket) -> int:
        return timestamps_apart(packet.timestamp, self._newest)

    def _write(self, octets: bytes) -> None:
        self.elastic.write(from_octets(PCMA.decode(octets)))

    def _fill(self, ticks: int) -> None:
        self.elastic.write(silence(ticks))


class Hearing:
    """Takes packets in one thread, and gives samples at 8000 per second in another. *clock* gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turn: _Turn | None = None

    def put(self, packet: RtpPacket) -> None:
        """Take an authenticated packet of the party that has the floor."""
        if packet.payload_type != PCMA.payload_type or not packet.payload:
            return
        turn = self._turn
        if turn is None or turn.ends_with(packet):
            turn = _Turn(packet, delay_ms=self._delay_ms(turn), clock=self._clock)
            with self._lock:
                self._turn = turn
        turn.put(packet)

    def _delay_ms(self, before: _Turn | None) -> float:
        """Return how long packets wait in the next turn: as learned in the turn before."""
        learned = 0.0 if before is None else before.elastic.state.target_ms + _FRAME_MS - _GROWTH_MS
        return min(MOST_DELAY_MS, max(LEAST_DELAY_MS, learned))

    def read(self, count: int) -> Samples:
        """Return *count* samples, silence while no party talks."""
        with self._lock:
            turn = self._turn
        return silence(count) if turn is None else turn.elastic.read(count)
