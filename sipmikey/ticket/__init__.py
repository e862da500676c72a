"""The exchanges of MIKEY-TICKET (RFC 6043), both sides of each, without I/O.

Initiator: `TicketRequest` (or `make_ticket`) gives a `TicketGrant`, `TransferInitiator` a
`CryptoSessionBundle` per answer. Responder: `TransferResponder` and `TicketResolve` (or
`resolve_locally`). KMS: `KmsInit`, then `RequestAtKms` or `ResolveAtKms`. Either side, later:
`UpdateInitiator` and `UpdateResponder`. Clock, randomness and limits come in as an `Environment`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmikey.on_use import on_use

if TYPE_CHECKING:
    from sipmikey.ticket.base_ticket import TicketContents, open_ticket, seal_ticket, ticket_id, tpk_id
    from sipmikey.ticket.bundle import CryptoSession, CryptoSessionBundle
    from sipmikey.ticket.credentials import (
        CertificateCredential,
        ClientCredential,
        KmsKeyPair,
        PreSharedKey,
        TicketProtectionKey,
    )
    from sipmikey.ticket.environment import Environment
    from sipmikey.ticket.error_message import ErrorMessage, build_error
    from sipmikey.ticket.identity import canonical, matches, same_identity
    from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST, TICKET_RESOLVE
    from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit, KmsInit
    from sipmikey.ticket.policy import FULL_MODE, RequestedKey, TicketPolicy
    from sipmikey.ticket.replay import ReplayCache, ReplayKey
    from sipmikey.ticket.request import RequestAtKms, TicketGrant, TicketRequest, make_ticket
    from sipmikey.ticket.resolve import ResolveAtKms, ResolvedTicket, TicketResolve, resolve_locally
    from sipmikey.ticket.transfer import TransferInitiator, TransferResponder
    from sipmikey.ticket.update import UpdateInitiator, UpdateResponder, is_update

__all__ = [
    "FULL_MODE",
    "TICKET_REQUEST",
    "TICKET_RESOLVE",
    "AuthenticatedInit",
    "CertificateCredential",
    "ClientCredential",
    "CryptoSession",
    "CryptoSessionBundle",
    "Environment",
    "ErrorMessage",
    "KmsInit",
    "KmsKeyPair",
    "PreSharedKey",
    "ReplayCache",
    "ReplayKey",
    "RequestAtKms",
    "RequestedKey",
    "ResolveAtKms",
    "ResolvedTicket",
    "TicketContents",
    "TicketGrant",
    "TicketPolicy",
    "TicketProtectionKey",
    "TicketRequest",
    "TicketResolve",
    "TransferInitiator",
    "TransferResponder",
    "UpdateInitiator",
    "UpdateResponder",
    "build_error",
    "canonical",
    "is_update",
    "make_ticket",
    "matches",
    "open_ticket",
    "resolve_locally",
    "same_identity",
    "seal_ticket",
    "ticket_id",
    "tpk_id",
]

# Imported when asked for: what a program does not use costs it no time at its start.
__getattr__ = on_use(
    __name__,
    {
        "TicketContents": "sipmikey.ticket.base_ticket",
        "open_ticket": "sipmikey.ticket.base_ticket",
        "seal_ticket": "sipmikey.ticket.base_ticket",
        "ticket_id": "sipmikey.ticket.base_ticket",
        "tpk_id": "sipmikey.ticket.base_ticket",
        "CryptoSession": "sipmikey.ticket.bundle",
        "CryptoSessionBundle": "sipmikey.ticket.bundle",
        "CertificateCredential": "sipmikey.ticket.credentials",
        "ClientCredential": "sipmikey.ticket.credentials",
        "KmsKeyPair": "sipmikey.ticket.credentials",
        "PreSharedKey": "sipmikey.ticket.credentials",
        "TicketProtectionKey": "sipmikey.ticket.credentials",
        "Environment": "sipmikey.ticket.environment",
        "ErrorMessage": "sipmikey.ticket.error_message",
        "build_error": "sipmikey.ticket.error_message",
        "canonical": "sipmikey.ticket.identity",
        "matches": "sipmikey.ticket.identity",
        "same_identity": "sipmikey.ticket.identity",
        "TICKET_REQUEST": "sipmikey.ticket.kms_exchange.kind",
        "TICKET_RESOLVE": "sipmikey.ticket.kms_exchange.kind",
        "AuthenticatedInit": "sipmikey.ticket.kms_exchange.kms",
        "KmsInit": "sipmikey.ticket.kms_exchange.kms",
        "FULL_MODE": "sipmikey.ticket.policy",
        "RequestedKey": "sipmikey.ticket.policy",
        "TicketPolicy": "sipmikey.ticket.policy",
        "ReplayCache": "sipmikey.ticket.replay",
        "ReplayKey": "sipmikey.ticket.replay",
        "RequestAtKms": "sipmikey.ticket.request",
        "TicketGrant": "sipmikey.ticket.request",
        "TicketRequest": "sipmikey.ticket.request",
        "make_ticket": "sipmikey.ticket.request",
        "ResolveAtKms": "sipmikey.ticket.resolve",
        "ResolvedTicket": "sipmikey.ticket.resolve",
        "TicketResolve": "sipmikey.ticket.resolve",
        "resolve_locally": "sipmikey.ticket.resolve",
        "TransferInitiator": "sipmikey.ticket.transfer",
        "TransferResponder": "sipmikey.ticket.transfer",
        "UpdateInitiator": "sipmikey.ticket.update",
        "UpdateResponder": "sipmikey.ticket.update",
        "is_update": "sipmikey.ticket.update",
    },
)
