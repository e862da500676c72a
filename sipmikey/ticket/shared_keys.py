"""Ticket protection keys that a Responder or an Initiator shares with another party (RFC 6043 section 4.1.1).

The one rule: a ticket is opened with a key that its maker shares with us. For a ticket of the KMS (D = 1)
that is a key shared with that KMS, for one of the Initiator (D = 0) a key shared with that Initiator. Without
this rule a peer that shares a key could call in the name of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.mikey.errors import AuthenticationFailure, UnknownKey
from sipmikey.mikey.ticket import TICKET
from sipmikey.ticket.base_ticket import tpk_id
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.resolve import ResolvedTicket, resolve_locally


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTicketKey:
    """A TPK and the URI of the party that it is shared with: a KMS or a peer."""

    owner: str
    tpk: TicketProtectionKey


def key_shared_with(owner: str, keys: Sequence[SharedTicketKey]) -> TicketProtectionKey | None:
    """Return the first of *keys* that is shared with *owner*."""
    return next((key.tpk for key in keys if same_identity(key.owner, owner)), None)


def resolve_with(
    env: Environment,
    ticket: TICKET,
    keys: Sequence[SharedTicketKey],
    *,
    initiator: str,
    identity: str,
) -> ResolvedTicket:
    """Open *ticket* of *initiator* for *identity* with one of *keys*, by the rule above.

    Raises `UnknownKey` where no key fits, and what `resolve_locally` raises.
    """
    policy = TicketPolicy.of(ticket, env.limits)
    maker = policy.kms if policy.flags.kms_generated else initiator
    named = tpk_id(ticket, env.limits)
    fitting = [
        key.tpk
        for key in keys
        if maker is not None
        and same_identity(key.owner, maker)
        and (named is None or key.tpk.key_id is None or key.tpk.key_id == named)
    ]
    if not fitting:
        raise UnknownKey(
            f"no ticket key is shared with {maker or 'an unnamed KMS'}", field="Ticket Data IDRpsk"
        )
    *before, last = fitting
    for tpk in before:
        try:
            return resolve_locally(env, ticket, tpk, identity=identity)
        except AuthenticationFailure:
            continue
    return resolve_locally(env, ticket, last, identity=identity)
