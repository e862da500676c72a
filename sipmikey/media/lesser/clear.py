"""RTP in clear, in the place of SRTP, for streams of calls that policy lets do without keys."""

from __future__ import annotations

from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.lesser.receiver import LesserReceiver
from sipmikey.media.profile import RTCP_HEADER_LENGTH, RTP_HEADER_LENGTH

_SSRC = slice(8, 12)
_RTCP_SSRC = slice(4, 8)


class ClearSender:
    """Sends the packets of one SSRC as they are."""

    __slots__ = ("sequence", "ssrc")

    steady = None
    rollover_counter = 0

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.sequence: int | None = None

    def protect(self, packet: bytes) -> bytes:
        """Return the packet."""
        self.sequence = packet[2] << 8 | packet[3]
        return packet

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Return the packet."""
        return packet

    def follow(self, index: int) -> None:
        """Nothing else sends packets of this stream."""


class ClearReceiver(LesserReceiver):
    """Takes packets of any SSRC as they are; ``ssrc`` is 0 before the first."""

    def __init__(self) -> None:
        super().__init__(0)

    def unprotect(self, packet: bytes) -> bytes:
        """Return the packet; raise `PacketRefused` for one too short to be RTP."""
        self._check(packet, RTP_HEADER_LENGTH, "RTP")
        self.ssrc = int.from_bytes(packet[_SSRC], "big")
        return packet

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the packet; raise `PacketRefused` for one too short to be RTCP."""
        self._check(packet, RTCP_HEADER_LENGTH, "RTCP")
        self.ssrc = self.ssrc or int.from_bytes(packet[_RTCP_SSRC], "big")
        return packet

    def _check(self, packet: bytes, shortest: int, kind: str) -> None:
        if len(packet) < shortest:
            detail = f"{len(packet)} bytes do not hold the header of {kind}"
            raise self.refused(PacketRefused(SrtpError.TOO_SHORT, detail))
