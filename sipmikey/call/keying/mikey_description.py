"""The MIKEY message in a description, told to people and by events."""

from __future__ import annotations

import base64
import binascii
import re

from sipmikey.call.events import Event
from sipmikey.call.outbox import Outbox
from sipmikey.mikey.registry import DataType

_KEY_MGMT = re.compile(r"^a=key-mgmt:\s*mikey\s+(\S+)", re.MULTILINE | re.IGNORECASE)


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


def tell_mikey(out: Outbox, kind: type[Event], sdp: str | None, **facts: str) -> None:
    """Tell of the MIKEY message in *sdp*, if there is one, by an event of *kind*."""
    if sdp is not None and (found := describe_mikey(sdp)) is not None:
        name, size = found
        out.tell(kind, message=name, size=size, **facts)
