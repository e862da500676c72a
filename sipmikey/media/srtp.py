"""SRTP senders and receivers: one SSRC each, keyed and rekeyed from crypto sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from sipmikey.media.context import MAX_ROLLOVERS, SrtpContext, check_runnable
from sipmikey.media.diagnosis import Suspect, diagnose
from sipmikey.media.errors import PacketNotSent, PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import RTP_HEADER_LENGTH

LATE_PACKETS = 64
"""How many packets after a key switch those from before it are still taken."""

_HALF = 1 << 15
_SEQ_MASK = (1 << 16) - 1


class SrtpSender:
    """Protects the packets of one SSRC, in order.

    The first packet must have the sequence number that the key announces, if it announces one. Repeating a
    sequence number is refused: it would repeat the keystream.
    """

    __slots__ = ("_context", "_roc", "_rtcp_sent", "_seq", "key")

    def __init__(self, key: StreamKey) -> None:
        self._start(key)

    def _start(self, key: StreamKey) -> None:
        check_runnable(key)
        self.key = key
        self._roc = key.roc
        self._seq: int | None = None
        self._rtcp_sent = 0
        self._context: SrtpContext | None = None
        if not key.roc:
            self._context = SrtpContext(key, outbound=True)
        elif key.seq is not None:
            self._context = SrtpContext(key, outbound=True, after=(key.roc << 16 | key.seq) - 1)
        # Otherwise the index to start from is known with the first packet only.

    @property
    def ssrc(self) -> int:
        """The SSRC of the packets."""
        return self.key.ssrc

    @property
    def rollover_counter(self) -> int:
        """ROC of the last packet."""
        return self._roc

    @property
    def sequence(self) -> int | None:
        """Sequence number of the last packet, None before the first."""
        return self._seq

    @property
    def steady(self) -> SrtpContext | None:
        """The context that protects what follows, once a packet was sent under it; else None."""
        return None if self._seq is None else self._context

    def follow(self, index: int) -> None:
        """Go on after the packet *index*, which was protected by the context itself."""
        self._roc, self._seq = index >> 16, index & _SEQ_MASK

    def protect(self, packet: bytes) -> bytes:
        """Return the SRTP packet for an RTP packet of at most 1356 bytes; raise `PacketNotSent`."""
        if len(packet) < RTP_HEADER_LENGTH:
            raise PacketNotSent(SrtpError.TOO_SHORT, f"{len(packet)} bytes do not hold an RTP header")
        seq = packet[2] << 8 | packet[3]
        last = self._seq
        context = self._context
        if last is None or context is None:
            context = self._first(seq)
        protected = context.protect(packet)
        if last is None or (seq - last) & _SEQ_MASK < _HALF:
            if last is not None and seq < last:
                self._roc += 1
            self._seq = seq
        return protected

    def _first(self, seq: int) -> SrtpContext:
        if self.key.seq is not None and seq != self.key.seq:
            raise PacketNotSent(
                SrtpError.ROLLOVER_COUNTER,
                f"the first sequence number is {seq}, announced was {self.key.seq}",
            )
        if self._context is None:
            self._context = SrtpContext(self.key, outbound=True, after=(self.key.roc << 16 | seq) - 1)
        return self._context

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Return the SRTCP packet for a compound RTCP packet of this SSRC; raise `PacketNotSent`."""
        if self._context is None:
            raise PacketNotSent(
                SrtpError.ROLLOVER_COUNTER, "no RTCP before the first RTP packet of a running ROC"
            )
        protected = self._context.protect_rtcp(packet)
        self._rtcp_sent += 1
        return protected

    def rekey(self, key: StreamKey) -> None:
        """Protect with *key* from the next packet on.

        For the same SSRC the packet and SRTCP indices go on (RFC 3711 sections 3.3.1 and 3.4), whatever ROC
        and SEQ the key announces; another SSRC starts again.
        """
        if key.ssrc != self.key.ssrc or self._seq is None:
            self._start(key)
            return
        after = self._roc << 16 | self._seq if self._roc else None
        context = SrtpContext(key, outbound=True, after=after)
        context.advance_rtcp(self._rtcp_sent)
        self._context = context
        self.key = key


