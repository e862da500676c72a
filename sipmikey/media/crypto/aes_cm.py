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


class AesCmSession:
    """One key in one direction, for one SSRC. *keying*: master key and salt (RFC 3711 section 4.3)."""

    def __init__(self, keying: bytes, ssrc: int, profile: SrtpProfile, *, window: int) -> None:
        master, salt = keying[: profile.key_length], keying[profile.key_length :]
        lengths = (profile.key_length, HMAC_SHA1_KEY_LENGTH, _SALT)
        rtp = [_derived(master, salt, label, length) for label, length in enumerate(lengths)]
        rtcp = [_derived(master, salt, label + 3, length) for label, length in enumerate(lengths)]
        self._cipher, self._auth, self._salt = algorithms.AES(rtp[0]), rtp[1], int.from_bytes(rtp[2])
        self._rtcp_cipher, self._rtcp_auth = algorithms.AES(rtcp[0]), rtcp[1]
        self._rtcp_salt = int.from_bytes(rtcp[2])
        self._ssrc = ssrc
        self._tag, self._rtcp_tag = profile.tag_length, profile.rtcp_tag_length
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
        protected = packet[:start] + self._crypt(packet[start:], index)
        return protected + self._mac(protected, index)

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP packet of an SRTP packet."""
        if len(packet) < RTP_HEADER_LENGTH + self._tag:
            raise SessionError(_MALFORMED)
        self._check_source(packet[8:12])
        protected, tag = packet[: -self._tag], packet[-self._tag :]
        start = _payload_at(protected)
        index = self._index_of(int.from_bytes(packet[2:4]))
        if index < 0:
            raise SessionError(_TOO_OLD)
        self._window.check(index)
        if not hmac.compare_digest(tag, self._mac(protected, index)):
            raise SessionError(_FORGED)
        self._window.add(index)
        return protected[:start] + self._crypt(protected[start:], index)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Return the SRTCP packet of an RTCP packet."""
        if self._rtcp_index >= _LAST_RTCP:
            raise SessionError("can't use key any more")
        self._rtcp_index += 1
        head, body = packet[:RTCP_HEADER_LENGTH], packet[RTCP_HEADER_LENGTH:]
        trailer = struct.pack("!I", _ENCRYPTED | self._rtcp_index)
        protected = head + self._crypt_rtcp(body, self._rtcp_index) + trailer
        return protected + hmac.digest(self._rtcp_auth, protected, "sha1")[: self._rtcp_tag]

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the RTCP packet of an SRTCP packet."""
        if len(packet) < RTCP_HEADER_LENGTH + 4 + self._rtcp_tag:
            raise SessionError(_MALFORMED)
        self._check_source(packet[4:8])
        protected, tag = packet[: -self._rtcp_tag], packet[-self._rtcp_tag :]
        word = int.from_bytes(protected[-4:])
        if not word & _ENCRYPTED:
            raise SessionError("unable to perform desired validation")
        index = word & _LAST_RTCP
        self._rtcp_window.check(index)
        if not hmac.compare_digest(tag, hmac.digest(self._rtcp_auth, protected, "sha1")[: self._rtcp_tag]):
            raise SessionError(_FORGED)
        self._rtcp_window.add(index)
        body = protected[RTCP_HEADER_LENGTH:-4]
        return protected[:RTCP_HEADER_LENGTH] + self._crypt_rtcp(body, index)

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

    def _crypt(self, payload: bytes, index: int) -> bytes:
        start = self._salt << 16 ^ self._ssrc << 64 ^ index << 16
        return Cipher(self._cipher, modes.CTR(start.to_bytes(16))).encryptor().update(payload)

    def _crypt_rtcp(self, body: bytes, index: int) -> bytes:
        start = self._rtcp_salt << 16 ^ self._ssrc << 64 ^ index << 16
        return Cipher(self._rtcp_cipher, modes.CTR(start.to_bytes(16))).encryptor().update(body)

    def _mac(self, protected: bytes, index: int) -> bytes:
        rollovers = struct.pack("!I", index >> 16)
        return hmac.digest(self._auth, protected + rollovers, "sha1")[: self._tag]


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
