"""A SIP user agent on pjsua2 whose calls are keyed with MIKEY-TICKET. asyncio on the outside."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sipmikey.agent.config import (
    MAX_CALLS,
    AgentConfig,
    Audio,
    DigestCredentials,
    KeyManagement,
    Sip,
    Timeouts,
    TlsFiles,
    Transport,
)
from sipmikey.call.policy import Alternative, CallPolicy, Fallback, Retarget, SecurityMode
from sipmikey.call.reasons import Family, Reason

if TYPE_CHECKING:
    from sipmikey.agent.agent import Agent
    from sipmikey.agent.call import Call, CallFailed, IncomingCall
    from sipmikey.agent.conference import Conference
    from sipmikey.agent.registration import RegistrationError
    from sipmikey.agent.tickets.file import TicketFile
    from sipmikey.agent.tickets.kms import KmsClient
    from sipmikey.call.events import Event, MediaProtection, Security, document
    from sipmikey.call.inviting.consent import Decide, Question

__all__ = [
    "MAX_CALLS",
    "Agent",
    "AgentConfig",
    "Alternative",
    "Audio",
    "Call",
    "CallFailed",
    "CallPolicy",
    "Conference",
    "Decide",
    "DigestCredentials",
    "Event",
    "Fallback",
    "Family",
    "IncomingCall",
    "KeyManagement",
    "KmsClient",
    "MediaProtection",
    "Question",
    "Reason",
    "RegistrationError",
    "Retarget",
    "Security",
    "SecurityMode",
    "Sip",
    "TicketFile",
    "Timeouts",
    "TlsFiles",
    "Transport",
    "document",
]

_HOMES = {
    "Agent": "sipmikey.agent.agent",
    "Call": "sipmikey.agent.call",
    "CallFailed": "sipmikey.agent.call",
    "Conference": "sipmikey.agent.conference",
    "IncomingCall": "sipmikey.agent.call",
    "RegistrationError": "sipmikey.agent.registration",
    "KmsClient": "sipmikey.agent.tickets.kms",
    "TicketFile": "sipmikey.agent.tickets.file",
    "Decide": "sipmikey.call.inviting.consent",
    "Question": "sipmikey.call.inviting.consent",
    "Event": "sipmikey.call.events",
    "MediaProtection": "sipmikey.call.events",
    "Security": "sipmikey.call.events",
    "document": "sipmikey.call.events",
}
"""Imported on first use: the process of the SIP stack needs none of it, and starts again when it dies.
"""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
