"""Offer and answer: MIKEY-TICKET in SDP (RFC 4567), without I/O.

Text in, text out, for any SIP stack. `Offerer` is the caller, `Answerer` the callee; both lead to a `Session`
for re-INVITE and UPDATE. `SessionKeys` holds the SRTP keys of every m-line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmikey.on_use import on_use

if TYPE_CHECKING:
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

# Imported when asked for: the words for what is wrong with a description need no description.
__getattr__ = on_use(
    __name__,
    {
        "Answerer": "sipmikey.sdp.answer",
        "AnswerMissing": "sipmikey.sdp.errors",
        "BiddingDown": "sipmikey.sdp.errors",
        "Glare": "sipmikey.sdp.errors",
        "IdentityMismatch": "sipmikey.sdp.errors",
        "KeyMgmtDuplicate": "sipmikey.sdp.errors",
        "KeyMgmtMalformed": "sipmikey.sdp.errors",
        "KeyMgmtMissing": "sipmikey.sdp.errors",
        "MediaMismatch": "sipmikey.sdp.errors",
        "MediaNotSecured": "sipmikey.sdp.errors",
        "OfferMissing": "sipmikey.sdp.errors",
        "SdpMalformed": "sipmikey.sdp.errors",
        "SentSdpAltered": "sipmikey.sdp.errors",
        "MediaKeys": "sipmikey.sdp.keys",
        "ReceivedOffer": "sipmikey.sdp.keys",
        "SessionKeys": "sipmikey.sdp.keys",
        "Direction": "sipmikey.sdp.mapping",
        "Offerer": "sipmikey.sdp.offer",
        "Session": "sipmikey.sdp.session",
        "DEFAULT_SUITES": "sipmikey.sdp.suite",
        "SrtpSuite": "sipmikey.sdp.suite",
    },
)
