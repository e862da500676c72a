"""Errors in session descriptions, and in what the SIP stack sent of ours."""

from __future__ import annotations

from typing import ClassVar

from sipmikey.mikey.errors import InvalidIdentity, LocalError, PeerError
from sipmikey.mikey.registry import ErrorNo


class SdpMalformed(PeerError):
    """The session description cannot be read: a stray control character, a bad m-line, too large."""

    reason = "sdp-malformed"
    sip_status = 400


class OfferMissing(PeerError):
    """The INVITE carries no session description.

    The offer would come in our 200 and the answer in the ACK: the caller would then be the MIKEY Responder,
    and the callee could no longer refuse its TRANSFER_RESP. The caller has to send its offer in the INVITE.
    """

    reason = "offer-missing"


class AnswerMissing(PeerError):
    """The response that must carry the answer carries no session description."""

    reason = "answer-missing"


class KeyMgmtMissing(PeerError):
    """A usable a=key-mgmt:mikey attribute is missing: not supported by the peer, or stripped by a proxy."""

    reason = "key-mgmt-missing"


class KeyMgmtMalformed(PeerError):
    """An a=key-mgmt attribute does not follow RFC 4567 section 3.1."""

    reason = "key-mgmt-malformed"


class KeyMgmtDuplicate(PeerError):
    """A description has two a=key-mgmt:mikey attributes at the same level."""

    reason = "key-mgmt-duplicate"


class BiddingDown(PeerError):
    """The key management protocols in SDP are not those the offerer listed (RFC 4567 section 4.1.4)."""

    reason = "bidding-down"
    error_no = ErrorNo.AUTH_FAILURE


class MediaNotSecured(PeerError):
    """A stream that must be SRTP is offered or answered in clear, or keyed by something else."""

    reason = "media-not-secured"


class MediaMismatch(PeerError):
    """The m-lines and the crypto sessions, or the m-lines of offer and answer, do not belong together."""

    reason = "media-mismatch"


class NoCommonCodec(MediaMismatch):
    """No audio stream of the peer has a codec that this agent has."""


class IdentityMismatch(InvalidIdentity):
    """The MIKEY Initiator is not the SIP caller, or policy does not accept the party that answered."""

    reason = "identity-mismatch"
    sip_status = 403


class ForkedWithoutKeys(PeerError):
    """A second device answered under a ticket that would give both the same keys (I = 0)."""

    reason = "fork-not-keyed"
    sip_status = 403


class Glare(PeerError):
    """An offer came while one of this side is under way (RFC 3261 section 14.2): try again later."""

    reason = "glare"
    sip_status = 491


class OtherIpVersion(PeerError):
    """A stream in use is at an address of the IP version that this agent does not use."""

    reason = "address-family"


class SentSdpAltered(LocalError):
    """What the SIP stack of this side sent is not the description that was made for it: the call must end.

    ``field`` names what differs, ``reason`` and ``sip_status`` are as those of a `PeerError`.
    """

    reason: ClassVar[str] = "sent-sdp-altered"
    sip_status: ClassVar[int] = 500

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail if field is None else f"{field}: {detail}")
        self.detail = detail
        self.field = field
