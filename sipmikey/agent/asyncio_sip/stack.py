"""The SIP stack in Python: an event loop of its own, in the engine's thread."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator

from sipmikey.agent.asyncio_sip.binding import Binding
from sipmikey.agent.asyncio_sip.caller import CallerSession
from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means, Silent
from sipmikey.agent.asyncio_sip.media.all_calls import Media
from sipmikey.agent.asyncio_sip.message_log import message_log
from sipmikey.agent.asyncio_sip.presence.service import PresenceService
from sipmikey.agent.asyncio_sip.reception import Reception
from sipmikey.agent.asyncio_sip.referral import CallTransfers
from sipmikey.agent.asyncio_sip.registration import Registration
from sipmikey.agent.asyncio_sip.session import House, Session
from sipmikey.agent.asyncio_sip.session_table import SessionTable
from sipmikey.agent.asyncio_sip.wire.flows import Flows
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.transactions import Transactions
from sipmikey.agent.asyncio_sip.writing import new_call_id, new_tag, own_address, route_through
from sipmikey.agent.config import ANY_ADDRESS, AgentConfig, Transport
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    HelpingServers,
    Lane,
    StackCall,
    StackError,
    StackObserver,
)
from sipmikey.call.keying.permission import stack_keys
from sipmikey.media.codecs.known import codec_named, codecs_here
from sipmikey.mikey.errors import LocalError
from sipmikey.sound.commands import Command

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_NOWHERE = {False: "192.0.2.1", True: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): the route to them shows our own address."""


