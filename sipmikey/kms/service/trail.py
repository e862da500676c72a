"""What is known of a message as its handling goes on; in the end an audit event."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit


class RateLimited(SipmikeyError):
    """The subscriber has sent more than it may."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"more messages than the subscriber may send; wait {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


@dataclass(slots=True, kw_only=True)
class Trail:
    """Filled in by each step; fields as in `AuditEvent`. ``authenticated``: the message, once it verified."""

    source: str
    exchange: Exchange = Exchange.UNKNOWN
    subscriber: str = ""
    identity: str = ""
    peers: tuple[str, ...] = ()
    ticket: str = ""
    credential: str = ""
    rule: str = ""
    kms: str = ""
    authenticated: AuthenticatedInit | None = None

    def event(self, *, time_ns: int, decision: Decision, reason: str, detail: str = "") -> AuditEvent:
        """Return the audit event of a decision."""
        return AuditEvent(
            time_ns=time_ns,
            exchange=self.exchange,
            decision=decision,
            reason=reason,
            subscriber=self.subscriber,
            identity=self.identity,
            peers=self.peers,
            ticket=self.ticket,
            credential=self.credential,
            rule=self.rule,
            kms=self.kms,
            source=self.source,
            detail=detail,
        )
