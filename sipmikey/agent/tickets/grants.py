"""Tickets for outgoing calls, from the store or from the KMS; questions to the KMS are published."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.agent.tickets.store import Ask, TicketStore, facts
from sipmikey.call.events import Event, KmsExchange, KmsResponse
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import PeerError
from sipmikey.ticket.request import TicketGrant

_EXCHANGE: KmsExchange = "ticket-request"


class Grants:
    """In the event loop only. *store*: None where no KMS is configured. *publish* takes ``kms.response``.

    The methods raise ``AgentError`` (``no-kms`` without a store) or a ``PeerError``.
    """

    def __init__(self, store: TicketStore | None, kms: KmsDesk, publish: Callable[[Event], None]) -> None:
        self._tickets = store
        self._kms = kms
        self._publish = publish

    @property
    def _store(self) -> TicketStore:
        if self._tickets is None:
            raise AgentError(Reason.NO_KMS, "no KMS is configured, and policy demands a ticket", side="local")
        return self._tickets

    async def take(self, called: str, number: str) -> TicketGrant:
        """Return a ticket for the identity *called*, for the call *number*."""
        return await self._get(called, number, self._store.get)

    async def prefetch(self, called: str) -> TicketGrant:
        """Get a ticket for *called* and keep it; return it."""
        return await self._get(called, "", self._store.prefetch)

    async def renew(self, called: str) -> None:
        """Get a new ticket for *called*, in place of one that is about to end."""
        await self._get(called, "", self._store.renew)

    async def _get(
        self, called: str, number: str, get: Callable[[str, Ask], Awaitable[TicketGrant]]
    ) -> TicketGrant:
        """Get a ticket; publish an event when the KMS was asked."""
        asked: list[tuple[int, float]] = []

        async def ask(message: bytes) -> bytes:
            response, elapsed_ms = await self._kms.ask(number, _EXCHANGE, message)
            asked.append((len(response), elapsed_ms))
            return response

        try:
            grant = await get(called, ask)
        except (PeerError, AgentError) as error:
            if asked:
                self._kms.tell_failure(number, _EXCHANGE, error)
            raise
        for size, elapsed_ms in asked:
            self._publish(
                KmsResponse(
                    at=time.time(), call=number, exchange=_EXCHANGE, kms=grant.policy.kms or "", size=size,
                    elapsed_ms=elapsed_ms, ticket=facts(grant),
                )
            )  # fmt: skip
        return grant
