"""What a receiver judges of a message beyond octets, MAC and keys: parties, validity, security policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sipmikey.mikey.errors import (
    InvalidIdentity,
    InvalidTicketPolicy,
    NotAuthorized,
    PeerError,
    UnsupportedSecurityPolicy,
)
from sipmikey.mikey.header import GenericIdEntry
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import IdRole, ProtType
from sipmikey.mikey.security_policy import SP, SrtpPolicy
from sipmikey.ticket.bundle import CryptoSessionBundle
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import identity_text, same_identity
from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import RequestAtKms, TicketGrant, check_acceptable, policy_changes
from sipmikey.ticket.transfer import TransferResponder


def check_kms(message: Message, kms: str) -> None:
    """Raise `InvalidIdentity` where IDRkms names another KMS than the one that is asked or answers."""
    idr = message.find(IDR, IdRole.KMS)
    if idr is not None and not same_identity(identity_text(idr), kms):
        raise InvalidIdentity(f"names {identity_text(idr)}, the KMS is {kms}", field="IDRkms")


def check_request(env: Environment, authenticated: AuthenticatedInit, *, kms: str) -> None:
    """Judge a REQUEST_INIT as the KMS does (RFC 6043 section 4.2.1.3)."""
    check_kms(authenticated.init.message, kms)
    desired = RequestAtKms(env, authenticated).policy
    desired.check_type()
    _check_ticket_kms(desired, kms)
    owner = desired.initiator
    if owner is not None and not same_identity(owner, authenticated.identity):
        raise NotAuthorized(f"{authenticated.identity} asks for a ticket of {owner}", field="TP IDRi")
    _check_not_over(env, desired)


def check_grant(
    env: Environment, response: Message, desired: TicketPolicy, grant: TicketGrant, *, kms: str
) -> None:
    """Judge what the KMS granted as the Initiator does (RFC 6043 section 4.2.1.6).

    Where K says that the KMS changed the policy, other flags are taken: which ones an Initiator needs is its
    own affair. Other parties, another suite and a longer life are not.
    """
    check_kms(response, kms)
    _check_ticket_kms(grant.policy, kms)
    if not grant.policy.flags.changed and (found := policy_changes(desired, grant.policy)):
        raise InvalidTicketPolicy(f"K is 0, and the KMS changed {', '.join(found)}", field="TICKET flags")
    check_acceptable(replace(desired, flags=grant.policy.flags), grant.policy)
    _check_not_over(env, grant.policy)


def check_resolve(env: Environment, message: Message, ticket: TicketPolicy, *, kms: str, asker: str) -> None:
    """Judge a RESOLVE_INIT as the KMS does once the ticket has been opened (RFC 6043 section 4.2.3.4)."""
    check_kms(message, kms)
    _check_ticket_kms(ticket, kms)
    if ticket.initiator is None:
        raise InvalidIdentity("the ticket names no Initiator", field="TICKET IDRi")
    ticket.check_validity(env.now_ns())
    check_responder(ticket, asker)


def check_responder(ticket: TicketPolicy, *identities: str) -> None:
    """Raise `NotAuthorized` unless the ticket's IDRr allow one of *identities* (RFC 6043 section 6.10)."""
    if not any(ticket.allows_responder(identity) for identity in identities):
        raise NotAuthorized(f"the ticket is not for {' or '.join(identities)}", field="TICKET IDRr")


def check_parties(transfer: TransferResponder, *, initiator: str, responder: str, kms: str) -> None:
    """Judge whom a verified TRANSFER_INIT is from, for and by, as the call around it does.

    The Initiator is the caller (RFC 6043 section 4.2.2.2), the ticket is for whom the caller called, and the
    KMS is one that is trusted.
    """
    if not same_identity(transfer.initiator, initiator):
        raise InvalidIdentity(f"names {transfer.initiator}, the caller is {initiator}", field="IDRi")
    if not same_identity(transfer.responder, responder):
        raise InvalidIdentity(f"names {transfer.responder}, called is {responder}", field="IDRr")
    check_responder(transfer.policy, responder)
    _check_ticket_kms(transfer.policy, kms)


def check_transfer(responder: TransferResponder) -> CryptoSessionBundle | None:
    """Judge a verified TRANSFER_INIT as the Responder does (RFC 6043 section 4.2.2.2).

    Return the bundle of a one-way transfer (F is 0), whose TRANSFER_INIT describes each session completely.
    """
    check_sessions(responder.crypto_sessions, responder.policies)
    return None if responder.policy.flags.response_sent else responder.accept()


def check_sessions(entries: Iterable[GenericIdEntry], policies: Mapping[int, SP]) -> None:
    """Raise unless every crypto session that names security policies names one that SRTP defines."""
    for entry in entries:
        if entry.prot_type != ProtType.SRTP:
            raise UnsupportedSecurityPolicy(
                f"Prot type {entry.prot_type} is not SRTP", field=f"CS ID {entry.cs_id}"
            )
        refusals = [error for number in entry.policies if (error := _refusal(policies[number])) is not None]
        if entry.policies and len(refusals) == len(entry.policies):
            raise refusals[0]


def check_answered(offered: Message, answer: CryptoSessionBundle) -> None:
    """Judge the crypto sessions of a TRANSFER_RESP as the Initiator does (RFC 6043 section 4.2.2.4).

    An offered crypto session keeps its protocol, and its policy is one of those it was offered with.
    """
    asked = {entry.cs_id: entry for entry in offered.header.generic_ids()}
    policies = {sp.policy_no: sp for sp in offered.all(SP)}
    for entry in answer.entries:
        before = asked.get(entry.cs_id)
        if before is None or not before.policies:
            continue
        chosen = SrtpPolicy.from_payload(answer.policies[entry.policies[0]])
        offers = [policies[number] for number in before.policies if _refusal(policies[number]) is None]
        if chosen not in [SrtpPolicy.from_payload(sp) for sp in offers]:
            raise UnsupportedSecurityPolicy(
                "the policy chosen is not among those offered", field=f"CS ID {entry.cs_id}"
            )
        if before.spi and before.spi != entry.spi:
            raise UnsupportedSecurityPolicy("the SPI is not the one offered", field=f"CS ID {entry.cs_id}")


def _refusal(sp: SP) -> PeerError | None:
    try:
        SrtpPolicy.from_payload(sp)
    except PeerError as error:
        return error
    return None


def _check_ticket_kms(policy: TicketPolicy, kms: str) -> None:
    if policy.kms is not None and not same_identity(policy.kms, kms):
        raise InvalidIdentity(f"the ticket is of {policy.kms}, the KMS is {kms}", field="TICKET IDRkms")


def _check_not_over(env: Environment, policy: TicketPolicy) -> None:
    """Raise where the validity has ended or cannot begin; it may begin later than now."""
    policy.check_validity_order()
    if policy.valid_until is not None and policy.valid_until.unix_ns() <= env.now_ns():
        raise InvalidTicketPolicy("the validity has ended", field="TRe", section="RFC 6043 section 6.10")
