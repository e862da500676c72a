"""What came of a message."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.kms.audit import AuditEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A resolve that another KMS must answer (RFC 6043 section 10).

    ``kms``: canonical identity of that KMS, a key of `KmsSettings.peers`. ``message``: the RESOLVE_INIT to
    post to it, protected with the key shared with it. Post it with the same client identity for which
    mutual TLS is set up, then call `KeyManagementService.forwarded` with the body of the answer, or
    `KeyManagementService.not_forwarded` when there is none. ``pending`` is the service's own.
    """

    kms: str
    message: bytes
    pending: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of handling one message.

    ``status``: HTTP status that fits: 200; 400 malformed or mismatch, 401 unknown or expired key, 403
    refused, 404 another KMS is meant, 413 too large, 429 rate, 502 and 504 the other KMS failed, 503 a store
    is down. ``body``: response message, or the Error message of RFC 6043 section 5.4 where one is allowed, or
    None. ``reason``: one word of a closed set (`AuditEvent.reason`). ``event``: the audit event; messages
    that cannot be parsed, 429 and 503 are not audited. ``retry_after_s``: seconds for Retry-After, with 429
    and 503. ``forward``: set when the message must be passed on; then ``status`` (202) and ``body`` are not
    final and nothing is to be sent yet.
    """

    status: int
    reason: str
    event: AuditEvent
    body: bytes | None = None
    retry_after_s: float | None = None
    forward: Forward | None = None

    @property
    def granted(self) -> bool:
        """True where ``body`` is a response and not an error."""
        return self.status == 200
