"""The asyncio face of the user agent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TypeVar

from sipmikey.agent.call import Call, CallFailed, IncomingCall
from sipmikey.agent.calls import Calls
from sipmikey.agent.conference import Conference, Conferences
from sipmikey.agent.config import MAX_CALLS, WEBSOCKETS, AgentConfig, Transport
from sipmikey.agent.endings import closed_upon, not_called
from sipmikey.agent.engine import Engine
from sipmikey.agent.group.sessions import GroupSessions
from sipmikey.agent.host import Host
from sipmikey.agent.listeners import Listeners
from sipmikey.agent.network.location import Locator
from sipmikey.agent.network.moving import STALLED, Moving
from sipmikey.agent.network.nat_watch import NatWatch
from sipmikey.agent.network.repair import Repair
from sipmikey.agent.outside_calls import OutsideCalls
from sipmikey.agent.registration import Registration
from sipmikey.agent.sound_control import SoundControl
from sipmikey.agent.stack import Headers
from sipmikey.agent.stack_choice import open_stack
from sipmikey.agent.tickets.file import TicketFile
from sipmikey.agent.tickets.keeping import TicketKeeping
from sipmikey.agent.tickets.kms import KmsClient
from sipmikey.agent.tickets.rehearsal import rehearse
from sipmikey.agent.tickets.renewal import TicketRenewal
from sipmikey.agent.tickets.requests import Requests
from sipmikey.call.ending import Ending
from sipmikey.call.events import (
    CallEnded,
    Event,
)
from sipmikey.call.inputs import Start
from sipmikey.call.inviting.consent import Decide
from sipmikey.call.keying.permission import first_kind
from sipmikey.call.policy import Retarget
from sipmikey.call.reasons import AgentError, Family, Reason
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.system import environment
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.request import TicketGrant

T = TypeVar("T")

_OCCUPIED_S = 10.0
"""How long a call waits for pjlib to give socket handles back, or for a dead stack to be started again."""

_DEFAULT_SKEW_S = 300


def _run_all(outbox: list[Callable[[], None]]) -> None:
    for work in outbox:
        work()


class Agent:
    """A SIP user agent whose calls are keyed with MIKEY-TICKET.

    One per process (pjsua2 is a process-wide library). Use it as an async context manager::

        async with Agent(config, kms=client) as agent:
            await agent.register()
            call = await agent.call("sip:bob@example.com")
            await call.established()
            await call.hangup()

    At most ``MAX_CALLS`` calls at a time. *decide* asks the user whom to talk to; it is needed where policy
    is ``Retarget.ASK``. *env* replaces the system's clock and randomness, for tests.
    *ticket_file* keeps tickets across restarts; without one they are kept in memory.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        kms: KmsClient | None = None,
        decide: Decide | None = None,
        env: Environment | None = None,
        ticket_file: TicketFile | None = None,
    ) -> None:
        if config.policy.retarget is Retarget.ASK and decide is None:
            raise LocalError("policy.retarget is 'ask': pass a `decide` callback to Agent")
        keys = config.keys
        self.config = config
        self.identity = canonical(config.identity)
        skew_s = _DEFAULT_SKEW_S if keys is None else round(keys.clock_skew_s)
        self._env = env or environment(clock_skew_s=skew_s)
        self._tickets = TicketKeeping(
            config, self._env, self.identity, file=ticket_file, client=kms, publish=self._publish
        )
        self._engine = Engine(config, open_stack)
        self._locator = Locator(config.sip)
        self.sound = SoundControl(
            lambda command: self._engine.post(lambda: self._engine.sound(command)),
            tones=config.audio.device != "null" and config.audio.tones,
        )
        self._requests = Requests(
            self._engine, self._tickets.kms, kms_timeout_s=config.timeouts.kms,
            ticket=self._tickets.grants.take, decide=decide, decision_s=config.timeouts.decision,
            locator=self._locator,
        )  # fmt: skip
        self._conferences = Conferences(self._engine, config.policy, self._publish)
        self._outside = OutsideCalls(config, self._env, self.identity, self._tickets, self._send_message)
        self._calls = Calls()
        self._host = Host(
            config,
            self._env,
            self._engine,
            self._requests,
            self._tickets,
            self._outside,
            self._calls,
            publish=self._publish,
            registered=lambda *answer: self._registration.result(*answer),
            fetch=self._fetch,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners = Listeners()
        self._watch()

    def _watch(self) -> None:
        """Make what runs whether there are calls or not: registration, NAT, changes of the network."""
        config = self.config
        self._nat = NatWatch(
            config.nat,
            bind=config.sip.bind,
            use=lambda servers: self._in_engine(lambda: self._engine.use_servers(servers)),
            publish=self._publish,
        )
        self._registration = Registration(
            identity=self.identity, registrar=config.sip.registrar or "", wait_s=config.timeouts.register,
            publish=self._publish,
        )  # fmt: skip
        self._moving = Moving(
            config,
            self._engine,
            self._registration,
            calls=lambda: self._calls.living,
            publish=self._publish,
        )
        self._repair = Repair(
            self._calls.get, look=self._nat.look, move=lambda call: self._moving.move(call, STALLED)
        )

    async def __aenter__(self) -> Agent:
        self._loop = asyncio.get_running_loop()
        self._requests.open()
        located = await self._locator.with_servers(self.config.sip)
        started = asyncio.wrap_future(self._engine.start(self._host.incoming, self._deliver, sip=located))
        if self.config.keys is not None:
            await asyncio.to_thread(rehearse, self._env, self.config.keys.suites[0])
        await started
        if self.config.nat.uses_ice:
            await self._nat.look()
            self._requests.run(self._nat.run())
        if self._moving.possible:
            self._requests.run(self._moving.run())
        store, keys = self._tickets.store, self.config.keys
        if store is not None and keys is not None and keys.contacts:
            renewal = TicketRenewal(store, keys.contacts, self._tickets.grants.renew)
            self._requests.run(renewal.run())
        for identity in self.config.sip.presence:
            await self.watch(identity)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()
        self._repair.close()
        await asyncio.wrap_future(self._engine.close())
        # What the engine said last is in the loop's queue by now, before what comes next.
        await asyncio.sleep(0)
        for call in self._calls.living:
            self._publish(closed_upon(call.number, call.security))
        self._listeners.close()

    @property
    def contact(self) -> str:
        """Our SIP URI on the first transport, with the port in use, to be called without a registrar."""
        transport = self.config.sip.transports[0]
        host, _, port = self._engine.addresses[transport].rpartition(":")
        if transport in WEBSOCKETS or not port.isdecimal() or host.endswith(":"):
            return self.identity  # nobody can connect to us: TLS without a certificate, for one
        if (public := self.config.sip.public_address) is not None:
            host = f"[{public}]" if ":" in public else public
        user = self.identity.partition(":")[2].rpartition("@")[0]
        suffix = "" if transport is Transport.UDP else f";transport={transport}"
        return f"sip:{user}@{host}:{port}{suffix}" if user else f"sip:{host}:{port}{suffix}"

    async def register(self) -> None:
        """Register and return when the registrar accepted; raises ``RegistrationError``.

        The agent renews the registration from then on; ``reg.ok`` and ``reg.fail`` events tell the outcome.
        """
        if not self.config.sip.registrar:
            raise LocalError("no registrar is configured (sip.registrar)")
        await self._registration.until_answered(lambda: self._in_engine(self._engine.register))

    async def unregister(self) -> None:
        """Remove the registration; raises ``RegistrationError``."""
        await self._registration.until_answered(lambda: self._in_engine(self._engine.unregister))

    async def watch(self, uri: str) -> None:
        """Have a presence server tell whether *uri* can be reached: ``presence.changed`` (RFC 3856).

        A server's word is a hint: nothing protects it end to end. Raises ``LocalError`` for what is not a SIP
        URI, ``StackError`` where the stack is pjsua2.
        """
        self.config.sip.check_watched(uri, "the URI to watch")
        identity = canonical(uri)
        await self._in_engine(lambda: self._engine.presence.watch(identity, True))

    async def unwatch(self, uri: str) -> None:
        """Watch *uri* no longer."""
        identity = canonical(uri)
        await self._in_engine(lambda: self._engine.presence.watch(identity, False))

    async def publish_presence(self, *, reachable: bool | None, note: str = "") -> None:
        """Tell those who watch us whether we can be reached (RFC 3903); None: tell them nothing any more.

        The server keeps it until the agent is closed. Raises ``StackError`` where the stack is pjsua2.
        """
        await self._in_engine(lambda: self._engine.presence.publish(reachable, note))

    async def call(self, uri: str, *, via: str | None = None) -> Call:
        """Get a ticket (cached or from the KMS), send the INVITE, and return the call in progress.

        *uri* is the identity called; the INVITE goes where it points, or to *via* (a SIP URI) when given.
        Raises ``CallFailed`` when no INVITE could be sent (KMS, policy, too many calls); failures after that
        are reported by ``Call.established`` and the ``call.end`` event. Raises ``LocalError`` for what is
        not a URI that can be called.
        """
        called = canonical(uri)
        plain = uri.rpartition("<")[2].partition(">")[0].strip()
        if not plain.lower().startswith("tel:"):
            self.config.sip.check_target(plain, "the URI to call")
        if via is not None:
            self.config.sip.check_target(via, "via")
        number = self._host.new_number()
        try:
            await self._room()
            grant = await self._grant_for(called, number)
            await self._room()
            driver = self._host.outgoing(number, uri.strip(), called, grant, via=via)
        except SipmikeyError as error:
            raise self._not_called(number, called, error) from None
        call = Call(driver, self._engine, self._host.outcomes)
        self._calls.add(call)
        try:
            await self._in_engine(lambda: driver.command(Start()))
        except SipmikeyError:
            raise CallFailed.of(await call.ended()) from None
        return call

    async def conference(self, *calls: Call) -> Conference:
        """Let the peers of *calls*, which are answered, hear each other; more may be added.

        Raises as ``Conference.add`` does; none of the calls is mixed then.
        """
        return await self._conferences.open(*calls)

    async def prefer_codecs(self, *names: str) -> None:
        """Offer and accept these codecs (``PCMU``, ``G722``, ...), best first, in what is negotiated next.

        A call under way changes with its next ``Call.refresh``.
        """
        codecs = tuple(name.upper() for name in names)
        await self._in_engine(lambda: self._engine.prefer_codecs(codecs))
        self._host.usable.codecs = codecs

    async def prefetch(self, uri: str) -> None:
        """Get a ticket for *uri* now, so that the next ``call`` needs no KMS. Raises ``CallFailed``."""
        try:
            await self._tickets.grants.prefetch(canonical(uri))
        except SipmikeyError as error:
            ending = Ending.of(error)
            raise CallFailed(ending.reason, ending.side, ending.status, ending.detail) from None

    async def send_ahead(self, uri: str) -> str:
        """Have *uri* resolve our ticket for it now, so that a call needs no KMS on either side.

        Returns the identity that resolved it, for which the KMS vouches. The KMS is asked for a ticket where
        none is kept; it must allow reuse. Raises ``CallFailed``, with ``no-answer`` where no device resolved
        it.
        """
        called = canonical(uri)
        try:
            grant = await self._tickets.grants.prefetch(called)
            assert self._outside.ahead is not None  # there is one wherever there is a ticket store
            return await self._outside.ahead.push(called, grant)
        except SipmikeyError as error:
            ending = Ending.of(error)
            raise CallFailed(ending.reason, ending.side, ending.status, ending.detail) from None

    def _send_message(self, uri: str, kind: str, text: str, headers: Headers) -> None:
        self._engine.post(lambda: self._engine.send_message(uri, kind, text, headers))

    @property
    def groups(self) -> GroupSessions:
        """The sessions of groups. Raises ``AgentError`` (``no-kms``) without a KMS."""
        if self._outside.groups is None:
            raise AgentError(Reason.NO_KMS, "no KMS is configured, and a group needs one", side="local")
        return self._outside.groups

    async def incoming(self) -> IncomingCall:
        """Wait for the next incoming call that passed the early checks and whose ticket the KMS resolved."""
        return await self._calls.incoming()

    def events(self) -> AsyncIterator[Event]:
        """Iterate over everything that happens from now on, until the agent is closed.

        Each iterator has its own queue, so several may run.
        """
        return self._listeners.listen()

    async def _in_engine(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._engine.submit(work))

    async def _room(self) -> None:
        """Wait until the stack can take a call without running out of socket handles."""
        deadline = time.monotonic() + _OCCUPIED_S
        streams = self.config.audio.streams
        while (wait_s := await self._in_engine(lambda: self._engine.ready_in(streams))) != 0.0:
            if wait_s is None or time.monotonic() > deadline:
                raise AgentError(
                    Reason.TOO_MANY_CALLS,
                    f"a process holds {MAX_CALLS} calls: use another process, or wait until one ends",
                    side="local",
                )
            await asyncio.sleep(wait_s)

    async def _grant_for(self, called: str, number: str) -> TicketGrant | None:
        if not first_kind(self.config.policy, called).needs_ticket:
            return None
        return await self._tickets.grants.take(called, number)

    def _not_called(self, number: str, called: str, error: SipmikeyError) -> CallFailed:
        """Tell that a call ended before its INVITE, and return it as an exception."""
        ending = Ending.of(error)
        for event in not_called(number, called, ending):
            self._publish(event)
        return CallFailed(ending.reason, ending.side, ending.status, ending.detail)

    def _publish(self, event: Event) -> None:
        self.sound.follow(event)
        ends = isinstance(event, CallEnded) and event.call in self._calls
        event = self._calls.follow(event)
        if ends and isinstance(event, CallEnded):
            self._drop_refused(event)
            self._requests.call_ended(event.call)
        self._listeners.publish(event)
        self._conferences.follow(event)
        self._repair.follow(event)

    def _drop_refused(self, end: CallEnded) -> None:
        """Drop a ticket that the peer, or the KMS that the peer asked, did not accept."""
        if self._tickets.store is not None and end.reason.family in (Family.KMS, Family.KEYING):
            self._tickets.store.forget(end.security.called or "")

    # What the engine's thread hands over

    def _deliver(self, outbox: list[Callable[[], None]]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_run_all, outbox)

    def _fetch(self, called: str) -> None:
        async def fetch() -> None:
            # The events of the KMS tell whether it came.
            with contextlib.suppress(CallFailed):
                await self.prefetch(called)

        self._requests.run(fetch())
