"""The watch over STUN and TURN servers: which of them work.

They are asked at the start, before any call, and regularly after: a call that itself finds its TURN server
dead loses seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from sipmikey.agent.stack import HelpingServers, StackError
from sipmikey.call.events import Event, NatServers
from sipmikey.nat.servers import NatSettings, endpoint_text

_AGAIN_S = 60.0
_AGAIN_WHEN_BAD_S = 10.0


class NatWatch:
    """Asks the servers of *settings* from the address *bind*. *use* is called with those that work, *publish*
    with an event when something changed."""

    def __init__(
        self,
        settings: NatSettings,
        *,
        bind: str,
        use: Callable[[HelpingServers], Awaitable[None]],
        publish: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._bind = bind
        self._use = use
        self._publish = publish
        self._told: tuple[str, ...] = ()

    async def look(self) -> bool:
        """Ask once, and use the servers that work. Returns False when something configured does not work.

        Raises ``StackError`` when the package that asks is not installed.
        """
        try:
            from sipmikey.nat.probe import probe
        except ImportError as error:
            raise StackError(f"STUN and TURN need {error.name}: pip install 'sipmikey[nat]'") from None
        report = await probe(self._settings, bind=self._bind)
        stun, turn = report.stun, report.turn
        settings = self._settings
        works = HelpingServers()
        if stun is not None and stun.works and settings.stun_server is not None:
            works = HelpingServers(stun=endpoint_text(settings.stun_server))
        if turn is not None and turn.works and settings.turn_server is not None:
            username, password = settings.credentials(time.time())
            works = HelpingServers(
                stun=works.stun,
                turn=endpoint_text(settings.turn_server),
                username=username,
                password=password,
            )
        await self._use(works)
        words = tuple("" if one is None else "ok" if one.works else one.detail for one in (stun, turn))
        mapped = "" if stun is None or stun.address is None else endpoint_text(stun.address)
        relayed = "" if turn is None or turn.address is None else endpoint_text(turn.address)
        told = (report.kind, *words, mapped.rpartition(":")[0])
        if told != self._told:
            self._told = told
            self._publish(
                NatServers(
                    at=time.time(),
                    kind=report.kind,
                    stun=words[0],
                    turn=words[1],
                    mapped=mapped,
                    relayed=relayed,
                )
            )
        return all(one is None or one.works for one in (stun, turn))

    async def run(self) -> None:
        """Ask regularly, until cancelled."""
        while True:
            fine = await self.look()
            await asyncio.sleep(_AGAIN_S if fine else _AGAIN_WHEN_BAD_S)
