"""What the SIP stack and the peer agreed on for a stream, as the media in Python needs it."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.nat.candidates import PeerIce


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedMedia:
    """The outcome of offer and answer for one m-line.

    ``codec``: its name. ``types``: payload types of what we send and of what we hear; ``event_types``: those
    of telephone events, None where there are none. ``remote``: where to send, None for nowhere.
    ``both_ways``: neither side holds the other. ``shared``: RTCP goes on the port of RTP (RFC 5761).
    ``ice``: the peer's part of ICE, None where it has none. ``offered``: the offer was ours.
    """

    codec: str
    types: tuple[int, int]
    event_types: tuple[int | None, int | None]
    remote: tuple[str, int] | None
    remote_rtcp: tuple[str, int] | None
    both_ways: bool
    shared: bool = False
    ice: PeerIce | None = None
    offered: bool = True
