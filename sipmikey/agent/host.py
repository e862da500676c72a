"""What the engine's thread tells the agent and asks of it: new calls, messages, changes, transfers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace

from sipmikey.agent.call import Call
from sipmikey.agent.calls import Calls
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.driver.call_driver import CallDriver
from sipmikey.agent.driver.outcomes import Outcomes
from sipmikey.agent.driver.started_keys import StartedKeys
from sipmikey.agent.engine import Engine
from sipmikey.agent.incoming_calls import IncomingCalls
from sipmikey.agent.outside_calls import OutsideCalls
from sipmikey.agent.settings import UsableHere, call_settings, keyings
from sipmikey.agent.stack import CallObserver, Lane
from sipmikey.agent.tickets.keeping import TicketKeeping
from sipmikey.agent.tickets.requests import Requests
from sipmikey.agent.transfer import NOT_YET
from sipmikey.call.callee import CalleeMachine, Invitation
from sipmikey.call.caller import CallerMachine
from sipmikey.call.events import Event, TransferRequested
from sipmikey.call.inputs import Start
from sipmikey.call.keying.keying import Keying
from sipmikey.call.keying.permission import first_kind
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import SipMessage
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.request import TicketGrant


class Host:
    """Makes the drivers of calls, and hands what they tell to the event loop.

    Called in the engine's thread, but for `outgoing`, which may be called in either. In the event loop,
    *publish* tells an event, *registered* takes what the registrar answered (status, reason, expiry), and
    *fetch* begins to get a ticket.
    """

    def __init__(
        self,
        config: AgentConfig,
        env: Environment,
        engine: Engine,
        requests: Requests,
        tickets: TicketKeeping,
        outside: OutsideCalls,
        calls: Calls,
        *,
        publish: Callable[[Event], None],
        registered: Callable[[int, str, int], None],
        fetch: Callable[[str], None],
    ) -> None:
        self._config = config
        self._env = env
        self._engine = engine
        self._requests = requests
        self._tickets = tickets
        self._outside = outside
        self._calls = calls
        self._publish = publish
        self._registered = registered
        self._fetch = fetch
        self._started = StartedKeys()
        self.usable = UsableHere(config)
        self._settings = call_settings(config, self.usable)
        self._keyings = keyings(config, env, tickets.resolved)
        self._numbers = itertools.count(1)
        self.outcomes = Outcomes()
        self.incoming = IncomingCalls(config, self._keyings, self, engine.post, self.usable)

    # New calls

    def new_number(self) -> str:
        """Return a new number for a call; from either thread."""
        return str(next(self._numbers))

    def outgoing(
        self,
        number: str,
        uri: str,
        called: str,
        grant: TicketGrant | None,
        *,
        via: str | None = None,
        redirects: int | None = None,
    ) -> CallDriver:
        """Return the driver of a new call to *uri*, with a *grant* where its keying needs a ticket."""
        settings = self._settings if redirects is None else replace(self._settings, redirects=redirects)
        kind = first_kind(self._config.policy, called)
        machine = CallerMachine(
            number,
            settings,
            self._env,
            self._keyings,
            uri=uri,
            called=called,
            grant=grant,
            kind=kind,
            via=via,
        )
        return self._driver(machine)

    def _driver(self, machine: CallerMachine | CalleeMachine, *, waits: bool = False) -> CallDriver:
        streams = self._config.audio.streams
        return CallDriver(
            machine, self._engine, self._requests, self, started=self._started, streams=streams, waits=waits
        )

    def new_driver(
        self,
        invitation: Invitation,
        keying: Keying | None,
        *,
        refusal: BaseException | None = None,
        replacing: bool = False,
    ) -> CallDriver:
        """Return the driver of a new incoming call."""
        machine = CalleeMachine(
            self.new_number(),
            self._settings,
            self._env,
            invitation,
            keying,
            refusal=refusal,
            replacing=replacing,
        )
        return self._driver(machine, waits=replacing)

    # What is told and asked

    def _hand_over(self, work: Callable[[], None]) -> None:
        self._engine.hand_out(work)

    def emit(self, event: Event) -> None:
        """Something happened."""
        self._hand_over(lambda: self._publish(event))

    def call_arrived(self, driver: CallDriver) -> None:
        """From here on the call's events have a ``Call`` that follows them."""
        self._hand_over(lambda: self._add(driver))

    def call_rings(self, driver: CallDriver) -> None:
        """The call is ready for the user."""
        self._hand_over(lambda: self._calls.ring(driver))

    def change_done(self, token: int, error: BaseException | None) -> None:
        """A change that was proposed is over."""
        self._hand_over(lambda: self.outcomes.settle(token, error or 0))

    def refer_done(self, token: int, status: int) -> None:
        """A transfer that was asked for is over."""
        self._hand_over(lambda: self.outcomes.settle(token, status))

    def mikey_arrived(self, sender: str, body: bytes) -> None:
        """A MIKEY message came without a call."""
        if (ahead := self._outside.ahead) is not None:
            self._hand_over(lambda: self._requests.run(ahead.take(sender, body)))

    def group_arrived(self, sender: str, body: bytes) -> None:
        """A message about a group's session came."""
        if (groups := self._outside.groups) is not None:
            self._hand_over(lambda: self._requests.run(groups.take(sender, body)))

    def registration(self, status: int, reason: str, expires_s: int) -> None:
        """The registrar answered."""
        self._hand_over(lambda: self._registered(status, reason, expires_s))

    def replace(self, number: str, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        """An INVITE wants the place of call *number*."""
        return self.incoming.replacement(number, invite, source, lane)

    def transfer(self, number: str, target: str) -> CallObserver | int:
        """The peer of call *number* asks us to call *target*."""
        outcome, new_call = self._judge_transfer(target)
        status = outcome if isinstance(outcome, int) else 202
        self.emit(
            TransferRequested(
                at=time.time(), call=number, target=target.partition("?")[0], status=status, new_call=new_call
            )
        )
        return outcome

    def _judge_transfer(self, target: str) -> tuple[CallObserver | int, str]:
        policy = self._config.policy
        try:
            called = canonical(target)
        except LocalError:
            return 400, ""
        if not policy.transfer:
            return 603, ""
        grant = None
        kind = first_kind(policy, called)
        if not kind.may_transfer:
            return 488, ""
        if kind.needs_ticket:
            if self._tickets.store is None:
                return 503, ""
            grant = self._tickets.store.at_hand(called)
            if grant is None:
                self._hand_over(lambda: self._fetch(called))
                return NOT_YET, ""
        number = self.new_number()
        # The stack tells the peer how the first INVITE ends: the call has no other end than that.
        driver = self.outgoing(number, target, called, grant, redirects=0)
        self._hand_over(lambda: self._add(driver))
        driver.take(Start(by_stack=True))
        return driver, number

    def _add(self, driver: CallDriver) -> None:
        self._calls.add(Call(driver, self._engine, self.outcomes))
