"""Keys written as text, hexadecimal or base64, read by one rule everywhere."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

from sipmikey.keys.suite import MINIMUM_KEY_LENGTH
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret


def _base64(text: bytes) -> bytes:
    return base64.b64decode(text, validate=True)


_PREFIXES: Mapping[str, Callable[[bytes], bytes]] = {"hex": binascii.unhexlify, "base64": _base64}


def parse_key(text: str | bytes, where: str, *, length: int | None = None) -> Secret:
    """Return the key that *text* holds, of *length* bytes or, without one, of 16 or more.

    An even number of hexadecimal digits is hexadecimal, anything else base64 (RFC 4648 section 4); a prefix
    ``hex:`` or ``base64:`` says which. Blanks around the key are ignored. Raises `LocalError`, which names
    *where* the text is from (an option, a setting, a file) and never repeats it.
    """
    octets = _decode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"), where)
    if length is not None and len(octets) != length:
        raise LocalError(f"{where}: the key has {len(octets)} bytes; exactly {length} are needed")
    if len(octets) < MINIMUM_KEY_LENGTH:
        raise LocalError(
            f"{where}: the key has {len(octets)} bytes; {MINIMUM_KEY_LENGTH} or more are needed "
            "(RFC 6043 section 12.1)"
        )
    return Secret(octets)


def _decode(raw: bytes, where: str) -> bytes:
    text = raw.strip()
    if not text:
        raise LocalError(f"{where}: the key is empty")
    prefix, colon, rest = text.partition(b":")
    word = prefix.decode("ascii", "replace").lower()
    if colon and word in _PREFIXES:
        try:
            return _PREFIXES[word](rest)
        except ValueError:
            raise LocalError(f"{where}: the key is not {word}") from None
    for decode in _PREFIXES.values():
        try:
            return decode(text)
        except ValueError:
            continue
    raise LocalError(f"{where}: the key is neither hexadecimal nor base64")
