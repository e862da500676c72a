"""What can go wrong, in two families: the caller's misuse and the peer's fault."""

from __future__ import annotations

from typing import ClassVar

from sipmikey.mikey.registry import ErrorNo


class SipmikeyError(Exception):
    """Base of every error this package raises on purpose."""


class LocalError(SipmikeyError, ValueError):
    """The caller asked for something the protocol cannot do (a bug or a wrong setting on this side)."""


class PeerError(SipmikeyError):
    """A message of the other side cannot be accepted.

    Class attributes say what the failure is to the outside:
    ``reason`` one word of a closed set, ``error_no`` the Error number of RFC 3830 section 6.12 and
    RFC 6043 section 6.9 (None where none fits), ``sip_status`` and ``http_status`` the status codes to
    answer with.

    ``detail`` says which field and why, and never contains key material; ``field`` names the field,
    ``offset`` is its first octet in the message, ``section`` the rule that was broken.
    """

    reason: ClassVar[str] = "peer-error"
    error_no: ClassVar[ErrorNo | None] = ErrorNo.UNSPECIFIED
    sip_status: ClassVar[int] = 488
    http_status: ClassVar[int] = 400

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        offset: int | None = None,
        section: str | None = None,
    ) -> None:
        self.detail = detail
        self.field = field
        self.offset = offset
        self.section = section
        super().__init__(detail)

    def __str__(self) -> str:
        where = "" if self.field is None else f"{self.field}: "
        place = "" if self.offset is None else f" (octet {self.offset})"
        rule = "" if self.section is None else f" [{self.section}]"
        return f"{where}{self.detail}{place}{rule}"


class MalformedMessage(PeerError):
    """The octets do not follow the encoding: truncated, overrun, trailing, or a forbidden value."""

    reason = "malformed-message"


class LimitExceeded(PeerError):
    """The message is larger or deeper than this side is willing to process."""

    reason = "limit-exceeded"
    http_status = 413


class UnsupportedDataType(PeerError):
    """The HDR data type is unknown or does not belong here."""

    reason = "unsupported-data-type"
    error_no = ErrorNo.INVALID_DT


class UnexpectedMessage(PeerError):
    """A well-formed message that does not fit the exchange it arrived in."""

    reason = "unexpected-message"


class AuthenticationFailure(PeerError):
    """A MAC or signature does not verify."""

    reason = "auth-failure"
    error_no = ErrorNo.AUTH_FAILURE
    http_status = 403


class UnknownKey(PeerError):
    """No pre-shared key or certificate is known for the identity or key identifier given."""

    reason = "unknown-key"
    error_no = ErrorNo.AUTH_FAILURE
    http_status = 401


class InvalidTimestamp(PeerError):
    """The timestamp is outside the allowed clock skew or of a type that cannot be used."""

    reason = "invalid-timestamp"
    error_no = ErrorNo.INVALID_TS


class ReplayedMessage(PeerError):
    """The message was processed before (RFC 3830 section 5.4)."""

    reason = "replayed-message"
    error_no = ErrorNo.INVALID_TS


class UnsupportedPrf(PeerError):
    """The PRF function is unknown or not accepted."""

    reason = "unsupported-prf"
    error_no = ErrorNo.INVALID_PRF


class UnsupportedMac(PeerError):
    """The MAC algorithm is unknown or not accepted."""

    reason = "unsupported-mac"
    error_no = ErrorNo.INVALID_MAC


class UnsupportedEncryption(PeerError):
    """The encryption algorithm is unknown or not accepted."""

    reason = "unsupported-encryption"
    error_no = ErrorNo.INVALID_EA


class UnsupportedHash(PeerError):
    """The hash function is unknown or not accepted."""

    reason = "unsupported-hash"
    error_no = ErrorNo.INVALID_HA


class InvalidIdentity(PeerError):
    """An identity is missing, malformed or not the one that belongs here."""

    reason = "invalid-identity"
    error_no = ErrorNo.INVALID_ID
    http_status = 403


class InvalidCertificate(PeerError):
    """A certificate or its chain cannot be accepted."""

    reason = "invalid-certificate"
    error_no = ErrorNo.INVALID_CERT
    http_status = 403


class UnsupportedSecurityPolicy(PeerError):
    """The security protocol of an SP payload is not supported."""

    reason = "unsupported-security-policy"
    error_no = ErrorNo.INVALID_SP


class InvalidSecurityPolicy(PeerError):
    """The parameters of an SP payload are not supported or contradict one another."""

    reason = "invalid-security-policy"
    error_no = ErrorNo.INVALID_SPPAR


class InvalidTicket(PeerError):
    """The ticket type is not supported, or the ticket does not open."""

    reason = "invalid-ticket"
    error_no = ErrorNo.INVALID_TICKET


class TicketNotValid(PeerError):
    """The ticket's validity period has ended or has not begun."""

    reason = "ticket-expired"
    error_no = ErrorNo.INVALID_TICKET
    http_status = 403


class InvalidTicketPolicy(PeerError):
    """The parameters of a Ticket Policy are forbidden or not supported."""

    reason = "invalid-ticket-policy"
    error_no = ErrorNo.INVALID_TPPAR


class NotAuthorized(PeerError):
    """The peer is known, and policy says no."""

    reason = "not-authorized"
    error_no = ErrorNo.INVALID_ID
    sip_status = 403
    http_status = 403


class PeerReportedError(PeerError):
    """The peer answered with a MIKEY Error message (RFC 6043 section 5.4).

    ``error_numbers`` are those it gave; ``authenticated`` tells whether its MAC verified.
    """

    reason = "peer-reported-error"

    def __init__(self, detail: str, *, error_numbers: tuple[int, ...], authenticated: bool) -> None:
        super().__init__(detail)
        self.error_numbers = error_numbers
        self.authenticated = authenticated
