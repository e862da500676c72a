"""The exchanges of MIKEY-TICKET (RFC 6043), both sides of each, without I/O.

Initiator: `TicketRequest` (or `make_ticket`) gives a `TicketGrant`, `TransferInitiator` a
`CryptoSessionBundle` per answer. Responder: `TransferResponder` and `TicketResolve` (or
`resolve_locally`). KMS: `KmsInit`, then `RequestAtKms` or `ResolveAtKms`. Either side, later:
`UpdateInitiator` and `UpdateResponder`. Clock, randomness and limits come in as an `Environment`.
"""

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
