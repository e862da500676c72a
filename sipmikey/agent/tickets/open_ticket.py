"""A ticket of a TRANSFER_INIT that came without a call: opened with a key of ours, or by the KMS."""

from __future__ import annotations

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import UnknownKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.resolve import ResolvedTicket, TicketResolve
from sipmikey.ticket.shared_keys import resolve_with
from sipmikey.ticket.transfer import TransferResponder


async def open_ticket(
    env: Environment, keys: KeyManagement, kms: KmsDesk, responder: TransferResponder, identity: str
) -> ResolvedTicket:
    """Return the ticket's keys for *identity*. Raises a ``PeerError``, or an ``AgentError`` without a KMS."""
    ticket, policy = responder.ticket, responder.policy
    if not policy.flags.resolve_mandatory:
        try:
            return resolve_with(
                env, ticket, keys.ticket_keys, initiator=responder.initiator, identity=identity
            )
        except UnknownKey:
            if keys.credential is None:
                raise
    if keys.credential is None:
        raise AgentError(Reason.NO_KMS, "no KMS is configured", side="local")
    other = keys.asked_about(policy.kms)
    resolve = TicketResolve.start(
        env, ticket=ticket, credential=keys.credential, identity=identity, kms=other or keys.kms
    )
    response, _ = await kms.ask("", "ticket-resolve", resolve.message, other)
    return resolve.receive(response)
