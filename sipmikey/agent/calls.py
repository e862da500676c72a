"""The calls of an agent, in the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sipmikey.agent.call import Call, IncomingCall
from sipmikey.agent.driver.call_driver import CallDriver
from sipmikey.call.callee import CalleeMachine
from sipmikey.call.events import (
    CallAnswered,
    CallEnded,
    Event,
    MediaRoute,
    ReplacementRequested,
    TransferRequested,
)


class Calls:
    """Knows each call until it ends, and lets it follow its events."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._sip_call_ids: dict[str, str] = {}
        self._ringing: asyncio.Queue[IncomingCall] = asyncio.Queue()

    def __contains__(self, number: str) -> bool:
        return number in self._calls

    @property
    def living(self) -> tuple[Call, ...]:
        """The calls that have not ended."""
        return tuple(self._calls.values())

    def get(self, number: str) -> Call | None:
        """Return the call of that number, None once it has ended."""
        return self._calls.get(number)

    def add(self, call: Call) -> None:
        """Know a new call."""
        self._calls[call.number] = call

    def ring(self, driver: CallDriver) -> None:
        """Offer an incoming call to the user."""
        call = self._calls.get(driver.number)
        if call is not None and isinstance(driver.machine, CalleeMachine):
            self._ringing.put_nowait(IncomingCall(call, driver.machine.invitation))

    async def incoming(self) -> IncomingCall:
        """Wait for the next call that rings and is not over yet."""
        while True:
            ringing = await self._ringing.get()
            if not ringing.over:
                return ringing

    def follow(self, event: Event) -> Event:
        """Let the call of *event* follow it; return it with the number of its call, where it had none."""
        if isinstance(event, MediaRoute):
            event = replace(event, call=self._sip_call_ids.get(event.sip_call_id, ""))
        elif isinstance(event, CallAnswered):
            self._sip_call_ids[event.sip_call_id] = event.call
        call = self._calls.get(event.call)
        if call is not None:
            call.take(event)
            if isinstance(event, TransferRequested | ReplacementRequested) and event.new_call:
                call.followed_by(self._calls.get(event.new_call))
            if isinstance(event, CallEnded):
                self._forget(event.call)
        return event

    def _forget(self, number: str) -> None:
        del self._calls[number]
        for sip_call_id in [one for one, call in self._sip_call_ids.items() if call == number]:
            del self._sip_call_ids[sip_call_id]
