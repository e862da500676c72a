"""One SRTP key in pylibsrtp: the only module that imports it.

pylibsrtp has no MKI and no access to the rollover counter. An MKI is put in and taken out here; it is not
covered by the tag (RFC 3711 section 3.1), so the library does not miss it. A rollover counter other than
zero is reached by letting the library protect (and, for receiving, unprotect) packets nobody sees, each
less than half the sequence number space ahead of the one before: the way a real stream gets there.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pylibsrtp

from sipmikey.media.crypto.aes_cm import AesCmSession, SessionError
from sipmikey.media.errors import PacketNotSent, PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import RTCP_HEADER_LENGTH, RTP_HEADER_LENGTH
from sipmikey.mikey.errors import LocalError
from sipmikey.native import native

REPLAY_WINDOW = 1024
"""Packets the receiver looks back for replays; RFC 3711 section 3.3.2 asks for 64 at least."""

MAX_ROLLOVERS = 4096
"""Highest rollover counter reached by stepping: 62 days at 50 packets per second, some 30 ms of work."""

_FAILURES = (pylibsrtp.Error, SessionError, ValueError)
_STEP = (1 << 15) - 1
_RTCP_RECEIVER_REPORT = 201

LIBSRTP_ERRORS: dict[str, SrtpError] = {
    "nothing to report": SrtpError.LIBRARY,
    "unspecified failure": SrtpError.LIBRARY,
    "unsupported parameter": SrtpError.MALFORMED,
    "couldn't allocate memory": SrtpError.LIBRARY,
    "couldn't deallocate properly": SrtpError.LIBRARY,
    "couldn't initialize": SrtpError.LIBRARY,
    "can't process as much data as requested": SrtpError.LIBRARY,
    "authentication failure": SrtpError.AUTHENTICATION,
    "cipher failure": SrtpError.LIBRARY,
    "replay check failed (bad index)": SrtpError.REPLAYED,
    "replay check failed (index too old)": SrtpError.TOO_OLD,
    "algorithm failed test routine": SrtpError.LIBRARY,
    "unsupported operation": SrtpError.LIBRARY,
    "no appropriate context found": SrtpError.OTHER_SSRC,
    "unable to perform desired validation": SrtpError.AUTHENTICATION,  # SRTCP without its E flag
    "can't use key any more": SrtpError.KEY_EXPIRED,
    "error in use of socket": SrtpError.LIBRARY,
    "error in use POSIX signals": SrtpError.LIBRARY,
    "nonce check failed": SrtpError.LIBRARY,
    "couldn't read data": SrtpError.LIBRARY,
    "couldn't write data": SrtpError.LIBRARY,
    "error parsing data": SrtpError.MALFORMED,
    "error encoding data": SrtpError.LIBRARY,
    "error while using semaphores": SrtpError.LIBRARY,
    "error while using pfkey": SrtpError.LIBRARY,
    "error MKI present in packet is invalid": SrtpError.MKI_UNKNOWN,
    "packet index is too old to consider": SrtpError.TOO_OLD,
    "packet index advanced, reset needed": SrtpError.ROLLOVER_COUNTER,
}
"""Every text of libsrtp's status codes, as pylibsrtp words it."""


def classify(error: Exception) -> SrtpError:
    """Return the kind of an exception raised by a pylibsrtp session."""
    if isinstance(error, ValueError):  # its buffer is fixed
        return SrtpError.TOO_LONG
    return LIBSRTP_ERRORS.get(str(error), SrtpError.LIBRARY)


def _dummy(ssrc: int, seq: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, seq, 0, ssrc)


def _indices_up_to(last: int) -> list[int]:
    """Packet indices from 0 to *last*, each within half the sequence number space of the next."""
    return [*range(0, last, _STEP), last]


def check_runnable(key: StreamKey) -> None:
    """Raise `LocalError` when a session cannot be brought to the key's ROC."""
    if key.roc > MAX_ROLLOVERS:
        raise LocalError(
            f"rollover counter {key.roc} is beyond {MAX_ROLLOVERS}, the most that Python media "
            "reaches: use native media, or rekey with a new SSRC"
        )


