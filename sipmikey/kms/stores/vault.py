"""Encryption of secrets in a store, under a master key kept apart from it.

Each secret is sealed with AES-256-GCM under a key derived from the master key (HKDF-SHA-256, RFC 5869). The
additional data names table, row and column, so that a ciphertext moved to another row does not open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sipmikey.keys.key_text import parse_key
from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

MASTER_KEY_BYTES = 32
ENVIRONMENT_VARIABLE = "SIPMIKEY_KMS_MASTER_KEY"

_NONCE_BYTES = 12
_VERSION = b"\x01"


class MasterKeyMismatch(StoreUnavailable):
    """A sealed secret does not open: another master key, or the row was altered."""


class MasterKeyProvider(Protocol):
    """Where the master key comes from: a file, the environment, a key vault."""

    def master_key(self) -> Secret:
        """Return the master key (32 bytes); raise `LocalError` saying what is missing."""
        ...


class FileMasterKey:
    """A master key, as text, in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, random: Callable[[int], bytes] = os.urandom) -> None:
        """Write a new key with mode 0600; raise `LocalError` if the file is there already."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise LocalError(f"{self.path} exists already; a master key is never overwritten") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(random(MASTER_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def master_key(self) -> Secret:
        """Read the key; raise `LocalError` if the file is missing, readable by others or not a key."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(4096)
        except OSError as error:
            raise LocalError(f"master key file {self.path}: {error.strerror}") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise LocalError(f"master key file {self.path} is accessible to others: chmod 600 {self.path}")
        return parse_key(text, f"master key file {self.path}", length=MASTER_KEY_BYTES)


class EnvironmentMasterKey:
    """A master key, as text, in an environment variable."""

    def __init__(self, name: str = ENVIRONMENT_VARIABLE) -> None:
        self.name = name

    def master_key(self) -> Secret:
        """Read the key; raise `LocalError` if the variable is not set or not a key."""
        text = os.environ.get(self.name)
        if text is None:
            raise LocalError(f"environment variable {self.name} is not set")
        return parse_key(text, f"environment variable {self.name}", length=MASTER_KEY_BYTES)


class Vault:
    """Seals and opens the secrets of one store.

    While the master key is changed there are two: it seals under the new one and opens what is under either.
    """

    def __init__(self, master_key: Secret, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._given = master_key
        self._first = _cipher(master_key)
        self._new = self._old = self._first
        self._new_key = master_key

    def seal(self, secret: Secret, *identity: bytes | str | int) -> bytes:
        """Encrypt *secret* for the row *identity* names: version (1), nonce (12), ciphertext, tag (16)."""
        nonce = self._random(_NONCE_BYTES)
        return _VERSION + nonce + self._new.encrypt(nonce, secret.reveal(), _bound(identity))

    def open(self, sealed: bytes, *identity: bytes | str | int) -> Secret:
        """Decrypt what `seal` made for the same row; raise `MasterKeyMismatch` if it does not open."""
        bound = _bound(identity)
        secret = _opened(self._new, sealed, bound)
        if secret is None and self._old is not self._new:
            secret = _opened(self._old, sealed, bound)
        if secret is None:
            raise _mismatch(identity)
        return secret

    # While the master key is changed

    def open_first(self, sealed: bytes, *identity: bytes | str | int) -> Secret:
        """Decrypt with the key that was given, and with no other."""
        secret = _opened(self._first, sealed, _bound(identity))
        if secret is None:
            raise _mismatch(identity)
        return secret

    def first_key(self) -> Secret:
        """Return the master key that was given."""
        return self._given

    def change_to(self, key: Secret) -> None:
        """Seal under *key* from now on; what is under the key that was given opens, too."""
        if not self.changes_to(key):
            self._old, self._new, self._new_key = self._first, _cipher(key), key

    def change_from(self, key: Secret) -> None:
        """Open what is under *key*, too; the one that was given is the new one."""
        if self._old is self._first:
            self._old = _cipher(key)

    def changes_to(self, key: Secret) -> bool:
        """Return whether *key* is what this seals under."""
        return hmac.compare_digest(self._new_key.reveal(), key.reveal())

    def given_is_new(self) -> bool:
        """Return whether the key that was given is what this seals under."""
        return self._new is self._first

    def is_new(self, sealed: bytes, *identity: bytes | str | int) -> bool:
        """Return whether a secret is sealed under the new key."""
        return _opened(self._new, sealed, _bound(identity)) is not None

    def forget_others(self) -> None:
        """Know only the key that was given."""
        self._new = self._old = self._first
        self._new_key = self._given


def _mismatch(identity: tuple[bytes | str | int, ...]) -> MasterKeyMismatch:
    return MasterKeyMismatch(
        f"a secret of {identity[0]!r} does not open: another master key sealed it, or it was altered"
    )


def _cipher(master_key: Secret) -> AESGCM:
    if len(master_key) != MASTER_KEY_BYTES:
        raise LocalError(f"a master key has {MASTER_KEY_BYTES} bytes, not {len(master_key)}")
    return AESGCM(_expand(master_key.reveal(), b"sipmikey kms secrets at rest"))


def _opened(cipher: AESGCM, sealed: bytes, bound: bytes) -> Secret | None:
    if sealed[:1] != _VERSION:
        raise MasterKeyMismatch("a secret in the store is of an unknown version")
    try:
        return Secret(cipher.decrypt(sealed[1:13], sealed[13:], bound))
    except (InvalidTag, ValueError):
        return None


def backup_key(master_key: Secret) -> Secret:
    """Return the key (32 bytes) of the MAC over backups of the store."""
    return Secret(_expand(master_key.reveal(), b"sipmikey kms backup"))


def _expand(key: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def _bound(identity: tuple[bytes | str | int, ...]) -> bytes:
    parts = []
    for part in identity:
        octets = part if isinstance(part, bytes) else str(part).encode()
        parts.append(len(octets).to_bytes(4, "big") + octets)
    return b"".join(parts)
