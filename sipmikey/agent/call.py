"""One call as the application sees it, in the event loop."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sipmikey.agent.driver.call_driver import CallDriver
from sipmikey.agent.driver.outcomes import Outcomes
from sipmikey.agent.engine import Engine
from sipmikey.agent.stack import StackCall, StackError
from sipmikey.agent.transfer import until_transferred
from sipmikey.call.callee import CalleeMachine, Invitation
from sipmikey.call.events import (
    CallAnswered,
    CallEnded,
    CallState,
    Event,
    MediaFailed,
    MediaProtection,
    Security,
    Stats,
)
from sipmikey.call.inputs import (
    Accept,
    Fault,
    GivenAway,
    Hangup,
    Input,
    Kind,
    Leave,
    Propose,
    Refer,
    Reject,
    Ring,
)
from sipmikey.call.reasons import AgentError, Reason, Side
from sipmikey.mikey.errors import LocalError, SipmikeyError

T = TypeVar("T")

_DIGITS = frozenset("0123456789*#ABCD")


class CallFailed(SipmikeyError):
    """A call could not be made, or ended. ``reason``, ``side``, ``status`` (SIP) and ``detail`` say why."""

    def __init__(self, reason: Reason, side: Side, status: int, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.side = side
        self.status = status
        self.detail = detail

    @classmethod
    def of(cls, ended: CallEnded) -> CallFailed:
        """Return *ended* as the failure that a waiting caller is told."""
        return cls(ended.reason, ended.side, ended.status, ended.detail)


class Call:
    """A call in progress, made by ``Agent.call`` or ``IncomingCall.answer``.

    ``number``: the agent's own number of the call, the ``call`` field of its events. Changes (``hold``,
    ``resume``, ``refresh``, ``rekey``) go to the peer one at a time: one that is asked for while another is
    under way waits for it, a third fails.
    """

    def __init__(self, driver: CallDriver, engine: Engine, outcomes: Outcomes) -> None:
        loop = asyncio.get_running_loop()
        self.number = driver.number
        self._driver = driver
        self._engine = engine
        self._outcomes = outcomes
        self._security = driver.machine.security
        self._established: asyncio.Future[None] = loop.create_future()
        self._proven: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[CallEnded] = loop.create_future()
        self._stats: Stats | None = None
        self._successor: Call | None = None

    @property
    def security(self) -> Security:
        """Signalling, media and peer, as they are now."""
        return self._security

    @property
    def successor(self) -> Call | None:
        """The call that the peer made of this one by a transfer; None when there is none, or it failed.

        This one ends once that one is established.
        """
        made = self._successor
        return None if made is None or (made._ended.done() and not made._established.done()) else made

    @property
    def answered(self) -> bool:
        """True once the call was established, even if it has ended since."""
        return self._established.done()

    @property
    def outgoing(self) -> bool:
        """True where this side called."""
        return not isinstance(self._driver.machine, CalleeMachine)

    @property
    def over(self) -> bool:
        """True when the call is over."""
        return self._ended.done()

    @property
    def gone(self) -> bool:
        """For the engine's thread: True when the call is over, also before the event loop knows that."""
        return self._driver.machine.over

    @property
    def live(self) -> StackCall:
        """The stack's call, for the engine's thread. Raises ``StackError`` when there is none."""
        return self._driver.live

    async def established(self) -> None:
        """Return when the call is answered and its media keyed; raises ``CallFailed``."""
        await self._unless_ended(self._established)

    async def proven(self) -> None:
        """Return when every stream received a packet that verified. Raises ``CallFailed`` on time-out."""
        await self._unless_ended(self._proven)

    async def ended(self) -> CallEnded:
        """Wait for the end of the call and say why it came. Never raises ``CallFailed``."""
        return await asyncio.shield(self._ended)

    async def hangup(self) -> CallEnded:
        """End the call (CANCEL or BYE) and wait until it is over."""
        self._tell(Hangup())
        return await self.ended()

    async def stats(self) -> Stats:
        """Packet counts now, or the final ones when the call is over."""
        if self._stats is not None:
            return self._stats
        streams = await self._do(self._driver.stats)
        return Stats(at=time.time(), call=self.number, streams=streams)

    async def hold(self) -> None:
        """Put the peer on hold (sendonly); returns when the peer agreed. Raises ``CallFailed``."""
        await self._propose(Kind.HOLD)

    async def resume(self) -> None:
        """Take the peer off hold. Raises ``CallFailed``."""
        await self._propose(Kind.RESUME)

    async def refresh(self, *, update: bool = False) -> None:
        """Offer again what is agreed, with the codecs now preferred; no key changes.

        *update* sends UPDATE (RFC 3311) instead of re-INVITE. Raises ``CallFailed``.
        """
        await self._propose(Kind.REFRESH, update=update)

    async def rekey(self, *, update: bool = False) -> None:
        """Replace the SRTP keys by a CSB update; returns when the peer answered. Raises ``CallFailed``.

        The agent does this by itself as often as the ticket demands (TRr). *update* sends UPDATE instead of
        re-INVITE.
        """
        await self._propose(Kind.REKEY, update=update)

    async def move(self, *, new_transports: bool) -> None:
        """Tell the peer where we are now, after our address changed. Raises ``CallFailed``.

        *new_transports*: with media transports, ICE and keys of their own; else the keys stay. The agent does
        this by itself.
        """
        await self._propose(Kind.RESTART if new_transports else Kind.MOVE)

    def leave_behind(self, detail: str) -> None:
        """End the call, which is not answered, because its peer cannot reach us any more.

        *detail* tells the user why. The agent does this by itself.
        """
        error = AgentError(Reason.TRANSPORT_FAILED, detail, side="network", sip_status=480)
        self._tell(Fault(error=error))

    async def _propose(self, kind: Kind, *, update: bool = False) -> None:
        token, done = self._outcomes.expect()
        proposal = Propose(kind=kind, token=token, update=update)
        try:
            await self._do(lambda: self._driver.take(proposal))
            await self._unless_ended(done)
        except AgentError as error:
            raise CallFailed(error.reason, error.side, error.sip_status, error.detail) from None
        except StackError as error:
            raise CallFailed(Reason.STACK_FAILED, "local", 0, error.detail) from None
        finally:
            done.cancel()

    async def send_dtmf(self, digits: str) -> None:
        """Send *digits* (0-9 * # A-D) as telephone events (RFC 4733), and let the user hear them.

        Raises ``LocalError``.
        """
        if not digits or not set(digits) <= _DIGITS:
            raise LocalError(f"{digits!r}: DTMF has the digits 0-9, *, # and A-D")

        def send() -> None:
            self._driver.live.dtmf(digits)
            self._engine.let_keys_be_heard(digits)

        await self._do(send)

    async def transfer(self, target: str | Call) -> None:
        """Have the peer call *target*, a URI or the peer of another call of this agent.

        The peer takes our place in the other call (Replaces, RFC 3891) where its peer allows that. Returns
        when the new call is answered; this call (and the other) is then hung up with the reason
        ``transferred``. Raises ``CallFailed`` when the peer declines or its call fails; this call goes on.
        """
        other = target._driver if isinstance(target, Call) else None
        uri = target if isinstance(target, str) else target._driver.machine.peer_uri
        plain = functools.partial(self._refer, uri, None)
        try:
            if other is None:
                await until_transferred(uri, plain)
            else:
                await until_transferred(uri, functools.partial(self._refer, uri, other), plain)
        except AgentError as error:
            raise CallFailed(error.reason, error.side, error.sip_status, error.detail) from None
        for call in (self, target):
            if isinstance(call, Call):
                call._tell(Leave())
                await call.ended()

    async def _refer(self, uri: str, replacing: CallDriver | None) -> int:
        """Send REFER; return the final status of the peer's new call, or of its refusal."""
        token, done = self._outcomes.expect()

        def refer() -> None:
            if replacing is not None:
                _give_away(replacing, given=True)
            self._driver.refer(Refer(target=uri, token=token, replacing=replacing is not None), replacing)

        try:
            await self._do(refer)
            await asyncio.wait((done, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise CallFailed.of(self._ended.result())
            status = done.result()
        finally:
            done.cancel()
        if replacing is not None and status // 100 != 2:
            self._engine.post(functools.partial(_give_away, replacing, given=False))
        return status

    def _tell(self, item: Input) -> None:
        def take() -> None:
            self._driver.take(item)

        self._engine.post(take)

    async def _do(self, work: Callable[[], T]) -> T:
        if self._ended.done():
            raise CallFailed.of(self._ended.result())
        return await asyncio.wrap_future(self._engine.submit(work))

    async def _unless_ended(self, future: asyncio.Future[Any]) -> None:
        await asyncio.wait((future, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            future.result()
            return
        raise CallFailed.of(self._ended.result())

    def followed_by(self, successor: Call | None) -> None:
        """Note the call that takes this one's place after a transfer; called by the agent."""
        self._successor = successor

    def take(self, event: Event) -> None:
        """Follow the call's own events; called by the agent, in order."""
        match event:
            case CallAnswered():
                self._security = event.security
                _settle(self._established, None)
                if event.security.media is MediaProtection.PROVEN:
                    _settle(self._proven, None)
            case CallState():
                self._security = event.security
                if event.security.media is MediaProtection.PROVEN:
                    _settle(self._proven, None)
            case MediaFailed():
                _settle(self._proven, CallFailed(event.reason, event.side, 0, event.detail))
            case Stats():
                self._stats = event
            case CallEnded():
                self._security = event.security
                if not self._ended.done():
                    self._ended.set_result(event)


def _give_away(driver: CallDriver, *, given: bool) -> None:
    driver.take(GivenAway(given=given))


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
        return
    future.set_exception(error)
    # A program that does not wait here learns of the failure by the events.
    future.exception()


class IncomingCall:
    """A call that rings: checked, and its ticket resolved (``security`` shows the caller vouched for).

    ``caller``, ``called``: canonical SIP URIs, as they stand in the INVITE.
    """

    def __init__(self, call: Call, invitation: Invitation) -> None:
        self.number = call.number
        self.caller = invitation.caller
        self.called = invitation.called
        self._call = call

    @property
    def security(self) -> Security:
        """Signalling, media and peer, as they are now."""
        return self._call.security

    @property
    def over(self) -> bool:
        """True when the caller gave up, or the call was rejected."""
        return self._call._driver.machine.over

    async def ring(self) -> None:
        """Send 180 Ringing."""
        await self._call._do(lambda: self._call._driver.command(Ring()))

    async def answer(self) -> Call:
        """Send 200 with TRANSFER_RESP, key the media, return the established call; raises ``CallFailed``."""
        self._call._tell(Accept())
        await self._call.established()
        return self._call

    async def reject(self, status: int = 603) -> None:
        """Refuse with a SIP *status* from 300 to 699 (486 busy, 603 decline); raises ``LocalError``."""
        self._call._tell(Reject(status=status))
        await self._call.ended()

    async def ended(self) -> CallEnded:
        """Wait until the caller gave up (or the call was rejected)."""
        return await self._call.ended()
