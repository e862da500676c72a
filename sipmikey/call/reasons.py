"""Why a call, a registration or a KMS request ended: a closed set of words, and the SIP status of each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.sdp.errors import SentSdpAltered

Side = Literal["local", "remote", "kms", "network"]
"""The side that ended it: this agent or its user, the peer or its proxy, the KMS, or the network."""


class Family(StrEnum):
    """Coarse grouping of reasons; commands map each family to one exit code."""

    ENDED = "ended"
    SIP = "sip"
    TRANSPORT = "transport"
    KMS = "kms"
    KEYING = "keying"
    NO_KEYING = "no-keying"
    MEDIA = "media"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class Reason(StrEnum):
    """The closed set of reasons. Those of key management carry the words of ``PeerError.reason``."""

    HANGUP = "hangup"
    CANCELLED = "cancelled"
    TRANSFERRED = "transferred"
    REPLACED = "replaced"
    BUSY = "busy"
    DECLINED = "declined"
    NOT_FOUND = "not-found"
    UNAUTHORIZED = "unauthorized"
    REDIRECTED = "redirected"
    ANSWERED_ELSEWHERE = "answered-elsewhere"
    SIP_FAILURE = "sip-failure"
    NO_ANSWER = "no-answer"
    TOO_MANY_CALLS = "too-many-calls"
    MESSAGE_TOO_LARGE = "message-too-large"
    ADDRESS_FAMILY = "address-family"
    TRANSPORT_FAILED = "transport-failed"
    REGISTRATION_FAILED = "registration-failed"
    SETUP_TIMEOUT = "setup-timeout"
    PRECONDITION_FAILURE = "precondition-failure"
    KMS_UNREACHABLE = "kms-unreachable"
    KMS_TIMEOUT = "kms-timeout"
    KMS_REFUSED = "kms-refused"
    KMS_FAILURE = "kms-failure"
    KMS_BUSY = "kms-busy"
    KMS_BAD_ANSWER = "kms-bad-answer"
    NO_KMS = "no-kms"
    SIP_MALFORMED = "sip-malformed"
    SDP_MALFORMED = "sdp-malformed"
    OFFER_MISSING = "offer-missing"
    ANSWER_MISSING = "answer-missing"
    KEY_MGMT_MISSING = "key-mgmt-missing"
    KEY_MGMT_MALFORMED = "key-mgmt-malformed"
    KEY_MGMT_DUPLICATE = "key-mgmt-duplicate"
    BIDDING_DOWN = "bidding-down"
    MEDIA_NOT_SECURED = "media-not-secured"
    MEDIA_MISMATCH = "media-mismatch"
    IDENTITY_MISMATCH = "identity-mismatch"
    SENT_SDP_ALTERED = "sent-sdp-altered"
    FORK_NOT_KEYED = "fork-not-keyed"
    GLARE = "glare"
    PEER_REFUSED_KEYING = "peer-refused-keying"
    SUITE_UNAVAILABLE = "suite-unavailable"
    MEDIA_UNPROVEN = "media-unproven"
    MEDIA_FAILED = "media-failed"
    MEDIA_STALLED = "media-stalled"
    PEER_GONE = "peer-gone"
    KEY_EXPIRED = "key-expired"
    POLICY = "policy"
    STACK_FAILED = "stack-failed"
    INTERNAL_ERROR = "internal-error"

    PEER_ERROR = "peer-error"
    MALFORMED_MESSAGE = "malformed-message"
    LIMIT_EXCEEDED = "limit-exceeded"
    UNSUPPORTED_DATA_TYPE = "unsupported-data-type"
    UNEXPECTED_MESSAGE = "unexpected-message"
    AUTH_FAILURE = "auth-failure"
    UNKNOWN_KEY = "unknown-key"
    INVALID_TIMESTAMP = "invalid-timestamp"
    REPLAYED_MESSAGE = "replayed-message"
    UNSUPPORTED_PRF = "unsupported-prf"
    UNSUPPORTED_MAC = "unsupported-mac"
    UNSUPPORTED_ENCRYPTION = "unsupported-encryption"
    UNSUPPORTED_HASH = "unsupported-hash"
    UNSUPPORTED_DH_GROUP = "unsupported-dh-group"
    INVALID_IDENTITY = "invalid-identity"
    INVALID_CERTIFICATE = "invalid-certificate"
    UNSUPPORTED_SECURITY_POLICY = "unsupported-security-policy"
    INVALID_SECURITY_POLICY = "invalid-security-policy"
    INVALID_TICKET = "invalid-ticket"
    TICKET_EXPIRED = "ticket-expired"
    INVALID_TICKET_POLICY = "invalid-ticket-policy"
    NOT_AUTHORIZED = "not-authorized"
    PEER_REPORTED_ERROR = "peer-reported-error"

    @property
    def family(self) -> Family:
        """The group this reason belongs to (see ``Family``)."""
        return _FAMILIES.get(self, Family.KEYING)


_FAMILIES = {
    Reason.HANGUP: Family.ENDED,
    Reason.CANCELLED: Family.ENDED,
    Reason.TRANSFERRED: Family.ENDED,
    Reason.REPLACED: Family.ENDED,
    Reason.ANSWERED_ELSEWHERE: Family.ENDED,
    Reason.BUSY: Family.SIP,
    Reason.DECLINED: Family.SIP,
    Reason.NOT_FOUND: Family.SIP,
    Reason.UNAUTHORIZED: Family.SIP,
    Reason.REDIRECTED: Family.SIP,
    Reason.SIP_FAILURE: Family.SIP,
    Reason.TOO_MANY_CALLS: Family.SIP,
    Reason.MESSAGE_TOO_LARGE: Family.SIP,
    Reason.ADDRESS_FAMILY: Family.SIP,
    Reason.SIP_MALFORMED: Family.SIP,
    Reason.SDP_MALFORMED: Family.SIP,
    Reason.OFFER_MISSING: Family.SIP,
    Reason.ANSWER_MISSING: Family.SIP,
    Reason.PRECONDITION_FAILURE: Family.SIP,
    Reason.TRANSPORT_FAILED: Family.TRANSPORT,
    Reason.REGISTRATION_FAILED: Family.TRANSPORT,
    Reason.NO_ANSWER: Family.TIMEOUT,
    Reason.SETUP_TIMEOUT: Family.TIMEOUT,
    Reason.KMS_UNREACHABLE: Family.KMS,
    Reason.KMS_TIMEOUT: Family.KMS,
    Reason.KMS_REFUSED: Family.KMS,
    Reason.KMS_FAILURE: Family.KMS,
    Reason.KMS_BUSY: Family.KMS,
    Reason.KMS_BAD_ANSWER: Family.KMS,
    Reason.NO_KMS: Family.KMS,
    Reason.KEY_MGMT_MISSING: Family.NO_KEYING,
    Reason.MEDIA_NOT_SECURED: Family.NO_KEYING,
    Reason.PEER_REFUSED_KEYING: Family.NO_KEYING,
    Reason.MEDIA_UNPROVEN: Family.MEDIA,
    Reason.MEDIA_FAILED: Family.MEDIA,
    Reason.MEDIA_STALLED: Family.MEDIA,
    Reason.PEER_GONE: Family.MEDIA,
    Reason.KEY_EXPIRED: Family.MEDIA,
    Reason.STACK_FAILED: Family.TRANSPORT,
    Reason.INTERNAL_ERROR: Family.INTERNAL,
}


# Not 503 where the caller is to learn the reason: a proxy passes that on as a 500 of its own, which says
# nothing (RFC 3261 section 16.7, step 6).
_STATUS = {
    Reason.KMS_UNREACHABLE: 500,
    Reason.KMS_TIMEOUT: 500,
    Reason.NO_KMS: 500,
    Reason.KMS_REFUSED: 403,
    Reason.NOT_AUTHORIZED: 403,
    Reason.IDENTITY_MISMATCH: 403,
    Reason.TOO_MANY_CALLS: 503,
    Reason.INTERNAL_ERROR: 500,
    Reason.STACK_FAILED: 503,
    Reason.MESSAGE_TOO_LARGE: 513,
    Reason.BUSY: 486,
    Reason.PRECONDITION_FAILURE: 580,
    Reason.DECLINED: 603,
}


class AgentError(SipmikeyError):
    """A call cannot go on, or does not come about, for a reason that lies outside the messages' parsers.

    ``reason`` says why, ``side`` whose fault it is, ``sip_status`` which final response (or cause of a BYE)
    fits, ``detail`` what happened. It is not a ``PeerError``: the fault may well be this side's or the KMS's.
    """

    def __init__(
        self, reason: Reason, detail: str, *, side: Side = "remote", sip_status: int | None = None
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.side: Side = side
        self.sip_status = sip_status if sip_status is not None else _STATUS.get(reason, 488)
        self.detail = detail


_Telling = AgentError | PeerError | SentSdpAltered
"""Errors that know their reason and the SIP status that answers them."""


def reason_of(error: BaseException) -> Reason:
    """Return the reason of *error*; any error of another kind is ``INTERNAL_ERROR``."""
    if not isinstance(error, _Telling):
        return Reason.INTERNAL_ERROR
    try:
        return Reason(error.reason)
    except ValueError:
        return Reason.PEER_ERROR


def side_of(error: BaseException) -> Side:
    """Return where the fault of *error* lies."""
    if isinstance(error, AgentError):
        return error.side
    if not isinstance(error, PeerError):
        return "local"
    return "kms" if reason_of(error).family is Family.KMS else "remote"


def kms_fault(error: PeerError) -> AgentError:
    """Return *error*, found in an answer of a KMS, as one whose side is the KMS, not the peer of a call.

    The reason stays what it was. A call that ends for it ends with 500, or with the status of the error where
    the KMS itself was out of reach, busy, or refused.
    """
    reason = reason_of(error)
    status = status_of(error) if reason.family is Family.KMS else 500
    return AgentError(reason, str(error), side="kms", sip_status=status)


def status_of(error: BaseException) -> int:
    """Return the SIP status code that answers *error* (488, 403, 503, 513 or 500)."""
    return error.sip_status if isinstance(error, _Telling) else 500


def warning_header(reason: Reason, detail: str, *, agent: str) -> str:
    """Return the value of a Warning header (RFC 3261 section 20.43), code 399 where none says it better.

    *agent* is the host or pseudonym of the warning agent. The text is quoted, printable ASCII and at
    most 200 characters; *detail* never contains key material.
    """
    told = f"{reason}: {detail}" if detail else str(reason)
    text = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in told)
    return f'{_WARN_CODES.get(reason, 399)} {agent} "{text[:200]}"'


_WARN_CODES = {Reason.ADDRESS_FAMILY: 301}
"""Incompatible network address formats."""


_BY_STATUS = {
    401: Reason.UNAUTHORIZED,
    407: Reason.UNAUTHORIZED,
    404: Reason.NOT_FOUND,
    410: Reason.NOT_FOUND,
    408: Reason.NO_ANSWER,
    480: Reason.NO_ANSWER,
    486: Reason.BUSY,
    600: Reason.BUSY,
    603: Reason.DECLINED,
    487: Reason.CANCELLED,
    488: Reason.PEER_REFUSED_KEYING,
    606: Reason.PEER_REFUSED_KEYING,
    513: Reason.MESSAGE_TOO_LARGE,
    580: Reason.PRECONDITION_FAILURE,
}


def reason_of_status(status: int, *, warning: str | None = None) -> Reason:
    """Return the reason for a final response of the peer with *status*.

    A *warning* text of the form ``word: detail``, as ``warning_header`` writes it, names the reason
    itself when the word is one of ``Reason``.
    """
    if warning is not None and (named := _named(warning)) is not None:
        return named
    if 300 <= status < 400:
        return Reason.REDIRECTED
    return _BY_STATUS.get(status, Reason.SIP_FAILURE)


def telling(warnings: Sequence[str]) -> str | None:
    """Return the first of several *warnings* that names a reason, else the first; None for none.

    A proxy may add a warning of its own to the peer's.
    """
    return next((text for text in warnings if _named(text) is not None), next(iter(warnings), None))


def _named(warning: str) -> Reason | None:
    word = warning.partition(":")[0].strip()
    return Reason(word) if word in set(Reason) else None
