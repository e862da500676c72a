"""The key management service without I/O: message bytes in, outcome out.

`KeyManagementService.handle` is a coroutine that awaits only the lookups given to it. Drive it from any event
loop, or with `run` when no lookup ever waits.
"""

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.service.lookups import (
    Admission,
    AuditLog,
    CredentialSource,
    Lookups,
    ReplayCache,
    StoreUnavailable,
    TicketKeys,
)
from sipmikey.kms.service.outcome import Forward, Outcome
from sipmikey.kms.service.parties import party_of
from sipmikey.kms.service.service import KeyManagementService, run
from sipmikey.kms.service.settings import KmsSettings, PeerKms

__all__ = [
    "Admission",
    "AuditEvent",
    "AuditLog",
    "CredentialSource",
    "Decision",
    "Exchange",
    "Forward",
    "KeyManagementService",
    "KmsSettings",
    "Lookups",
    "Outcome",
    "PeerKms",
    "ReplayCache",
    "StoreUnavailable",
    "TicketKeys",
    "party_of",
    "run",
]
