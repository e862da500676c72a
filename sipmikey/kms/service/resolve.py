"""Ticket Resolve at the KMS, once the sender is known (RFC 6043 section 4.2.3.4)."""

from __future__ import annotations

from sipmikey.kms.policy.rules import Policy
from sipmikey.kms.service.authenticate import Sender, canonical_identity
from sipmikey.kms.service.lookups import Lookups
from sipmikey.kms.service.parties import party_of
from sipmikey.kms.service.request import Answer
from sipmikey.kms.service.settings import KmsSettings
from sipmikey.kms.service.trail import Trail
from sipmikey.kms.tpk import TpkRecord
from sipmikey.mikey.errors import AuthenticationFailure, InvalidTicket, NotAuthorized, PeerError
from sipmikey.ticket.base_ticket import TicketContents, tpk_id
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import matches
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.resolve import ResolveAtKms

_NS = 1_000_000_000

MAX_RESPONDERS = 64
"""Responders of a ticket looked at; the KMS itself makes none with more."""


async def answer_resolve(
    env: Environment,
    settings: KmsSettings,
    policy: Policy,
    lookups: Lookups,
    sender: Sender,
    resolve: ResolveAtKms,
    trail: Trail,
) -> Answer:
    """Resolve a ticket and return RESOLVE_RESP; raise a `PeerError` where it is refused.

    The ticket is opened first: before that nothing in it is true.
    """
    tpk = await _key_of(env, lookups, resolve)
    contents = _opened(resolve, tpk)
    initiator = _checked_initiator(resolve.policy, tpk, sender)
    answerer = await answering_identity(lookups, sender, resolve.policy)
    trail.identity = answerer
    trail.rule = policy.decide_resolve(
        await party_of(lookups.credentials, initiator, look_up=policy.looks_up_sources),
        await party_of(lookups.credentials, answerer, look_up=policy.looks_up_targets),
        resolve.policy,
        contents.keys,
        now_s=env.now_ns() // _NS,
    )
    return Answer(body=resolve.respond(contents, answerer=answerer, kms=settings.identity))


async def _key_of(env: Environment, lookups: Lookups, resolve: ResolveAtKms) -> TpkRecord:
    """Return the TPK of the ticket: the one it names, or else the one its initiator shares with us."""
    key_id = tpk_id(resolve.ticket, env.limits)
    now_s = env.now_ns() // _NS
    if key_id is not None:
        found = await lookups.ticket_keys.by_id(key_id)
    else:
        initiator = canonical_identity(resolve.policy.initiator or "", "TICKET IDRi")
        owner = await lookups.credentials.principal_of(initiator)
        found = (
            None
            if owner is None
            else await lookups.ticket_keys.sealing_key(owner=owner.name, now_s=now_s, until_s=now_s)
        )
    if found is None:
        raise InvalidTicket("the ticket protection key is not known, or destroyed", field="TICKET IDRpsk")
    return found


def _opened(resolve: ResolveAtKms, tpk: TpkRecord) -> TicketContents:
    try:
        return resolve.open(tpk.protection)
    except AuthenticationFailure as error:
        raise InvalidTicket(str(error), field="TICKET") from None


def _checked_initiator(ticket: TicketPolicy, tpk: TpkRecord, sender: Sender) -> str:
    """Return the initiator of a ticket that opened, if the holder of the TPK may have made it.

    A shared TPK proves only that the KMS or its owner made the ticket. The owner may make tickets in its own
    name (D = 0, mode 3); a ticket sealed for it by the KMS (D = 1, mode 2) is resolved for it alone.
    """
    if ticket.initiator is None:
        raise InvalidTicket("names no initiator", field="TICKET IDRi")
    initiator = canonical_identity(ticket.initiator, "TICKET IDRi")
    if tpk.owner is None:
        if not ticket.flags.kms_generated:
            raise InvalidTicket("D is 0 in a ticket sealed by the KMS", field="TICKET flags")
        return initiator
    if ticket.flags.kms_generated:
        if sender.principal.name != tpk.owner:
            raise NotAuthorized("the ticket is sealed for another subscriber", field="TICKET")
        return initiator
    if initiator not in tpk.owner_identities:
        raise NotAuthorized(f"{tpk.owner!r} does not own the initiator {initiator}", field="TICKET IDRi")
    return initiator


async def answering_identity(lookups: Lookups, sender: Sender, ticket: TicketPolicy) -> str:
    """Return the identity under which the sender may answer: named in the ticket, by wildcard or as a member.

    The identity claimed comes first, then the sender's others (RFC 6043 section 4.2.3.5). Another KMS also
    speaks for the groups of its own domain. Raises `NotAuthorized` when the ticket is not for the sender.
    """
    names = tuple(_canonical_or_same(name) for name in ticket.responders[:MAX_RESPONDERS])
    principal = sender.principal
    others = () if principal.is_kms else tuple(uri for uri in principal.identities if uri != sender.identity)
    for identity in (sender.identity, *others):
        if any(matches(name, identity) for name in names):
            return identity
    for identity in (sender.identity, *others):
        if not set(names).isdisjoint(await lookups.credentials.groups_of(identity)):
            return identity
    if principal.is_kms and any(principal.owns(name) for name in names):
        return sender.identity
    raise NotAuthorized(
        f"the ticket is not for {sender.identity}", field="IDRr", section="RFC 6043 section 4.2.3.4"
    )


async def identity_passed_on(lookups: Lookups, sender: Sender, ticket: TicketPolicy, kms: str) -> str:
    """Return the identity for which another KMS, which made the ticket, is asked to resolve it.

    Who is in the groups of its domain that KMS alone knows: whether the sender is, it judges. Raises
    `NotAuthorized` as `answering_identity`.
    """
    names = ticket.responders[:MAX_RESPONDERS]
    if names and all(_host(_canonical_or_same(name)) == _host(kms) for name in names):
        return sender.identity
    return await answering_identity(lookups, sender, ticket)


def _host(identity: str) -> str:
    return identity.partition("@")[2]


def _canonical_or_same(name: str) -> str:
    try:
        return canonical_identity(name, "TICKET IDRr")
    except PeerError:
        return name
