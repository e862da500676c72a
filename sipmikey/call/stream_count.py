"""What the SIP stack counts of a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCount:
    """``sent`` and ``received`` count RTP packets; under SRTP only those that verified are received.

    ``trouble``: what the media library found of packets that did not verify since the last count, in words;
    ``""`` when it found none, or cannot tell. ``source``: SSRC of the last packet received, 0 where there was
    none, or the library does not tell it or accepts the expected one only.
    """

    index: int
    codec: str
    sent: int
    received: int
    lost: int
    trouble: str = ""
    source: int = 0
