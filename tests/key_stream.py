"""Finds key stream that was used twice: every (key, SSRC, index) of SRTP and SRTCP packets, collected.

The index of SRTP is roll-over counter and sequence number, that of SRTCP stands in the packet (RFC 3711
sections 3.3.1 and 3.4). Two different packets at one place show the difference of what they encrypt. Which
key a packet is under is found out by its tag, with key derivation and HMAC of this module, not of the
project's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import dpkt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

MASTER_KEY_LENGTHS = {"AES_256_CM_HMAC_SHA1_80": 32, "AES_CM_128_HMAC_SHA1_80": 16}
SALT_LENGTH = 14
TAG_LENGTH = 10
RTP_AUTH_LABEL, RTCP_AUTH_LABEL = 1, 4
_CRYPTO_LINE = re.compile(rb"a=crypto:\d+ (\w+) inline:([A-Za-z0-9+/=]+)")

Place = tuple[str, str, int, int]
"""Fingerprint of the key, ``RTP`` or ``RTCP``, SSRC, index."""


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    rtp: bytes
    rtcp: bytes


def _key(keying: bytes, length: int) -> _Key:
    """Return the authentication keys of a master key of so many octets and the salt behind it."""
    master, salt = keying[:length], keying[length : length + SALT_LENGTH]
    name = hashlib.sha256(b"key stream\0" + keying).hexdigest()[:8]
    return _Key(name, _derived(master, salt, RTP_AUTH_LABEL), _derived(master, salt, RTCP_AUTH_LABEL))


def _derived(master: bytes, salt: bytes, label: int) -> bytes:
    """Return a session key of 20 octets, with a key derivation rate of 0 (RFC 3711 section 4.3.1)."""
    start = int.from_bytes(salt, "big") ^ label << 48
    encryptor = Cipher(AES(master), CTR((start << 16).to_bytes(16, "big"))).encryptor()
    return encryptor.update(bytes(20))


@dataclass(slots=True)
class KeyStream:
    """What is known of the packets given. ``repeated``: places at which two packets differ."""

    rtp: int = 0
    rtcp: int = 0
    foreign: int = 0
    repeated: list[Place] = field(default_factory=list)
    _keys: dict[str, _Key] = field(default_factory=dict)
    _places: dict[Place, bytes] = field(default_factory=dict)
    _last: dict[tuple[str, int], tuple[_Key, int]] = field(default_factory=dict)

    def add_key(self, suite: str, keying: bytes) -> None:
        """Know a master key with its salt, by the name of its suite."""
        found = _key(keying, MASTER_KEY_LENGTHS[suite])
        self._keys[found.name] = found

    def add_crypto_lines(self, text: bytes) -> None:
        """Know the keys of all a=crypto lines in *text*."""
        for suite, keying in _CRYPTO_LINE.findall(text):
            if suite.decode() in MASTER_KEY_LENGTHS:
                self.add_key(suite.decode(), base64.b64decode(keying))

    @property
    def keys(self) -> int:
        """How many keys are known."""
        return len(self._keys)

    def take(self, packet: bytes) -> None:
        """Take what came in a datagram; what is neither RTP nor RTCP is not looked at."""
        if len(packet) < 12 + TAG_LENGTH or packet[0] >> 6 != 2:
            return
        if 192 <= packet[1] <= 223:
            self._take_rtcp(packet)
        else:
            self._take_rtp(packet)

    def _take_rtp(self, packet: bytes) -> None:
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        body, tag = packet[:-TAG_LENGTH], packet[-TAG_LENGTH:]
        last = self._last.get(("RTP", ssrc))
        for key in self._likely(last):
            roll_over = 0 if last is None or last[0] is not key else last[1]
            for counter in dict.fromkeys((roll_over, roll_over + 1, max(0, roll_over - 1), 0)):
                mac = hmac.digest(key.rtp, body + struct.pack("!I", counter), "sha1")
                if mac[:TAG_LENGTH] == tag:
                    self._last["RTP", ssrc] = key, counter
                    self.rtp += 1
                    self._note((key.name, "RTP", ssrc, counter << 16 | sequence), packet)
                    return
        self.foreign += 1

    def _take_rtcp(self, packet: bytes) -> None:
        body, tag = packet[:-TAG_LENGTH], packet[-TAG_LENGTH:]
        ssrc, index = int.from_bytes(packet[4:8], "big"), int.from_bytes(body[-4:], "big") & 0x7FFFFFFF
        for key in self._likely(self._last.get(("RTCP", ssrc))):
            if hmac.digest(key.rtcp, body, "sha1")[:TAG_LENGTH] == tag:
                self._last["RTCP", ssrc] = key, 0
                self.rtcp += 1
                self._note((key.name, "RTCP", ssrc, index), packet)
                return
        self.foreign += 1

    def _likely(self, last: tuple[_Key, int] | None) -> Iterable[_Key]:
        if last is not None:
            yield last[0]
        yield from (key for key in self._keys.values() if last is None or key is not last[0])

    def _note(self, place: Place, packet: bytes) -> None:
        # A packet that was passed on, or sent once more as it was, shows nothing new.
        if self._places.setdefault(place, packet) != packet:
            self.repeated.append(place)

    def take_capture(self, path: Path) -> None:
        """Take every UDP datagram of a capture of Ethernet frames."""
        with path.open("rb") as file:
            for _, frame in dpkt.pcap.Reader(file):
                try:
                    layer = dpkt.ethernet.Ethernet(frame).data
                except dpkt.Error:
                    continue
                if isinstance(layer, dpkt.ip.IP | dpkt.ip6.IP6) and isinstance(layer.data, dpkt.udp.UDP):
                    self.take(bytes(layer.data.data))

    def __str__(self) -> str:
        return f"{self.keys} keys, {self.rtp} RTP and {self.rtcp} RTCP packets, {self.foreign} of others"