class AsyncioStack:
    """Implements the engine's ``Stack``. Raises ``StackError`` where a transport cannot be opened.

    *later* runs a callable in the engine's thread after a delay in seconds. Raises ``LocalError`` for a codec
    that is not here.
    """

    def __init__(
        self,
        config: AgentConfig,
        observer: StackObserver,
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.config = config
        self._observer = observer
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._faulty)
        self._codecs = self._checked(config.audio.offered)
        self._transactions = Transactions(self._later)
        strengths = config.keys.suites if config.keys else ("256", "128")
        self._keys = stack_keys(config.policy, strengths)
        self._log = message_log(config, private=self._keys is not None)
        self._flows = Flows(
            self._loop, config.sip, self._received, self._stop_polling, self._connection_lost, self._note
        )
        self._closed = False
        self._media: Media | None = None
        user = config.identity.partition(":")[2].rpartition("@")[0]
        self._means = Means(
            sip=config.sip, flows=self._flows, transactions=self._transactions, user=user,
            binding=Binding(config.sip),
        )  # fmt: skip
        self._registration = Registration(config, self._means, self._later, observer.on_registration)
        self.presence = PresenceService(config, self._means, self._later, observer.on_presence)
        try:
            self._loop.run_until_complete(self._flows.open())
            self._media = Media(config, self._own_address(), self._keys)
        except BaseException:
            self.destroy()
            raise
        self._board: SessionTable[Session] = SessionTable()
        self._house = House(
            config=config,
            observer=observer,
            means=self._means,
            media=self._media,
            later=self._later,
            board=self._board,
            soon=lambda work: later(0.0, work),
            from_thread=self._from_thread,
            codecs=lambda: self._codecs,
            referrals=CallTransfers(),
            call=self._refer,
        )
        self._reception = Reception(self._house, self._flows, self._transactions, self.presence)

    # For the engine

    @property
    def addresses(self) -> dict[Transport, str]:
        """``host:port`` of each transport."""
        return dict(self._flows.addresses)

    @property
    def busy(self) -> bool:
        """True while calls exist, or a server has not confirmed that we left."""
        return bool(self._board.living) or self._registration.registered or self.presence.busy

    @property
    def can_be_woken(self) -> bool:
        """True: see `wake`."""
        return True

    def wake(self) -> None:
        """End the poll under way; from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)

    def poll(self, wait_ms: int) -> None:
        """Handle what came in, waiting at most *wait_ms* for something to come."""
        timer = self._loop.call_later(wait_ms / 1000, self._loop.stop)
        self._loop.run_forever()
        timer.cancel()
        if self._media is None:
            return
        if self._media.take_played():
            self._observer.on_played()
        for news in self._media.take_news():
            self._observer.on_sound_news(news)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """A context in which the stack does only what it is asked: always true between two polls."""
        yield

    def ready_in(self, streams: int) -> float | None:
        """Return 0.0, or None where one of the calls must end first."""
        return 0.0 if len(self._board.living) < self.config.calls else None

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> StackCall:
        """Send an INVITE for *uri*, to *via* when given. Raises ``StackError``."""
        if self.ready_in(1) is None:
            raise StackError(f"all {self.config.calls} calls of this agent are taken")
        named = self.config.sip.named_transport
        target = via or _plain(uri)
        if lane is Lane.BY_STACK and (keys := self._keys) is not None and keys.only is not None:
            # Keys in a description leave over TLS or not at all.
            named = Transport(keys.only)
        if named is not None and not self.config.sip.proxy and "transport=" not in target:
            target = f"{target};transport={named}"
        session = CallerSession(self._house, lane, observer, _plain(uri), target)
        observer.on_attached(session)
        self._board.add(session)
        try:
            session.begin(headers)
        except BaseException:
            session.observer = None
            session.finish(0)
            raise
        return session

    def _refer(
        self,
        uri: str,
        lane: Lane,
        observer: CallObserver,
        headers: Headers,
        progress: Callable[[int, str, bool], None],
    ) -> None:
        """Make the call that a REFER asks for."""
        session = CallerSession(self._house, lane, observer, _plain(uri), _plain(uri))
        session.progress = progress
        self._board.add(session)
        observer.on_attached(session)
        with session.guarded():
            session.begin(headers)

    def send_message(self, uri: str, content_type: str, body: str, headers: Headers) -> None:
        """Send a MESSAGE (RFC 3428); its response is not waited for."""
        config = self.config
        target = _plain(uri)
        draft = Draft(
            method="MESSAGE",
            uri=target,
            hop=config.sip.proxy or target,
            sender=f"{own_address(config)};tag={new_tag()}",
            receiver=f"<{target}>",
            call_id=new_call_id(),
            number=itertools.count(1).__next__,
            headers=(*route_through(config.sip.proxy), ("Content-Type", content_type), *headers),
            content=body.encode(),
        )
        Exchange(self._means, draft, Silent()).begin()

    def order_codecs(self, wanted: tuple[str, ...]) -> None:
        """Offer the codecs *wanted*, best first, and no others, from the next offer on."""
        self._codecs = self._checked(wanted)

    def _checked(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        for name in wanted:
            try:
                codec_named(name)
            except LocalError as error:
                raise LocalError(f"media.codecs: {error}") from None
        return tuple(name.upper() for name in wanted) or codecs_here()

    def sound_command(self, command: Command) -> None:
        """Do what *command* says to the sound devices."""
        if self._media is not None:
            self._media.obey(command)

    def use_servers(self, servers: HelpingServers) -> None:
        """Use these STUN and TURN servers for streams that begin. Raises ``LocalError`` for a wrong one."""
        if self._media is not None:
            self._media.use_servers(servers)

    def follow_address(self) -> None:
        """Our address changed: look up the new one for each peer, and register again if we are registered."""
        registered = self._registration.registered
        self._registration.leave_flow()
        self._flows.forget_routes()
        if self._media is not None:
            self._media.move(self._own_address())
        if registered:
            self._registration.want(True)
        self.presence.follow_address()

    def set_registration(self, renew: bool) -> None:
        """Register, or refresh; or remove the registration."""
        self._registration.want(renew)

    def leave(self) -> None:
        """Hang up everything and leave the registrar."""
        for session in tuple(self._board.living):
            with contextlib.suppress(StackError):
                session.hangup()
        self.presence.leave()
        if self._registration.registered:
            self.set_registration(False)

    def destroy(self) -> None:
        """Free everything."""
        if self._closed:
            return
        self._closed = True
        self._registration.stop()
        self.presence.stop()
        self._transactions.clear()
        if self._media is not None:
            self._media.close()
        self._loop.run_until_complete(self._flows.close())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    # Within the event loop

    def _received(self, octets: bytes, flow: Flow) -> None:
        self._reception.receive(octets, flow)

    def _note(self, octets: bytes, flow: Flow, sent: bool) -> None:
        if self._log is not None:
            self._log.note(octets, flow.transport, flow.remote, sent=sent)

    def _connection_lost(self, flow: Flow) -> None:
        if not self._closed:
            self._registration.connection_lost(flow)
            self.presence.connection_lost(flow)

    def _own_address(self) -> str:
        sip = self.config.sip
        bound = self._flows.local_host(_NOWHERE[sip.ipv6]) if sip.bind in ANY_ADDRESS else sip.bind
        return sip.public_address or bound

    def _from_thread(self, work: Callable[[], None]) -> None:
        """Run *work* in the engine's thread; from any thread."""

        def run() -> None:
            if not self._closed:
                work()
                self._loop.stop()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(run)

    def _stop_polling(self) -> None:
        if not self._closed:
            self._loop.stop()

    def _later(self, delay_s: float, work: Callable[[], None]) -> asyncio.TimerHandle:
        def ring() -> None:
            try:
                work()
            except Exception:  # noqa: BLE001 - the stack goes on
                _log.exception("a timer failed")
            self._loop.stop()

        return self._loop.call_later(delay_s, ring)

    def _faulty(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        _log.error("%s: %r", context.get("message"), context.get("exception"))


def _plain(uri: str) -> str:
    """Return the URI without display name and brackets."""
    return uri.rpartition("<")[2].partition(">")[0].strip()
