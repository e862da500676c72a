"""Rows of a SQLite file, each sealed by AES-256-GCM: the file alone tells how many there are, no more."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

_NONCE = 12


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open the file at *path*, made with *schema* and mode 0600 where there is none.

    What is deleted is overwritten. Raises ``LocalError`` for a file that is something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path)
    try:
        database.execute("pragma secure_delete = on")
        database.executescript(schema)
    except sqlite3.DatabaseError as error:
        database.close()
        raise LocalError(f"{path}: SQLite cannot use this file: {error}") from None
    return database


class Seal:
    """Seals documents with *key* (32 octets). *path*: the file they are in, for error texts."""

    def __init__(self, key: Secret, path: Path) -> None:
        self._key = key
        self._path = path

    def name(self, *parts: str) -> bytes:
        """Return the name of a row (16 octets), which does not tell what it is about."""
        text = b"name " + "\0".join(parts).encode()
        return hmac.digest(self._key.reveal(), text, hashlib.sha256)[:16]

    def close(self, document: Mapping[str, Any], context: bytes) -> bytes:
        """Return *document* sealed. It opens with the same *context* only."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key.reveal()).encrypt(nonce, json.dumps(document).encode(), context)

    def open(self, sealed: bytes, context: bytes) -> dict[str, Any]:
        """Return the document that was sealed; raises ``LocalError`` where it does not open."""
        try:
            opened = AESGCM(self._key.reveal()).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
        except (InvalidTag, ValueError):
            raise LocalError(
                f"{self._path}: a sealed row does not open: the key is another one, or the file was altered"
            ) from None
        found: dict[str, Any] = json.loads(opened)
        return found
