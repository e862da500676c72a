"""Rules for the keys of a KEMAC (RFC 6043 sections 4.2.1.5, 6.2.1 and 12.1)."""

from __future__ import annotations

from collections.abc import Sequence

from sipmikey.keys.suite import MINIMUM_KEY_LENGTH, SUITE_128, Suite
from sipmikey.mikey.errors import MalformedMessage
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.secret import Secret


def longest_session_key(suite: Suite) -> int | None:
    """Return the most octets of a session key under *suite*, None for as many as the sender likes.

    RFC 6043 section 12.1 forbids the algorithms of 128 bits for keys of more than 128 bits, and nothing else.
    """
    return suite.key_length if suite is SUITE_128 else None


def check_transported_keys(keys: Sequence[KeyData], suite: Suite, what: str) -> None:
    """Raise `MalformedMessage` for keys that RFC 6043 sections 6.2.1 and 12.1 forbid.

    Every session key has an SPI of its own; every key has 128 bits or more; with the 128-bit suite no
    session key is longer. The 256-bit suite sets no upper limit.
    """
    longest = longest_session_key(suite)
    spis: set[bytes] = set()
    for key in keys:
        field = f"{what} KEMAC {key.key_type.name}"
        if len(key.key) < MINIMUM_KEY_LENGTH:
            raise MalformedMessage("a key has 128 bits or more", field=field, section="RFC 6043 section 12.1")
        if not key.key_type.is_session_key:
            continue
        if longest is not None and len(key.key) > longest:
            raise MalformedMessage(
                f"{len(key.key)} octets are too long for the suite",
                field=field,
                section="RFC 6043 section 12.1",
            )
        if not key.spi:
            raise MalformedMessage("has no SPI", field=field, section="RFC 6043 section 6.2.1")
        if key.spi in spis:
            raise MalformedMessage(
                "its SPI names another key too", field=field, section="RFC 6043 section 6.2.1"
            )
        spis.add(key.spi)


def split_mpks(
    keys: Sequence[KeyData], forking: bool, what: str
) -> tuple[Secret, Secret | None, tuple[KeyData, ...]]:
    """Return MPKi, MPKr (with key forking) and the session keys of a KEMAC of the KMS.

    The MPKs come first, in that order (RFC 6043 section 4.2.1.5); raises `MalformedMessage` otherwise.
    """
    count = 2 if forking else 1
    mpks = [key for key in keys if not key.key_type.is_session_key]
    if len(mpks) != count or tuple(mpks) != tuple(keys[:count]):
        raise MalformedMessage(
            f"{len(mpks)} MPKs, {count} must come first",
            field=f"{what} KEMAC",
            section="RFC 6043 section 4.2.1.5",
        )
    return mpks[0].key, mpks[1].key if forking else None, tuple(keys[count:])
