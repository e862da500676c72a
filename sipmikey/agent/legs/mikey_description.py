"""What descriptions and keys say, in words for people and for the stack."""

from __future__ import annotations

import base64
import binascii
import re

from sipmikey.mikey.registry import DataType
from sipmikey.sdp import DEFAULT_SUITES, SessionKeys, SrtpSuite

_KEY_MGMT = re.compile(r"^a=key-mgmt:\s*mikey\s+(\S+)", re.MULTILINE | re.IGNORECASE)


def srtp_suites(strengths: tuple[str, ...]) -> tuple[SrtpSuite, ...]:
    """Return the SRTP suites for the suite words of the configuration (``256``, ``128``), in their order."""
    return tuple(suite for word in strengths for suite in DEFAULT_SUITES if suite.key_bits == int(word))


def hold_state(keyed: SessionKeys) -> str:
    """Return ``talking``, ``holding`` (we do not listen), ``held`` (the peer does not), or ``silent``."""
    sends = any(media.direction.sends for media in keyed.media)
    receives = any(media.direction.receives for media in keyed.media)
    if sends:
        return "talking" if receives else "holding"
    return "held" if receives else "silent"


def describe_mikey(sdp: str) -> tuple[str, int] | None:
    """Return name and size in octets of the first MIKEY message in *sdp*, None when there is none."""
    found = _KEY_MGMT.search(sdp)
    if found is None:
        return None
    try:
        octets = base64.b64decode(found.group(1), validate=True)
    except (binascii.Error, ValueError):  # letters that are not ASCII are a plain ValueError
        return "unreadable", len(found.group(1))
    if len(octets) < 2:
        return "unreadable", len(octets)
    try:
        return DataType(octets[1]).name, len(octets)
    except ValueError:
        return f"data type {octets[1]}", len(octets)
