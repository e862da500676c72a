"""The SRTP keys that the stack was given: none may be started twice, from packet index 0 again."""

from __future__ import annotations

import hashlib
import secrets

from sipmikey.call.keying.lanes import SrtpKeys
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.media.profile import profile_by_name

_REMEMBERED = 100_000
_NAME_LENGTH = 16


class StartedKeys:
    """Remembers the master keys of all calls of an agent, whatever process has them, by a keyed hash.

    ``remembered``: so many, the latest.
    """

    def __init__(self, *, remembered: int = _REMEMBERED) -> None:
        self._secret = secrets.token_bytes(32)
        self._remembered = remembered
        self._names: dict[bytes, None] = {}

    def start(self, keys: SrtpKeys) -> None:
        """Note *keys*; a call to oneself uses each key once in either direction.

        Raises ``AgentError`` where one was started in that direction before: key stream would be used twice
        (RFC 3711 section 9.1).
        """
        names = (
            self._name(b"send", keys.suite, keys.send.reveal()),
            self._name(b"receive", keys.suite, keys.receive.reveal()),
        )
        if any(name in self._names for name in names):
            detail = "a key that ran before was to be started once more"
            raise AgentError(Reason.KEY_EXPIRED, detail, side="local")
        self._names.update(dict.fromkeys(names))
        while len(self._names) > self._remembered:
            del self._names[next(iter(self._names))]

    def _name(self, way: bytes, suite: str, keying: bytes) -> bytes:
        master_key = keying[: profile_by_name(suite).key_length]
        return hashlib.blake2b(way + b"\0" + master_key, key=self._secret, digest_size=_NAME_LENGTH).digest()
