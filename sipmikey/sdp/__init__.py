"""Offer and answer: MIKEY-TICKET in SDP (RFC 4567), without I/O.

Text in, text out, for any SIP stack. `Offerer` is the caller, `Answerer` the callee; both lead to a `Session`
for re-INVITE and UPDATE. `SessionKeys` holds the SRTP keys of every m-line.
"""

from sipmikey.sdp.answer import Answerer
from sipmikey.sdp.errors import (
    AnswerMissing,
    BiddingDown,
    Glare,
    IdentityMismatch,
    KeyMgmtDuplicate,
    KeyMgmtMalformed,
    KeyMgmtMissing,
    MediaMismatch,
    MediaNotSecured,
    OfferMissing,
    SdpMalformed,
    SentSdpAltered,
)
from sipmikey.sdp.keys import MediaKeys, ReceivedOffer, SessionKeys
from sipmikey.sdp.mapping import Direction
from sipmikey.sdp.offer import Offerer
from sipmikey.sdp.session import Session
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite

__all__ = [
    "DEFAULT_SUITES",
    "AnswerMissing",
    "Answerer",
    "BiddingDown",
    "Direction",
    "Glare",
    "IdentityMismatch",
    "KeyMgmtDuplicate",
    "KeyMgmtMalformed",
    "KeyMgmtMissing",
    "MediaKeys",
    "MediaMismatch",
    "MediaNotSecured",
    "OfferMissing",
    "Offerer",
    "ReceivedOffer",
    "SdpMalformed",
    "SentSdpAltered",
    "Session",
    "SessionKeys",
    "SrtpSuite",
]
