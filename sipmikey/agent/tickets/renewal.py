"""Tickets for contacts, fetched ahead of calls and renewed before they expire, as long as the agent runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sipmikey.agent.tickets.store import TicketStore
from sipmikey.mikey.errors import SipmikeyError

_log = logging.getLogger("sipmikey.agent.tickets.renewal")

_LOOK_S = 60.0
"""How often to look: a ticket for one call is gone once it was used."""

_RETRY_S, _RETRY_MOST_S = 30.0, 1800.0
"""When to ask again a KMS that gave none; twice as long each time."""

Renew = Callable[[str], Awaitable[object]]
"""Gets a new ticket for a canonical URI, in place of the one that is kept."""

Sleep = Callable[[float], Awaitable[object]]


class TicketRenewal:
    """Keeps a ticket for each of *contacts* (canonical URIs). In the event loop only."""

    def __init__(
        self, store: TicketStore, contacts: tuple[str, ...], renew: Renew, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._store = store
        self._contacts = contacts
        self._renew = renew
        self._sleep = sleep
        self._refused: dict[str, float] = {}
        self._waited: dict[str, float] = {}

    async def run(self) -> None:
        """Renew the tickets until cancelled."""
        while True:
            wait_s = _LOOK_S
            for called in self._contacts:
                wait_s = min(wait_s, await self._look(called))
            await self._sleep(wait_s)
            for called in self._waited:
                self._waited[called] -= wait_s

    async def _look(self, called: str) -> float:
        """Renew the ticket for *called* where it is time; return the seconds until the next look."""
        due_s = self._store.renewal_in_s(called)
        if due_s > 0:
            return max(due_s, 1.0)
        if (left_s := self._waited.get(called, 0.0)) > 0:
            return left_s
        try:
            await self._renew(called)
        except SipmikeyError as error:
            _log.info("no ticket for %s: %s", called, error)
            again_s = min(2 * self._refused.get(called, _RETRY_S / 2), _RETRY_MOST_S)
            self._refused[called] = self._waited[called] = again_s
            return again_s
        self._refused.pop(called, None)
        self._waited.pop(called, None)
        return max(self._store.renewal_in_s(called), 1.0)