@native
class SrtpContext:
    """One key in one direction, in a pylibsrtp session of its own.

    ``after`` is the packet index (ROC * 65536 + SEQ) that counts as already used; None for a fresh stream.
    Raises `LocalError` when pylibsrtp lacks the profile or the index is too far to reach.
    """

    __slots__ = ("_at_end", "_mki", "_rtcp_tag", "_session", "_shortest", "_shortest_rtcp", "_tag", "key")

    def __init__(self, key: StreamKey, *, outbound: bool, after: int | None = None) -> None:
        check_runnable(key if after is None else replace(key, roc=after >> 16))
        self.key = key
        self._mki = key.mki
        self._at_end = key.profile.aead
        self._tag = key.profile.tag_length
        self._rtcp_tag = key.profile.rtcp_tag_length
        self._shortest = RTP_HEADER_LENGTH + key.profile.overhead(len(key.mki))
        self._shortest_rtcp = RTCP_HEADER_LENGTH + key.profile.rtcp_overhead(len(key.mki))
        self._session = self._make_session()
        if after is not None:
            self._advance(after, outbound)

    def _make_session(self) -> Any:
        profile = self.key.profile
        if profile.python_name is None:
            return AesCmSession(self.key.keying().reveal(), self.key.ssrc, profile, window=REPLAY_WINDOW)
        policy = pylibsrtp.Policy(
            key=self.key.keying().reveal(),
            ssrc_type=pylibsrtp.Policy.SSRC_SPECIFIC,
            ssrc_value=self.key.ssrc,
            srtp_profile=getattr(pylibsrtp.Policy, profile.python_name or ""),
        )
        policy.window_size = REPLAY_WINDOW
        # A repeated sequence number would be encrypted with the same keystream (RFC 3711 section 9.1).
        policy.allow_repeat_tx = False
        return pylibsrtp.Session(policy)

    def _advance(self, last: int, outbound: bool) -> None:
        if outbound:
            for index in _indices_up_to(last):
                self._session.protect(_dummy(self.key.ssrc, index & 0xFFFF))
            return
        feeder = self._make_session()
        for index in _indices_up_to(last):
            self._session.unprotect(feeder.protect(_dummy(self.key.ssrc, index & 0xFFFF)))

    def advance_rtcp(self, packets: int) -> None:
        """Count *packets* SRTCP packets as sent: the index is never reset (RFC 3711 section 3.4)."""
        empty = struct.pack("!BBHI", 0x80, _RTCP_RECEIVER_REPORT, 1, self.key.ssrc)
        for _ in range(packets):
            self._session.protect_rtcp(empty)

    def protect(self, packet: bytes) -> bytes:
        """Return the SRTP packet of an RTP packet; raise `PacketNotSent`."""
        if len(packet) < RTP_HEADER_LENGTH:
            raise PacketNotSent(SrtpError.TOO_SHORT, f"{len(packet)} bytes do not hold an RTP header")
        try:
            protected: bytes = self._session.protect(packet)
        except _FAILURES as error:
            raise PacketNotSent(classify(error), f"SRTP library: {error}") from None
        return self._with_mki(protected, self._tag) if self._mki else protected

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Return the SRTCP packet of an RTCP packet; raise `PacketNotSent`."""
        if len(packet) < RTCP_HEADER_LENGTH:
            raise PacketNotSent(SrtpError.TOO_SHORT, f"{len(packet)} bytes do not hold an RTCP header")
        try:
            protected: bytes = self._session.protect_rtcp(packet)
        except _FAILURES as error:
            raise PacketNotSent(classify(error), f"SRTP library: {error}") from None
        return self._with_mki(protected, self._rtcp_tag) if self._mki else protected

    def _with_mki(self, protected: bytes, tag: int) -> bytes:
        if self._at_end:
            return protected + self._mki
        return protected[:-tag] + self._mki + protected[-tag:]

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP packet of an SRTP packet; raise `PacketRefused`."""
        if len(packet) < self._shortest:
            raise PacketRefused(SrtpError.TOO_SHORT, f"{len(packet)} bytes do not hold header, MKI and tag")
        if self._mki:
            packet = self._without_mki(packet, self._tag)
        try:
            return self._session.unprotect(packet)  # type: ignore[no-any-return]
        except _FAILURES as error:
            raise PacketRefused(classify(error), f"SRTP library: {error}") from None

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the RTCP packet of an SRTCP packet; raise `PacketRefused`."""
        if len(packet) < self._shortest_rtcp:
            raise PacketRefused(
                SrtpError.TOO_SHORT, f"{len(packet)} bytes do not hold header, index, MKI and tag"
            )
        if self._mki:
            packet = self._without_mki(packet, self._rtcp_tag)
        try:
            return self._session.unprotect_rtcp(packet)  # type: ignore[no-any-return]
        except _FAILURES as error:
            raise PacketRefused(classify(error), f"SRTP library: {error}") from None

    def _without_mki(self, packet: bytes, tag: int) -> bytes:
        size = len(self._mki)
        if self._at_end:
            found, rest = packet[-size:], packet[:-size]
        else:
            found, rest = packet[-size - tag : -tag], packet[: -size - tag] + packet[-tag:]
        if found != self._mki:
            raise PacketRefused(SrtpError.MKI_UNKNOWN, f"MKI {found.hex()}, expected {self._mki.hex()}")
        return rest
