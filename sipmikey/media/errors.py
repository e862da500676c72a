"""Why a packet of the media path is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from sipmikey.mikey.errors import LocalError, PeerError


class SrtpError(StrEnum):
    """What is wrong with a packet, as found by libsrtp or by looking closer at the first bad one."""

    AUTHENTICATION = "authentication"
    """The tag does not verify, and nothing more is known."""
    CLEAR_RTP = "clear-rtp"
    """The payload looks like plain RTP where SRTP was agreed."""
    MKI_UNKNOWN = "mki-unknown"
    """The MKI names no key of this stream."""
    MKI_MISSING = "mki-missing"
    """The key fits, but the packet has no MKI where one was agreed."""
    MKI_UNEXPECTED = "mki-unexpected"
    """The key fits once a few octets are taken out: the peer sends an MKI that was not agreed."""
    TAG_LENGTH = "tag-length"
    """The key fits with another length of the authentication tag."""
    OTHER_CANDIDATE = "other-candidate"
    """Another candidate's key fits: the packet belongs to another branch of the call."""
    OTHER_SSRC = "other-ssrc"
    """The SSRC is not the one bound to this key by GENERIC-ID."""
    ROLLOVER_COUNTER = "rollover-counter"
    """The key fits with another rollover counter."""
    REPLAYED = "replayed"
    """The packet was received before."""
    TOO_OLD = "too-old"
    """The packet is older than the replay window."""
    TOO_SHORT = "too-short"
    """The packet cannot hold a header and a tag."""
    TOO_LONG = "too-long"
    """The packet is larger than the SRTP library takes."""
    MALFORMED = "malformed"
    """The RTP or RTCP header does not parse."""
    KEY_EXPIRED = "key-expired"
    """The key has protected as many packets as it may (RFC 3711 section 9.2)."""
    NO_KEY = "no-key"
    """There is no key for this direction yet."""
    LIBRARY = "library"
    """The SRTP library failed for a reason of its own."""


class PacketRefused(PeerError):
    """A packet that arrived is not accepted; ``error`` is the kind, ``detail`` says what was seen."""

    reason: ClassVar[str] = "packet-refused"

    def __init__(self, error: SrtpError, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class PacketNotSent(LocalError):
    """A packet of ours cannot be protected; ``error`` is the kind."""

    def __init__(self, error: SrtpError, detail: str) -> None:
        super().__init__(f"{error}: {detail}")
        self.error = error
        self.detail = detail
