"""A call through NAT in which nothing arrives any more: look for another way for its media."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sipmikey.agent.call import Call
from sipmikey.call.events import CallEnded, Event, MediaProven, MediaResumed, MediaRoute, MediaStalled

_CALLEE_WAITS_S = 4.0
"""Where both sides hear nothing, the caller begins: two offers at once only cost time."""


class Repair:
    """Has a call whose media ICE led be moved to new transports where it stalls.

    A TURN server that was started again knows no relay of ours, a NAT may have forgotten us, and credentials
    may have run out: with new candidates there may be a way. *find* returns the call of a number. *look* asks
    the servers, so that one that is dead is left out. *move* begins to move a call. In the event loop.
    """

    def __init__(
        self,
        find: Callable[[str], Call | None],
        *,
        look: Callable[[], Awaitable[object]],
        move: Callable[[Call], None],
    ) -> None:
        self._find = find
        self._look = look
        self._move = move
        self._led_by_ice: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def follow(self, event: Event) -> None:
        """Follow the events of all calls; called by the agent, in order."""
        match event:
            case MediaRoute():
                self._led_by_ice.add(event.call)
            case MediaStalled() if event.call in self._led_by_ice and event.call not in self._under_way:
                self._under_way[event.call] = asyncio.create_task(self._repair(event.call))
            case MediaResumed() | MediaProven() | CallEnded():
                self._give_up(event.call)
        if isinstance(event, CallEnded):
            self._led_by_ice.discard(event.call)

    def close(self) -> None:
        """Give up what is under way."""
        for number in tuple(self._under_way):
            self._give_up(number)

    def _give_up(self, number: str) -> None:
        if (task := self._under_way.pop(number, None)) is not None:
            task.cancel()

    async def _repair(self, number: str) -> None:
        call = self._find(number)
        if call is None:
            return
        if not call.outgoing:
            await asyncio.sleep(_CALLEE_WAITS_S)
        await self._look()
        self._under_way.pop(number, None)
        if not call.over:
            self._move(call)
