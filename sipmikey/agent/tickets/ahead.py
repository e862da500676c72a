"""Ticket Transfer ahead of calls: the callee has its ticket resolved before there is a call.

The exchange is that of RFC 6043 section 4.2.2 with no crypto sessions (#CS is 0, Empty map), in the body of
SIP MESSAGE requests (RFC 3428), one in each direction. The TRANSFER_RESP proves that the callee resolved the
ticket. A later call with the same ticket is reuse (section 5.3): a new exchange that needs no KMS.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.agent.tickets.open_ticket import open_ticket
from sipmikey.agent.tickets.resolved_tickets import ResolvedTickets
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import InvalidTicketPolicy, SipmikeyError, UnexpectedMessage
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import DataType
from sipmikey.rate_limit import RateLimiter
from sipmikey.sdp.errors import IdentityMismatch
from sipmikey.ticket.base_ticket import ticket_id
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.transfer import TransferInitiator, TransferResponder

_log = logging.getLogger("sipmikey.agent.tickets.ahead")

MEDIA_TYPE = "application/mikey"

_A_SECOND, _AT_ONCE = 1.0, 20
"""How many tickets from one sender are judged."""


@dataclass(frozen=True, slots=True)
class _Pushed:
    transfer: TransferInitiator
    taken: asyncio.Future[str]


class TicketsAhead:
    """Sends tickets to those we call and takes those of callers. In the event loop only.

    What *us* sends is a MIKEY message in base64. *resolved*: where tickets of callers are kept; None where
    they are not accepted. *allowed*: returns True where policy accepts protected calls of a caller.
    """

    def __init__(
        self, us: Correspondent, *, resolved: ResolvedTickets | None, allowed: Callable[[str], bool]
    ) -> None:
        self._us = us
        self._resolved = resolved
        self._allowed = allowed
        self._replay = ReplayCache(clock_skew_s=us.env.clock_skew_s)
        self._rate = RateLimiter(per_second=_A_SECOND, burst=_AT_ONCE, now=time.monotonic, entries=1000)
        self._pushed: dict[int, _Pushed] = {}

    async def push(self, called: str, grant: TicketGrant) -> str:
        """Have *called* resolve a ticket now; return the identity that did, for which the KMS vouches.

        Raises ``InvalidTicketPolicy`` for a ticket that must not be used again, and ``AgentError`` with
        ``no-answer`` where no answer says that the ticket was resolved.
        """
        if not grant.policy.flags.reusable:
            raise InvalidTicketPolicy(
                "J is 0: sending the ticket ahead would use it up", field="TICKET flags"
            )
        transfer = TransferInitiator.start(
            self._us.env,
            grant,
            crypto_sessions=(),
            policies=(),
            initiator=self._us.identity,
            responder=called,
        )
        pushed = _Pushed(transfer, asyncio.get_running_loop().create_future())
        self._pushed[transfer.csb_id] = pushed
        try:
            self._us.send(called, b64encode(transfer.message).decode())
            return await asyncio.wait_for(pushed.taken, self._us.answer_s)
        except TimeoutError:
            raise AgentError(
                Reason.NO_ANSWER,
                f"no device resolved the ticket within {self._us.answer_s:g} s",
                side="remote",
            ) from None
        finally:
            del self._pushed[transfer.csb_id]

    async def take(self, sender: str, body: bytes) -> None:
        """Take a MIKEY message of *sender* (canonical URI). One that cannot be used is only logged."""
        try:
            octets = b64decode(b"".join(body.split()), validate=True)
            header = Message.parse(octets, self._us.env.limits).header
            if header.data_type is DataType.TRANSFER_INIT:
                await self._resolve(sender, octets)
            elif (pushed := self._pushed.get(header.csb_id)) is not None:
                peer = pushed.transfer.receive(octets).peer
                if not pushed.taken.done():
                    pushed.taken.set_result(peer)
        except (SipmikeyError, binascii.Error) as error:
            _log.info("a ticket ahead of calls from %s: %s", sender, error)

    async def _resolve(self, sender: str, message: bytes) -> None:
        kept, us = self._resolved, self._us
        if kept is None or not self._allowed(sender) or self._rate.retry_after(sender) is not None:
            return
        responder = TransferResponder(us.env, message, identity=us.identity)
        flags = responder.policy.flags
        if not same_identity(responder.initiator, sender):
            raise IdentityMismatch(f"{responder.initiator} in a message of {sender}", field="IDRi")
        if responder.crypto_sessions:
            raise UnexpectedMessage("it has crypto sessions, but there is no call", field="#CS")
        if not (flags.reusable and flags.response_sent):
            raise InvalidTicketPolicy("J or F is 0: there is nothing to do ahead of the call", field="TICKET")
        name = ticket_id(responder.ticket)
        before = kept.get(name)
        resolved = before or await open_ticket(us.env, us.keys, us.kms, responder, us.identity)
        responder.verify(resolved, self._replay)
        if before is not None:
            kept.used(name, responder.timestamp)
        else:
            kept.keep(name, resolved, responder.timestamp)
        answer, _ = responder.respond(crypto_sessions=())
        us.send(sender, b64encode(answer).decode())
