"""All presence of an agent: whom we watch, and what we say of ourselves."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from sipmikey.agent.asyncio_sip.exchange import Means
from sipmikey.agent.asyncio_sip.presence.publication import Publication
from sipmikey.agent.asyncio_sip.presence.subscription import Subscription
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.transactions import Later, ServerTransaction
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.stack import Sighting, StackError
from sipmikey.sip.pidf import Presence


class PresenceService:
    """Implements `sipmikey.agent.stack.StackPresence`. *tell* hears of each change."""

    def __init__(
        self, config: AgentConfig, means: Means, later: Later, tell: Callable[[Sighting], None]
    ) -> None:
        self._config = config
        self._means = means
        self._later = later
        self._tell = tell
        self._watched: dict[str, Subscription] = {}
        self._ending: list[Subscription] = []
        self._publication = Publication(config, means, later)

    def watch(self, identity: str, wanted: bool) -> None:
        """Watch *identity*, or no longer. Raises ``StackError`` where nothing can read what would come."""
        if wanted and find_spec("defusedxml") is None:
            raise StackError("presence needs defusedxml: pip install 'sipmikey[calls]'")
        one = self._watched.get(identity)
        if wanted and one is None:
            one = Subscription(self._config, self._means, self._later, identity, self._tell, self._forget)
            self._watched[identity] = one
            one.begin()
        elif not wanted and one is not None:
            del self._watched[identity]
            self._ending.append(one)
            one.end()

    def publish(self, open: bool | None, note: str) -> None:
        """Say of ourselves whether we can be reached, and *note*; None: say nothing any more."""
        state = None if open is None else Presence(entity=self._config.identity, open=open, note=note)
        self._publication.say(state)

    def _forget(self, one: Subscription) -> None:
        if one in self._ending:
            self._ending.remove(one)
        if self._watched.get(one.identity) is one:
            del self._watched[one.identity]

    @property
    def busy(self) -> bool:
        """True while a server has not confirmed that we left."""
        return bool(self._ending) or self._publication.busy

    def receive(self, transaction: ServerTransaction) -> bool:
        """Take a NOTIFY; return False where none of our subscriptions has it."""
        message = transaction.request
        key = (message.first("call-id") or "", message.to_tag)
        for one in (*self._watched.values(), *self._ending):
            if (one.call_id, one.tag) == key:
                one.receive(transaction)
                return True
        return False

    def follow_address(self) -> None:
        """Our address changed: NOTIFYs are to come to the new one."""
        for one in self._watched.values():
            one.stop()
            one.begin()

    def connection_lost(self, flow: Flow) -> None:
        """A connection ended; a server that reached us by it no longer can."""
        for one in tuple(self._watched.values()):
            if one.flow is flow:
                one.begin_later("the connection is lost")

    def leave(self) -> None:
        """Watch nobody, and say nothing."""
        for identity in tuple(self._watched):
            self.watch(identity, False)
        self._publication.say(None)

    def stop(self) -> None:
        """Send nothing more."""
        for one in (*self._watched.values(), *self._ending):
            one.stop()
        self._publication.stop()
