"""SRTP by AES-CM with HMAC-SHA1 for what pylibsrtp has no profile for: keys of 192 and 256 bits (RFC 6188).

A session has the methods of pylibsrtp's, and its errors have libsrtp's words.
"""

from __future__ import annotations

import hmac
import struct
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sipmikey.media.profile import HMAC_SHA1_KEY_LENGTH, RTCP_HEADER_LENGTH, RTP_HEADER_LENGTH, SrtpProfile

_SALT: Final = 14
_SEQUENCES: Final = 1 << 16
_LAST_INDEX: Final = (1 << 48) - 1
_LAST_RTCP: Final = (1 << 31) - 1
_ENCRYPTED: Final = 1 << 31
_TOO_OLD: Final = "replay check failed (index too old)"
_REPLAYED: Final = "replay check failed (bad index)"
_FORGED: Final = "authentication failure"
_MALFORMED: Final = "error parsing data"


class SessionError(Exception):
    """A packet was not protected or not accepted; the text is that of libsrtp's status."""


class _Window:
    """Which indices were seen: the highest, and a bit for each of the *size* below it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0
        self.highest = -1

    def check(self, index: int) -> None:
        """Raise what libsrtp says of an index that was seen, or is too old to tell."""
        behind = self.highest - index
        if behind >= self._size:
            raise SessionError(_TOO_OLD)
        if behind >= 0 and self._seen >> behind & 1:
            raise SessionError(_REPLAYED)

    def add(self, index: int) -> None:
        """Note an index that was checked."""
        ahead = index - self.highest
        if ahead > 0:
            self._seen = (self._seen << min(ahead, self._size) | 1) & ((1 << self._size) - 1)
            self.highest = index
        else:
            self._seen |= 1 << -ahead


class _Keys:
    """The session keys of RTP or of RTCP. *first_label*: of its three labels (RFC 3711 section 4.3.2)."""

    def __init__(self, master: bytes, salt: bytes, *, first_label: int, ssrc: int, tag_length: int) -> None:
        self._cipher = algorithms.AES(_derived(master, salt, first_label, len(master)))
        self._auth = _derived(master, salt, first_label + 1, HMAC_SHA1_KEY_LENGTH)
        session_salt = int.from_bytes(_derived(master, salt, first_label + 2, _SALT))
        self._start = session_salt << 16 ^ ssrc << 64
        self.tag_length = tag_length

    def crypt(self, octets: bytes, index: int) -> bytes:
        """Encrypt or decrypt what packet *index* holds (RFC 3711 section 4.1.1)."""
        counter = (self._start ^ index << 16).to_bytes(16)
        return Cipher(self._cipher, modes.CTR(counter)).encryptor().update(octets)

    def mac(self, octets: bytes) -> bytes:
        """Return the authentication tag of *octets*."""
        return hmac.digest(self._auth, octets, "sha1")[: self.tag_length]


class AesCmSession:
    """One key in one direction, for one SSRC. *keying*: master key and salt (RFC 3711 section 4.3)."""

    def __init__(self, keying: bytes, ssrc: int, profile: SrtpProfile, *, window: int) -> None:
        master, salt = keying[: profile.key_length], keying[profile.key_length :]
        self._rtp = _Keys(master, salt, first_label=0, ssrc=ssrc, tag_length=profile.tag_length)
        self._rtcp = _Keys(master, salt, first_label=3, ssrc=ssrc, tag_length=profile.rtcp_tag_length)
        self._ssrc = ssrc
        self._window, self._rtcp_window = _Window(window), _Window(window)
        self._rtcp_index = -1

    def protect(self, packet: bytes) -> bytes:
        """Return the SRTP packet of an RTP packet."""
        start = _payload_at(packet)
        index = self._index_of(int.from_bytes(packet[2:4]))
        self._window.check(index)
        if index > _LAST_INDEX:
            raise SessionError("can't use key any more")
        self._window.add(index)
        protected = packet[:start] + self._rtp.crypt(packet[start:], index)
        return protected + self._rtp.mac(protected + _rollovers(index))

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP packet of an SRTP packet."""
        if len(packet) < RTP_HEADER_LENGTH + self._rtp.tag_length:
            raise SessionError(_MALFORMED)
        self._check_source(packet[8:12])
        protected, tag = packet[: -self._rtp.tag_length], packet[-self._rtp.tag_length :]
        start = _payload_at(protected)
        index = self._index_of(int.from_bytes(packet[2:4]))
        if index < 0:
            raise SessionError(_TOO_OLD)
        self._window.check(index)
        if not hmac.compare_digest(tag, self._rtp.mac(protected + _rollovers(index))):
            raise SessionError(_FORGED)
        self._window.add(index)
        return protected[:start] + self._rtp.crypt(protected[start:], index)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Return the SRTCP packet of an RTCP packet."""
        if self._rtcp_index >= _LAST_RTCP:
            raise SessionError("can't use key any more")
        self._rtcp_index += 1
        head, body = packet[:RTCP_HEADER_LENGTH], packet[RTCP_HEADER_LENGTH:]
        trailer = struct.pack("!I", _ENCRYPTED | self._rtcp_index)
        protected = head + self._rtcp.crypt(body, self._rtcp_index) + trailer
        return protected + self._rtcp.mac(protected)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the RTCP packet of an SRTCP packet."""
        if len(packet) < RTCP_HEADER_LENGTH + 4 + self._rtcp.tag_length:
            raise SessionError(_MALFORMED)
        self._check_source(packet[4:8])
        protected, tag = packet[: -self._rtcp.tag_length], packet[-self._rtcp.tag_length :]
        word = int.from_bytes(protected[-4:])
        if not word & _ENCRYPTED:
            raise SessionError("unable to perform desired validation")
        index = word & _LAST_RTCP
        self._rtcp_window.check(index)
        if not hmac.compare_digest(tag, self._rtcp.mac(protected)):
            raise SessionError(_FORGED)
        self._rtcp_window.add(index)
        body = protected[RTCP_HEADER_LENGTH:-4]
        return protected[:RTCP_HEADER_LENGTH] + self._rtcp.crypt(body, index)

    def _check_source(self, ssrc: bytes) -> None:
        if int.from_bytes(ssrc) != self._ssrc:
            raise SessionError("no appropriate context found")

    def _index_of(self, sequence: int) -> int:
        """Return the packet index nearest to the highest one (RFC 3711 appendix A)."""
        highest = self._window.highest
        if highest < 0:
            return sequence
        index = highest - highest % _SEQUENCES + sequence
        if index - highest > _SEQUENCES // 2:
            return index - _SEQUENCES
        return index + _SEQUENCES if highest - index > _SEQUENCES // 2 else index


def _rollovers(index: int) -> bytes:
    """Return what the tag of an RTP packet covers behind the packet (RFC 3711 section 4.2)."""
    return struct.pack("!I", index >> 16)


def _derived(master: bytes, salt: bytes, label: int, length: int) -> bytes:
    """Return a session key (RFC 3711 section 4.3.1, RFC 6188 section 3), without a key derivation rate."""
    start = (int.from_bytes(salt) ^ label << 48) << 16
    return Cipher(algorithms.AES(master), modes.CTR(start.to_bytes(16))).encryptor().update(bytes(length))


def _payload_at(packet: bytes) -> int:
    """Return the length of an RTP header, with its CSRCs and its extension."""
    if len(packet) < RTP_HEADER_LENGTH:
        raise SessionError(_MALFORMED)
    end = RTP_HEADER_LENGTH + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        end += 4 + 4 * int.from_bytes(packet[end + 2 : end + 4])
    if end > len(packet):
        raise SessionError(_MALFORMED)
    return end
