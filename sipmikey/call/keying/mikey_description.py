"""The MIKEY message in a description, told to people and by events."""

from __future__ import annotations

from sipmikey.call.events import Event
from sipmikey.call.outbox import Outbox
from sipmikey.mikey.registry import DataType
from sipmikey.sdp.attribute import decode, first_data
from sipmikey.sdp.errors import KeyMgmtMalformed

_LONGEST = 65_535


def describe_mikey(sdp: str) -> tuple[str, int] | None:
    """Return name and size in octets of the first MIKEY message in *sdp*, None when there is none."""
    data = first_data(sdp)
    if data is None:
        return None
    try:
        octets = decode(data, max_bytes=_LONGEST)
    except KeyMgmtMalformed:
        return "unreadable", len(data)
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