class SrtpReceiver:
    """Authenticates and decrypts the packets of one SSRC.

    ``candidates`` are other keys, by a name to show, that only serve to explain the first bad packet.
    ``failures`` counts refused packets by kind; ``diagnoses`` holds the first refusal of each kind that the
    SRTP library tells apart.
    """

    __slots__ = (
        "_context", "_index", "_late", "_old", "_pending", "_pending_at", "_pending_context",
        "_pending_from_zero", "_starts", "_switched_at", "candidates", "diagnoses", "failures", "key",
    )  # fmt: skip

    def __init__(self, key: StreamKey, *, candidates: Mapping[str, StreamKey] | None = None) -> None:
        self.candidates: Mapping[str, StreamKey] = candidates or {}
        self.failures: Counter[SrtpError] = Counter()
        self.diagnoses: dict[SrtpError, PacketRefused] = {}
        self._start(key)

    def _start(self, key: StreamKey) -> None:
        check_runnable(key)
        self.key = key
        self._index: int | None = None
        self._pending: StreamKey | None = None
        self._pending_context: SrtpContext | None = None
        self._pending_from_zero: SrtpContext | None = None
        self._pending_at = 0
        self._old: SrtpContext | None = None
        self._late = 0
        self._switched_at = 0
        self._starts: dict[int, SrtpContext] = {}
        self._context: SrtpContext | None = None
        if not key.roc:
            self._context = SrtpContext(key, outbound=False)
        elif key.seq is not None:
            self._context = SrtpContext(key, outbound=False, after=(key.roc << 16 | key.seq) - 1)

    @property
    def ssrc(self) -> int:
        """The SSRC of the packets."""
        return self.key.ssrc

    @property
    def rollover_counter(self) -> int:
        """ROC of the highest packet authenticated, or the announced one before the first."""
        return self.key.roc if self._index is None else self._index >> 16

    @property
    def rekeying(self) -> bool:
        """True where a new key waits for the first packet that uses it."""
        return self._pending is not None

    def rekey(self, key: StreamKey) -> None:
        """Accept *key* too, and drop the old one when a packet under the new one has come.

        Packets sent before the switch that arrive up to `LATE_PACKETS` after it are still taken. With another
        SSRC the stream restarts immediately.
        """
        if key.ssrc != self.key.ssrc:
            self._start(key)
        else:
            check_runnable(key)
            self._pending, self._pending_context, self._pending_from_zero = key, None, None

    @property
    def steady(self) -> SrtpContext | None:
        """The context that authenticates what follows, once it did so and while no key replaces another."""
        if self._index is None or self._pending is not None or self._old is not None:
            return None
        return self._context

    def follow(self, index: int) -> None:
        """Go on after the packet *index*, which was authenticated by the context itself."""
        self._index = index

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP packet of an SRTP packet of at most 1500 bytes; raise `PacketRefused`."""
        context = self._context
        try:
            plain = self._join(packet) if context is None else context.unprotect(packet)
        except PacketRefused as refused:
            plain = self._under_other_key(packet, refused)
        else:
            self._count(packet[2] << 8 | packet[3])
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the compound RTCP packet of an SRTCP packet; raise `PacketRefused`."""
        refused: PacketRefused | None = None
        # Which key RTCP uses says nothing about when RTP switches, so it moves no key.
        for context in (self._context or SrtpContext(self.key, outbound=False), self._next(), self._old):
            if context is None:
                continue
            try:
                return context.unprotect_rtcp(packet)
            except PacketRefused as error:
                refused = refused or error
        raise self._refuse(packet, refused or PacketRefused(SrtpError.NO_KEY, "no key"), rtcp=True)

    def _join(self, packet: bytes) -> bytes:
        """Unprotect the first packet of a stream whose ROC is known and whose sequence number is not.

        libsrtp guesses the ROC from the last sequence number, so one context waits at each quarter of the
        sequence number space until a packet authenticates.
        """
        if len(packet) < RTP_HEADER_LENGTH:
            raise PacketRefused(SrtpError.TOO_SHORT, f"{len(packet)} bytes do not hold an RTP header")
        quarter = packet[2] >> 6
        if quarter not in self._starts:
            after = (self.key.roc << 16 | quarter << 14) - 1
            self._starts[quarter] = SrtpContext(self.key, outbound=False, after=after)
        context = self._starts[quarter]
        plain = context.unprotect(packet)
        self._context, self._starts = context, {}
        return plain

    def _count(self, seq: int) -> None:
        """Follow the packet index of authenticated packets."""
        index = self._index
        if index is None:
            self._index = self.key.roc << 16 | seq
            return
        ahead = (seq - index) & _SEQ_MASK
        if ahead < _HALF:
            self._index = index + ahead
            if self._old is not None:
                self._late -= 1
                if self._late <= 0:
                    self._old = None

    def _next(self) -> SrtpContext | None:
        """Context of the new key, standing where the stream is."""
        key = self._pending
        if key is None or self.rollover_counter > MAX_ROLLOVERS:
            return None
        index = (self.rollover_counter << 16) - 1 if self._index is None else self._index
        # Made again as the stream moves on: the switch may come a rollover later than the key did.
        if self._pending_context is None or index - self._pending_at > _HALF >> 1:
            after = index if self.rollover_counter else None
            self._pending_context = SrtpContext(key, outbound=False, after=after)
            self._pending_at = index
        return self._pending_context

    def _next_from_zero(self) -> SrtpContext | None:
        """Context of the new key for a peer that restarts its rollover counter with it.

        RFC 3711 section 3.3.1 forbids that, and pjmedia does it.
        """
        if self._pending is None or not self.rollover_counter:
            return None
        if self._pending_from_zero is None:
            self._pending_from_zero = SrtpContext(replace(self._pending, roc=0, seq=None), outbound=False)
        return self._pending_from_zero

    def _under_other_key(self, packet: bytes, refused: PacketRefused) -> bytes:
        if refused.error not in (SrtpError.AUTHENTICATION, SrtpError.MKI_UNKNOWN, SrtpError.TOO_SHORT):
            raise self._refuse(packet, refused, rtcp=False)
        for new in (self._next(), self._next_from_zero()):
            if new is None:
                continue
            try:
                plain = new.unprotect(packet)
            except PacketRefused:
                continue
            if new is self._pending_from_zero:
                self._index = None
            self._switch(new, packet)
            return plain
        if self._old is not None and (self._switched_at - (packet[2] << 8 | packet[3])) & _SEQ_MASK < _HALF:
            try:
                return self._old.unprotect(packet)
            except PacketRefused:
                pass
        raise self._refuse(packet, refused, rtcp=False)

    def _switch(self, new: SrtpContext, packet: bytes) -> None:
        seq = packet[2] << 8 | packet[3]
        self._old, self._context = self._context, new
        self.key = new.key
        self._pending = self._pending_context = self._pending_from_zero = None
        self._late, self._switched_at = LATE_PACKETS, seq
        self._starts = {}
        self._count(seq)

    def _refuse(self, packet: bytes, refused: PacketRefused, *, rtcp: bool) -> PacketRefused:
        if refused.error not in self.diagnoses:
            old = () if self._old is None else (self._old.key,)
            pending = () if self._pending is None else (self._pending,)
            suspect = Suspect(
                packet=packet,
                rtcp=rtcp,
                error=refused.error,
                detail=refused.detail,
                keys=(self.key, *pending, *old),
                candidates=self.candidates,
                roc=self.rollover_counter,
            )
            self.diagnoses[refused.error] = refused = diagnose(suspect)
        self.failures[refused.error] += 1
        return refused
