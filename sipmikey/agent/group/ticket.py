"""The tickets of a group session: one for each member and key, for the identity of the group."""

from __future__ import annotations

from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.call.reasons import AgentError, Reason, kms_fault
from sipmikey.keys.suite import Suite
from sipmikey.media.group import session_ticket_policy
from sipmikey.mikey.errors import PeerError
from sipmikey.ticket.request import TicketGrant, TicketRequest


async def session_ticket(us: Correspondent, suite: Suite, group: str) -> TicketGrant:
    """Have the KMS make a ticket for *group*; raise an ``AgentError`` where it does not."""
    credential = us.keys.credential
    if credential is None:
        raise AgentError(Reason.NO_KMS, "a group needs a KMS", side="local")
    policy = session_ticket_policy(suite, initiator=us.identity, group=group, kms=us.keys.kms)
    request = TicketRequest.start(
        us.env, policy=policy, credential=credential, identity=us.identity, kms=us.keys.kms
    )
    response, _ = await us.kms.ask("", "ticket-request", request.message)
    try:
        grant = request.receive(response)
        request.check_acceptable(grant)
    except PeerError as error:
        raise kms_fault(error) from None
    return grant
