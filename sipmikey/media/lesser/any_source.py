"""Receiving SRTP of a peer whose SSRC nothing announces, as with keys in its description (RFC 4568)."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.lesser.receiver import LesserReceiver
from sipmikey.media.srtp import SrtpReceiver

_SOURCES = 8
"""How many SSRCs may prove that they have a key. Each keeps its replay window until the key is replaced."""

_LATE_PACKETS = 64
_SSRC = slice(8, 12)
_RTCP_SSRC = slice(4, 8)


class AnySourceReceiver(LesserReceiver):
    """Authenticates packets under *key*, whichever SSRC they have; its own ``ssrc`` does not count.

    A key that is replaced is still taken for the packets that were under way.
    """

    def __init__(self, key: StreamKey) -> None:
        super().__init__(key.ssrc)
        self.key = key
        self._known: dict[int, SrtpReceiver] = {}
        self._before: dict[int, SrtpReceiver] = {}
        self._late = 0

    def rekey(self, key: StreamKey) -> None:
        """Take packets under *key*, and for a while those under the previous key."""
        if key != self.key:
            self._before, self._known, self.key, self._late = self._known, {}, key, _LATE_PACKETS

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP packet of an SRTP packet; raise `PacketRefused`."""
        return self._opened(packet, packet[_SSRC], rtcp=False)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the compound RTCP packet of an SRTCP packet; raise `PacketRefused`."""
        return self._opened(packet, packet[_RTCP_SSRC], rtcp=True)

    def _opened(self, packet: bytes, field: bytes, *, rtcp: bool) -> bytes:
        ssrc = int.from_bytes(field, "big")
        receiver = self._known.get(ssrc)
        new = receiver is None
        if receiver is None:
            receiver = SrtpReceiver(replace(self.key, ssrc=ssrc))
        try:
            plain = receiver.unprotect_rtcp(packet) if rtcp else receiver.unprotect(packet)
        except PacketRefused as refused:
            before = self._before.get(ssrc)
            if before is not None and self._late > 0:
                try:
                    return before.unprotect_rtcp(packet) if rtcp else before.unprotect(packet)
                except PacketRefused:
                    pass
            raise self.refused(refused) from None
        if new:
            if len(self._known) >= _SOURCES:
                detail = f"more than {_SOURCES} sources with one key"
                raise self.refused(PacketRefused(SrtpError.OTHER_SSRC, detail))
            self._known[ssrc] = receiver
        self.ssrc = ssrc
        self._late -= self._late > 0
        return plain
