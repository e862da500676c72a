"""Protected packets of a group in which one talks at a time (RFC 6043 section 9). No I/O.

The chair and each member send under the group key with an SSRC of their own, which the chair gave out. Each
packet carries the key's number as its MKI. What is said about the session itself (who has the floor) goes in
RTCP APP packets (RFC 3550 section 6.7) under the same keys, so that sending it takes
the group key.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from sipmikey.media.errors import PacketNotSent, PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import RTCP_HEADER_LENGTH, RTP_HEADER_LENGTH
from sipmikey.media.rtcp.packets import ReceiverReport, UnknownRtcp, encode_compound, parse_compound
from sipmikey.media.rtp import MalformedPacket, RtpPacket
from sipmikey.media.srtp import SrtpReceiver, SrtpSender
from sipmikey.mikey.errors import LocalError, PeerError

PCMA = 8
"""Payload type of G.711 A-law (RFC 3551)."""

SAMPLES = 160
"""Samples of a frame of 20 ms."""

MOST_FRAMES = 1 << 16
"""Frames that one party sends under one key: 21 minutes. The packet index then never leaves ROC 0, so later
members need not be told it.
"""

MOST_SOURCES = 1024
"""SSRCs that are heard under one key: what is remembered of each keeps its packets from being replayed. Only
packets that verify add one."""

_APP = 204
_NAME = b"TALK"
_WORD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkKeys:
    """One group key: ``chair`` for the chair's packets, ``members`` for those of the members.

    The SSRC of ``members`` is this member's own, and 0 at the chair. Both have the same MKI.
    """

    chair: StreamKey
    members: StreamKey

    def __post_init__(self) -> None:
        if not self.chair.mki or self.chair.mki != self.members.mki:
            raise LocalError("both keys of a group carry the same MKI")


class _Epoch:
    """The time of one group key."""

    def __init__(self, keys: TalkKeys, own: StreamKey) -> None:
        self.keys = keys
        self.own = own
        self.sender = SrtpSender(own)
        self.sent = 0
        self._heard: dict[int, SrtpReceiver] = {}

    def receiver(self, ssrc: int) -> SrtpReceiver:
        if (known := self._heard.get(ssrc)) is not None:
            return known
        if len(self._heard) >= MOST_SOURCES:
            raise PacketRefused(SrtpError.OTHER_SSRC, f"{MOST_SOURCES} sources were heard under this key")
        key = self.keys.chair if ssrc == self.keys.chair.ssrc else self.keys.members
        return SrtpReceiver(replace(key, ssrc=ssrc))

    def heard(self, ssrc: int, receiver: SrtpReceiver) -> None:
        self._heard.setdefault(ssrc, receiver)


class Talk:
    """Protects what this side sends and opens what the others send.

    A new key is learnt while the old one is in use, and used when all have it: `use` forgets the old one, so
    that a party without the new one is no longer heard.
    """

    def __init__(self, *, chairs: bool) -> None:
        self._chairs = chairs
        self._present: _Epoch | None = None
        self._next: _Epoch | None = None

    def learn(self, keys: TalkKeys) -> None:
        """Take the next key. Raises `PeerError` for one with the MKI of the present one."""
        if self._present is not None and self._present.keys.chair.mki == keys.chair.mki:
            raise PeerError("the next key has the number of the present one", field="SPI")
        self._next = _Epoch(keys, keys.chair if self._chairs else keys.members)

    def use(self, mki: bytes, ssrc: int) -> bool:
        """Go over to the key with this MKI, as the chair says, whose SSRC is *ssrc*; whether we did."""
        chair = None if self._next is None else self._next.keys.chair
        if chair is None or (chair.mki, chair.ssrc) != (mki, ssrc):
            return False
        self._present, self._next = self._next, None
        return True

    @property
    def ready(self) -> bool:
        """True where there is a key to send with."""
        return self._present is not None

    @property
    def number(self) -> int:
        """Number of the key in use, 0 for none."""
        return 0 if self._present is None else int.from_bytes(self._present.keys.chair.mki, "big")

    @property
    def ssrc(self) -> int:
        """The SSRC this side sends with."""
        return self._used().own.ssrc

    @property
    def chair(self) -> int:
        """The SSRC of the chair."""
        return self._used().keys.chair.ssrc

    def _used(self) -> _Epoch:
        if self._present is None:
            raise LocalError("there is no group key yet")
        return self._present

    def protect(self, payload: bytes, timestamp: int, *, begins: bool = False) -> bytes:
        """Return the packet of a frame of G.711 A-law; *begins*: the first of a turn.

        *timestamp* counts samples and must grow. Raises `PacketNotSent` when the key has served its time.
        """
        epoch = self._used()
        if epoch.sent >= MOST_FRAMES:
            raise PacketNotSent(SrtpError.KEY_EXPIRED, "this group key has served its time")
        packet = RtpPacket(
            payload_type=PCMA,
            sequence=epoch.sent,
            timestamp=timestamp & 0xFFFF_FFFF,
            ssrc=epoch.own.ssrc,
            payload=payload,
            marker=begins,
        )
        protected = epoch.sender.protect(packet.encode())
        epoch.sent += 1
        return protected

    def open(self, packet: bytes) -> RtpPacket:
        """Return what is in a packet of the group; raise `PacketRefused` or `MalformedPacket`."""
        if len(packet) < RTP_HEADER_LENGTH:
            raise PacketRefused(SrtpError.TOO_SHORT, f"{len(packet)} octets do not hold an RTP header")
        (ssrc,) = struct.unpack_from("!I", packet, 8)
        epoch = self._epoch_of(packet, rtcp=False)
        receiver = epoch.receiver(ssrc)
        opened = RtpPacket.parse(receiver.unprotect(packet))
        epoch.heard(ssrc, receiver)
        return opened

    def _epoch_of(self, packet: bytes, *, rtcp: bool) -> _Epoch:
        """Return the epoch whose MKI the packet carries."""
        for epoch in (self._present, self._next):
            if epoch is not None:
                profile, mki = epoch.keys.chair.profile, epoch.keys.chair.mki
                tag = profile.rtcp_tag_length if rtcp else profile.tag_length
                end = len(packet) - (0 if profile.aead else tag)
                if packet[end - len(mki) : end] == mki:
                    return epoch
        raise PacketRefused(SrtpError.MKI_UNKNOWN, "no key of this group has its MKI")

    def say(self, word: str, *, next_key: bool = False) -> bytes:
        """Return *word*, about the session, as an SRTCP packet; *next_key*: under the key not used yet."""
        epoch = self._next if next_key else self._used()
        if epoch is None:
            raise LocalError("there is no next key")
        data = word.encode("ascii")
        body = epoch.own.ssrc.to_bytes(4, "big") + _NAME + data + bytes(-len(data) % _WORD)
        app = UnknownRtcp(packet_type=_APP, count=0, body=body)
        return epoch.sender.protect_rtcp(encode_compound([ReceiverReport(ssrc=epoch.own.ssrc), app]))

    def understand(self, packet: bytes) -> tuple[int, bytes, str]:
        """Return who says what: SSRC, MKI of the key and word; raise `PacketRefused` or `MalformedPacket`."""
        if len(packet) < RTCP_HEADER_LENGTH:
            raise PacketRefused(SrtpError.TOO_SHORT, f"{len(packet)} octets do not hold an RTCP header")
        (ssrc,) = struct.unpack_from("!I", packet, 4)
        epoch = self._epoch_of(packet, rtcp=True)
        receiver = epoch.receiver(ssrc)
        said = parse_compound(receiver.unprotect_rtcp(packet))
        epoch.heard(ssrc, receiver)
        for part in said:
            if isinstance(part, UnknownRtcp) and part.packet_type == _APP and part.body[4:8] == _NAME:
                return ssrc, epoch.keys.chair.mki, _word(part.body[8:])
        raise MalformedPacket("says nothing about a group", field="RTCP APP", offset=0)


def _word(data: bytes) -> str:
    try:
        return data.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise MalformedPacket("not ASCII", field="RTCP APP", offset=12) from None
