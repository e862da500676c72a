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

_TRIES = 5
_AGAIN_S = 1.0


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

    @property
    def possible(self) -> bool:
        """False where the configuration names our address: it cannot change."""
        sip = self._config.sip
        return sip.bind in ANY_ADDRESS and sip.public_address is None

    async def run(self) -> None:
        """Follow all changes, until cancelled."""
        watch = AddressWatch(ipv6=self._config.sip.ipv6)
        async for change in watch.changes():
            await self.follow(change)

    async def follow(self, change: Change) -> None:
        """Listen and register again, and tell the peers of all calls where we are."""
        self._publish(
            NetworkChanged(at=time.time(), cause=change.cause, before=change.before, now=change.now)
        )
        try:
            await self._listen_there()
        except RegistrationError:
            # The failure was told. The peers may still be reachable.
            pass
        except StackError as error:
            _log.error("the SIP stack did not follow the change of address: %s", error)
            return
        through_nat = self._config.nat.uses_ice
        if change.cause is Cause.ADDRESS or through_nat:
            # A NAT forgets where datagrams to us go while we sleep.
            calls = [call for call in self._calls() if call.answered and not call.over]
            await asyncio.gather(*(self._move(call) for call in calls))

    async def _listen_there(self) -> None:
        """Have the stack listen at the new address. The registrar's answer tells it where peers reach us."""

        async def start() -> None:
            await wrap_future(self._engine.submit(self._engine.follow_address))

        await (self._registration.until_answered(start) if self._registration.registered else start())

    async def _move(self, call: Call) -> None:
        """Tell the peer our new address; try again where an offer of the peer is under way."""
        detail = ""
        for _ in range(_TRIES):
            try:
                await call.move(new_transports=self._config.nat.uses_ice)
            except CallFailed as error:
                detail = error.detail or str(error.reason)
                if call.over:
                    return
                await asyncio.sleep(_AGAIN_S)
            else:
                self._publish(CallMoved(at=time.time(), call=call.number, moved=True, detail=""))
                return
        self._publish(CallMoved(at=time.time(), call=call.number, moved=False, detail=detail))
