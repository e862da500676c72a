"""A SIP user agent on pjsua2 whose calls are keyed with MIKEY-TICKET. asyncio on the outside."""

from sipmikey.agent.agent import Agent
from sipmikey.agent.call import Call, CallFailed, IncomingCall
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
from sipmikey.agent.tickets.kms import KmsClient
from sipmikey.call.consent import Decide, Question
from sipmikey.call.events import Event, MediaProtection, Security, document
from sipmikey.call.policy import Alternative, CallPolicy, Fallback, Retarget, SecurityMode
from sipmikey.call.reasons import Family, Reason

__all__ = [
    "MAX_CALLS",
    "Agent",
    "AgentConfig",
    "Alternative",
    "Audio",
    "Call",
    "CallFailed",
    "CallPolicy",
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
    "Timeouts",
    "TlsFiles",
    "Transport",
    "document",
]
