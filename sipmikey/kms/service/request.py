"""Ticket Request at the KMS, once the sender is known (RFC 6043 section 4.2.1.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sipmikey.kms.policy.rules import MAX_RESPONDERS, Party, Policy
from sipmikey.kms.service.authenticate import NotOwner, Sender, canonical_identity
from sipmikey.kms.service.lookups import Lookups, StoreUnavailable
from sipmikey.kms.service.parties import party_of
from sipmikey.kms.service.settings import KmsSettings
from sipmikey.kms.service.trail import Trail
from sipmikey.kms.tpk import TpkRecord
from sipmikey.mikey.errors import InvalidTicketPolicy, NotAuthorized
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import RequestAtKms

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, and what the audit log says about it."""

    body: bytes
    detail: str = ""


async def answer_request(
    env: Environment, settings: KmsSettings, policy: Policy, lookups: Lookups, sender: Sender, trail: Trail
) -> Answer:
    """Grant a ticket and return REQUEST_RESP; raise a `PeerError` where it is refused."""
    if sender.principal.is_kms:
        raise NotAuthorized("another KMS resolves tickets here and asks for none")
    request = RequestAtKms(env, sender.authenticated)
    desired = _normal(request.policy, settings, sender)
    trail.peers = desired.responders
    now_s = env.now_ns() // _NS
    targets = await _targets(policy, lookups, desired.responders)
    asker = Party(identities=(sender.identity,), groups=sender.principal.groups, subscriber=True)
    grant = policy.decide_request(asker, targets, desired, now_s=now_s)
    trail.rule = grant.rule
    granted = grant.policy
    granted.check_validity_order()
    tpk = await _sealing_key(lookups, granted, grant.for_responder_key, now_s)
    response, made = request.grant(granted, tpk.protection, kms=settings.identity)
    trail.ticket = made.ticket_id
    return Answer(body=response, detail="; ".join(grant.changes))


def _normal(desired: TicketPolicy, settings: KmsSettings, sender: Sender) -> TicketPolicy:
    """Return the desired policy with canonical identities, those that were left out filled in.

    Raises `NotOwner` where the ticket is asked in another's name.
    """
    desired.check_type()
    initiator = sender.identity
    if desired.initiator is not None:
        initiator = canonical_identity(desired.initiator, "TP IDRi")
        if not sender.principal.owns(initiator):
            raise NotOwner(f"{sender.principal.name!r} does not own {initiator}", field="TP IDRi")
    kms = settings.identity
    if desired.kms is not None and not settings.is_ours(kms := canonical_identity(desired.kms, "TP IDRkms")):
        raise InvalidTicketPolicy(f"this KMS makes no tickets for {desired.kms}", field="TP IDRkms")
    applications = tuple([canonical_identity(name, "IDRapp") for name in desired.applications])
    responders = tuple(dict.fromkeys([canonical_identity(name, "TP IDRr") for name in desired.responders]))
    normal = (kms, initiator, applications, responders)
    if normal == (desired.kms, desired.initiator, desired.applications, desired.responders):
        return desired
    return replace(desired, kms=kms, initiator=initiator, applications=applications, responders=responders)


async def _targets(policy: Policy, lookups: Lookups, responders: tuple[str, ...]) -> list[Party]:
    """Return the responders asked for as parties, looked up where a rule asks for it."""
    if len(responders) > MAX_RESPONDERS:
        raise NotAuthorized(f"{len(responders)} responders, {MAX_RESPONDERS} are allowed", field="TP IDRr")
    look_up = policy.looks_up_targets
    return [await party_of(lookups.credentials, uri, look_up=look_up) for uri in responders]


async def _sealing_key(lookups: Lookups, granted: TicketPolicy, for_responder: bool, now_s: int) -> TpkRecord:
    assert granted.valid_until is not None  # the limits of every rule set an end
    until_s = -(-granted.valid_until.unix_ns() // _NS)
    owner = None
    if for_responder:
        if len(granted.responders) != 1:
            raise InvalidTicketPolicy("a ticket its responder opens itself has one responder", field="IDRr")
        principal = await lookups.credentials.principal_of(granted.responders[0])
        if principal is None:
            raise NotAuthorized(f"{granted.responders[0]} is not a subscriber with a shared ticket key")
        owner = principal.name
    tpk = await lookups.ticket_keys.sealing_key(owner=owner, now_s=now_s, until_s=until_s)
    if tpk is None:
        if owner is not None:
            raise NotAuthorized(f"{granted.responders[0]} shares no ticket protection key with this KMS")
        raise StoreUnavailable("there is no ticket protection key")
    return tpk
