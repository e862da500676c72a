"""Why a KMS gave no usable answer."""

from __future__ import annotations

from typing import ClassVar

from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.registry import ErrorNo


class KmsFailure(PeerError):
    """The KMS gave no usable answer; the subclass says how.

    ``ask_again``: the KMS may have taken the message before the connection broke, and would refuse it as a
    replay now: a fresh message may do better.
    """

    ask_again: bool = False

    reason: ClassVar[str] = "kms-failure"
    error_no: ClassVar[ErrorNo | None] = None
    sip_status: ClassVar[int] = 503
    http_status: ClassVar[int] = 503


class KmsUnreachable(KmsFailure):
    """No connection, or it broke before an answer: name, route, port, TLS, certificate."""

    reason = "kms-unreachable"


class UntrustedCertificate(KmsUnreachable):
    """The certificate of the server does not lead to a CA that is trusted here, or is for another name."""


class KmsTimeout(KmsFailure):
    """The KMS did not answer within the time allowed."""

    reason = "kms-timeout"


class KmsBusy(KmsFailure):
    """The KMS answered 429 or 5xx. ``retry_after_s`` is the wait it asked for in seconds, if any."""

    reason = "kms-busy"

    def __init__(self, detail: str, *, status: int, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


class KmsBadAnswer(KmsFailure):
    """The answer is not one a KMS gives: wrong status, media type, size or encoding."""

    reason = "kms-bad-answer"


class KmsRefused(KmsFailure):
    """The KMS refused with a 4xx.

    ``status`` is the HTTP status, ``kms_reason`` the word the KMS gave (empty if none), ``error_message``
    the MIKEY Error message it sent (RFC 6043 section 5.4), whose MAC is the caller's to verify.
    """

    reason = "kms-refused"
    sip_status = 403
    http_status = 403

    def __init__(self, detail: str, *, status: int, kms_reason: str, error_message: bytes | None) -> None:
        super().__init__(detail)
        self.status = status
        self.kms_reason = kms_reason
        self.error_message = error_message


def word_of(error: PeerError) -> str:
    """Return why in one word: the KMS's own word where it refused."""
    return (isinstance(error, KmsRefused) and error.kms_reason) or error.reason
