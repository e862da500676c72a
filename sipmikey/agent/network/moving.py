"""After a change of our address, or a sleep: listen and register again, and move the calls."""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import wrap_future
from collections.abc import Callable, Iterable

from sipmikey.agent.call import Call, CallFailed
from sipmikey.agent.config import ANY_ADDRESS, AgentConfig
from sipmikey.agent.engine import Engine
from sipmikey.agent.registration import Registration, RegistrationError
from sipmikey.agent.stack import StackError
from sipmikey.call.events import CallMoved, Event, NetworkChanged
from sipmikey.nat.addresses import AddressWatch, Cause, Change

_log = logging.getLogger("sipmikey.agent.network")

STALLED = "stalled"
"""Why a call is moved in which nothing of the peer arrives; beside `Cause`."""

_WAITS_S = (1.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Between tries. An offer that left from the old address is over after 32 s (RFC 3261 section 17.1.1.2)."""


class Moving:
    """*calls* returns the agent's calls. In the event loop."""

    def __init__(
        self,
        config: AgentConfig,
        engine: Engine,
        registration: Registration,
        *,
        calls: Callable[[], Iterable[Call]],
        publish: Callable[[Event], None],
    ) -> None:
        self._config = config
        self._engine = engine
        self._registration = registration
        self._calls = calls
        self._publish = publish
        self._moves: dict[str, asyncio.Task[None]] = {}

    @property
    def possible(self) -> bool:
        """False where the configuration names our address: it cannot change."""
        sip = self._config.sip
        return sip.bind in ANY_ADDRESS and sip.public_address is None

    async def run(self) -> None:
        """Follow all changes, until cancelled."""
        watch = AddressWatch(ipv6=self._config.sip.ipv6)
        try:
            async for change in watch.changes():
                await self.follow(change)
        finally:
            for move in self._moves.values():
                move.cancel()

    async def follow(self, change: Change) -> None:
        """Listen and register again, and begin to tell the peers of all calls where we are.

        A call that is not answered ends, with a reason that says so: what its peer answers goes to the old
        address, and no offer may follow the first one before that (RFC 3261 section 14.1).
        """
        self._publish(
            NetworkChanged(at=time.time(), cause=change.cause, before=change.before, now=change.now)
        )
        # The stack ends a call of ours when its connection closes, and knows no better reason for it.
        self._leave_behind(change, outgoing=True)
        try:
            await self._listen_there()
        except RegistrationError:
            # The failure was told. The peers may still be reachable.
            pass
        except StackError as error:
            _log.error("the SIP stack did not follow the change of address: %s", error)
            self._leave_behind(change, outgoing=False)
            return
        self._leave_behind(change, outgoing=False)
        through_nat = self._config.nat.uses_ice
        if change.cause is Cause.ADDRESS or through_nat:
            # A NAT forgets where datagrams to us go while we sleep.
            for call in self._calls():
                if call.answered and not call.over:
                    self.move(call, change.cause)

    def _leave_behind(self, change: Change, *, outgoing: bool) -> None:
        """End the calls that are not answered where the old address is gone."""
        if change.cause is not Cause.ADDRESS:
            return
        before, now = change.before or "none", change.now or "none"
        detail = f"our address changed from {before} to {now} before the call was answered: call again"
        for call in self._calls():
            if not call.answered and not call.over and call.outgoing == outgoing:
                call.leave_behind(detail)
                self._tell(call, detail, change.cause)

    def move(self, call: Call, cause: str) -> None:
        """Begin to move *call*, whatever becomes of the others. What is under way for it is given up.

        *cause*: a `Cause`, or `STALLED`.
        """
        if (older := self._moves.pop(call.number, None)) is not None:
            older.cancel()
        self._moves[call.number] = move = asyncio.create_task(self._move(call, cause))
        move.add_done_callback(lambda done: self._is_over(call.number, done))

    def _is_over(self, number: str, move: asyncio.Task[None]) -> None:
        if self._moves.get(number) is move:
            del self._moves[number]

    async def _listen_there(self) -> None:
        """Have the stack listen at the new address. The registrar's answer tells it where peers reach us."""

        async def start() -> None:
            await wrap_future(self._engine.submit(self._engine.follow_address))

        await (self._registration.until_answered(start) if self._registration.registered else start())

    async def _move(self, call: Call, cause: str) -> None:
        """Tell the peer our new address; try again where an offer of the peer is under way."""
        detail = ""
        for wait_s in (*_WAITS_S, None):
            try:
                await call.move(new_transports=self._config.nat.uses_ice)
            except CallFailed as error:
                if call.over:
                    return
                detail = error.detail or str(error.reason)
            else:
                self._tell(call, "", cause)
                return
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        self._tell(call, detail, cause)

    def _tell(self, call: Call, detail: str, cause: str) -> None:
        """Tell that *call* was moved, or why it was not."""
        self._publish(
            CallMoved(at=time.time(), call=call.number, moved=not detail, detail=detail, cause=cause)
        )
