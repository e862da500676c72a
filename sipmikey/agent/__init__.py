"""A SIP user agent on pjsua2 whose calls are keyed with MIKEY-TICKET. asyncio on the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmikey.on_use import on_use

if TYPE_CHECKING:
    from sipmikey.agent.agent import Agent
    from sipmikey.agent.call import Call, CallFailed, IncomingCall
    from sipmikey.agent.conference import Conference
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
    from sipmikey.agent.registration import RegistrationError
    from sipmikey.agent.tickets.file import TicketFile
    from sipmikey.agent.tickets.kms import KmsClient
    from sipmikey.call.events import Event, MediaProtection, Security, document
    from sipmikey.call.inviting.consent import Decide, Question
    from sipmikey.call.policy import CallPolicy, Fallback, Retarget, SecurityMode
    from sipmikey.call.reasons import Family, Reason

__all__ = [
    "MAX_CALLS",
    "Agent",
    "AgentConfig",
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

__getattr__ = on_use(
    __name__,
    {
        "Agent": "sipmikey.agent.agent",
        "AgentConfig": "sipmikey.agent.config",
        "Audio": "sipmikey.agent.config",
        "Call": "sipmikey.agent.call",
        "CallFailed": "sipmikey.agent.call",
        "CallPolicy": "sipmikey.call.policy",
        "Conference": "sipmikey.agent.conference",
        "Decide": "sipmikey.call.inviting.consent",
        "DigestCredentials": "sipmikey.agent.config",
        "Event": "sipmikey.call.events",
        "Fallback": "sipmikey.call.policy",
        "Family": "sipmikey.call.reasons",
        "IncomingCall": "sipmikey.agent.call",
        "KeyManagement": "sipmikey.agent.config",
        "KmsClient": "sipmikey.agent.tickets.kms",
        "MAX_CALLS": "sipmikey.agent.config",
        "MediaProtection": "sipmikey.call.events",
        "Question": "sipmikey.call.inviting.consent",
        "Reason": "sipmikey.call.reasons",
        "RegistrationError": "sipmikey.agent.registration",
        "Retarget": "sipmikey.call.policy",
        "Security": "sipmikey.call.events",
        "SecurityMode": "sipmikey.call.policy",
        "Sip": "sipmikey.agent.config",
        "TicketFile": "sipmikey.agent.tickets.file",
        "Timeouts": "sipmikey.agent.config",
        "TlsFiles": "sipmikey.agent.config",
        "Transport": "sipmikey.agent.config",
        "document": "sipmikey.call.events",
    },
)
