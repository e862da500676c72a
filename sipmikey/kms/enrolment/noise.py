"""The handshake Noise_NNpsk0_25519_AESGCM_SHA256 (Noise Protocol Framework, revision 34).

Two messages, each with a payload. The pre-shared key of both sides (32 octets) protects the first payload and
proves both sides to each other. The second payload and the keys that come out of it also need the X25519 keys
that both sides draw for this handshake and forget.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.secret import Secret

PROTOCOL: Final = b"Noise_NNpsk0_25519_AESGCM_SHA256"
PSK_BYTES: Final = 32
KEY_BYTES: Final = 32
OVERHEAD: Final = KEY_BYTES + 16
"""Octets of a message beside its payload: an X25519 key and a tag of AES-GCM."""

MAX_MESSAGE: Final = 65_535

Random = Callable[[int], bytes]


class HandshakeFailed(SipmikeyError):
    """A message does not open: another pre-shared key or prologue was used, or it was altered or cut."""


class _State:
    """SymmetricState and CipherState (sections 5.1 and 5.2), with the tokens that NNpsk0 needs."""

    def __init__(self, psk: Secret, prologue: bytes) -> None:
        if len(psk) != PSK_BYTES:
            raise LocalError(f"the handshake takes a key of {PSK_BYTES} bytes, not {len(psk)}")
        self.hash = self._chaining = PROTOCOL  # 32 octets: it needs no hashing
        self._key = b""
        self._count = 0
        self._mix_hash(prologue)
        self._chaining, mixed, self._key = _expand(self._chaining, psk.reveal(), 3)
        self._mix_hash(mixed)

    def mix_public(self, key: bytes) -> None:
        """Mix in an ephemeral public key; with a pre-shared key also into the chaining key."""
        self._mix_hash(key)
        self._mix_key(key)

    def mix_agreed(self, ours: X25519PrivateKey, theirs: bytes) -> None:
        """Mix in the secret that both ephemeral keys agree on."""
        try:
            self._mix_key(ours.exchange(X25519PublicKey.from_public_bytes(theirs)))
        except ValueError:
            raise HandshakeFailed("the public key of the other side is not one that can be used") from None

    def seal(self, payload: bytes) -> bytes:
        """Encrypt *payload* and mix the ciphertext in."""
        ciphertext = AESGCM(self._key).encrypt(self._nonce(), payload, self.hash)
        self._mix_hash(ciphertext)
        return ciphertext

    def open(self, ciphertext: bytes) -> bytes:
        """Decrypt what `seal` made at the other side. Raises `HandshakeFailed`."""
        try:
            payload = AESGCM(self._key).decrypt(self._nonce(), ciphertext, self.hash)
        except InvalidTag:
            raise HandshakeFailed("the message does not open with this key") from None
        self._mix_hash(ciphertext)
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """Return the two resulting keys, of the initiator's direction and of the responder's."""
        first, second = _expand(self._chaining, b"", 2)
        return first, second

    def _nonce(self) -> bytes:
        self._count += 1
        return bytes(4) + (self._count - 1).to_bytes(8, "big")

    def _mix_hash(self, octets: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + octets).digest()

    def _mix_key(self, octets: bytes) -> None:
        self._chaining, self._key = _expand(self._chaining, octets, 2)
        self._count = 0


class _Side:
    def __init__(self, psk: Secret, *, prologue: bytes, random: Random) -> None:
        self._state = _State(psk, prologue)
        self._ephemeral = X25519PrivateKey.from_private_bytes(random(KEY_BYTES))
        self._theirs = b""
        self._whole = False

    def derived(self, label: bytes) -> Secret:
        """Return a key (32 bytes) that only the two sides of the finished handshake know, one per *label*."""
        if not self._whole:
            raise LocalError("the handshake is not finished")
        keys = b"".join(self._state.split())
        kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=self._state.hash, info=label)
        return Secret(kdf.derive(keys))

    @property
    def hash(self) -> bytes:
        """The handshake hash (32 octets): it names this handshake and is not a secret."""
        return self._state.hash

    def _write_key(self) -> bytes:
        public = self._ephemeral.public_key().public_bytes_raw()
        self._state.mix_public(public)
        return public

    def _read_key(self, message: bytes) -> bytes:
        if not OVERHEAD <= len(message) <= MAX_MESSAGE:
            raise HandshakeFailed(f"a message has {OVERHEAD} to {MAX_MESSAGE} octets, not {len(message)}")
        self._theirs = message[:KEY_BYTES]
        self._state.mix_public(self._theirs)
        return message[KEY_BYTES:]


class Initiator(_Side):
    """The side that begins: `write`, then `read`, then `derived`."""

    def write(self, payload: bytes) -> bytes:
        """Return the first message."""
        return self._write_key() + self._state.seal(payload)

    def read(self, message: bytes) -> bytes:
        """Return the payload of the second message. Raises `HandshakeFailed`."""
        ciphertext = self._read_key(message)
        self._state.mix_agreed(self._ephemeral, self._theirs)
        payload = self._state.open(ciphertext)
        self._whole = True
        return payload


class Responder(_Side):
    """The side that answers: `read`, then `write`, then `derived`."""

    def read(self, message: bytes) -> bytes:
        """Return the payload of the first message. Raises `HandshakeFailed`."""
        return self._state.open(self._read_key(message))

    def write(self, payload: bytes) -> bytes:
        """Return the second message. Raises `HandshakeFailed` for a key that cannot be used."""
        public = self._write_key()
        self._state.mix_agreed(self._ephemeral, self._theirs)
        message = public + self._state.seal(payload)
        self._whole = True
        return message


def _expand(chaining: bytes, octets: bytes, outputs: int) -> list[bytes]:
    """HKDF of the framework (section 4.3): two or three keys of 32 octets."""
    extracted = hmac.digest(chaining, octets, hashlib.sha256)
    found: list[bytes] = []
    last = b""
    for number in range(1, outputs + 1):
        last = hmac.digest(extracted, last + bytes([number]), hashlib.sha256)
        found.append(last)
    return found
