"""A holder for key material that does not show it."""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn

from sipmikey.native import native


@native
class Secret:
    """Octets that must not appear in a repr, log, pickle or traceback.

    Equality takes constant time for equal lengths. ``reveal()`` gives the bytes to code that computes
    with them; ``fingerprint()`` gives 8 hexadecimal digits that may be shown.
    """

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes | bytearray | memoryview) -> None:
        self._octets = bytes(octets)

    def reveal(self) -> bytes:
        """Return the octets."""
        return self._octets

    def fingerprint(self) -> str:
        """Return the first four octets of a labelled SHA-256 digest, in hexadecimal."""
        return hashlib.sha256(b"sipmikey key fingerprint\0" + self._octets).hexdigest()[:8]

    def __len__(self) -> int:
        return len(self._octets)

    def __bool__(self) -> bool:
        return bool(self._octets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._octets, other._octets)

    def __hash__(self) -> int:
        return hash((Secret, self._octets))

    def __repr__(self) -> str:
        return f"<Secret {len(self._octets)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
