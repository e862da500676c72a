"""The driver of one call: it carries the machine's outputs out on the SIP stack, and gives it inputs."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from typing import Literal, Protocol

from sipmikey.agent.driver.started_keys import StartedKeys
from sipmikey.agent.engine import Engine
from sipmikey.agent.stack import CallObserver, Lane, OfferVerdict, Phase, StackCall, StackError
from sipmikey.agent.tickets.requests import Requests
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.callee import CalleeMachine
from sipmikey.call.caller import CallerMachine
from sipmikey.call.events import Event, StreamStats
from sipmikey.call.keying.lanes import SrtpKeys
from sipmikey.call.reasons import AgentError, Reason, telling
from sipmikey.call.streams import stream_stats
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.sip import SipMalformed, SipMessage

_ANSWERS = (o.Describe, o.Withhold, o.Permit, o.Refuse)
_ON_A_CLEAN_STACK = (o.EndInvite, o.Invite, o.Reinvite, o.Update)
"""Outputs that must not be carried out within one of the stack's callbacks."""


class CallHost(Protocol):
    """What a call needs of the agent. Called in the engine's thread."""

    def emit(self, event: Event) -> None:
        """Something happened in a call."""

    def call_rings(self, driver: CallDriver) -> None:
        """The call is judged, its ticket resolved: the user may answer."""

    def change_done(self, token: int, error: BaseException | None) -> None:
        """A change that was proposed is over."""

    def refer_done(self, token: int, status: int) -> None:
        """A transfer that was asked for is over."""

    def transfer(self, number: str, target: str) -> CallObserver | int:
        """Judge the REFER of call *number*'s peer to *target*; returns what ``transfer_requested`` does."""

    def replace(self, number: str, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        """Judge an INVITE that is to replace call *number*; returns what ``replacement_asked`` does."""


class CallDriver:
    """One call in the engine's thread; the observer of the stack's.

    *streams*: audio streams that its INVITE offers. *waits*: the engine stands still while the KMS is asked,
    because the stack's answer cannot wait. *started*: the keys that any call of the agent had.
    """

    def __init__(
        self,
        machine: CallerMachine | CalleeMachine,
        engine: Engine,
        requests: Requests,
        host: CallHost,
        *,
        started: StartedKeys,
        streams: int = 1,
        waits: bool = False,
    ) -> None:
        self.machine = machine
        self.number = machine.number
        self.call: StackCall | None = None
        self._engine = engine
        self._requests = requests
        self._host = host
        self._started = started
        self._streams = streams
        self._waits = waits
        self._outputs: deque[o.Output] = deque()
        self._working = False
        self._callbacks = 0
        self._timers: dict[o.Timer, int] = {}
        self._timer_number = 0
        self._last_error: SipmikeyError | None = None
        self._replacing: CallDriver | None = None
        self._located: dict[str, str] = {}
        self._offered_by = ""

    # The program's side

    @property
    def live(self) -> StackCall:
        """The stack's call; raises ``StackError`` when there is none."""
        if self.call is None:
            raise StackError("there is no call yet")
        return self.call

    def take(self, item: i.Input) -> tuple[o.Output, ...]:
        """Give the machine an input, and carry its outputs out; return the one that answers the input."""
        outputs = self.machine.take(item)
        self._put(outputs)
        return tuple(output for output in outputs if isinstance(output, _ANSWERS))

    def command(self, item: i.Input) -> None:
        """Give the machine an input of the program. Raises the error with which the stack refused."""
        self._last_error = None
        self.take(item)
        error, self._last_error = self._last_error, None
        if error is not None:
            raise error

    def refer(self, item: i.Refer, replacing: CallDriver | None) -> None:
        """Have the peer call another party, in the place of *replacing* where given.

        Raises as ``command`` does.
        """
        self._replacing = replacing
        self.command(item)

    def stats(self) -> tuple[StreamStats, ...]:
        """Return the packet counts so far; none where there is no INVITE under way."""
        return () if self.call is None else stream_stats(self.call.counts())

    # Outputs of the machine

    def _put(self, outputs: Iterable[o.Output]) -> None:
        for output in outputs:
            if self._callbacks and isinstance(output, _ON_A_CLEAN_STACK):
                self._engine.post(functools.partial(self._later, output))
            elif not isinstance(output, _ANSWERS):
                self._outputs.append(output)
        if not self._working:
            self._work()

    def _later(self, output: o.Output) -> None:
        self._put((output,))

    def _work(self) -> None:
        self._working = True
        try:
            while self._outputs:
                self._attempt(self._outputs.popleft())
        finally:
            self._working = False

    def _attempt(self, output: o.Output) -> None:
        try:
            self._carry_out(output)
        except SipmikeyError as error:
            # The traceback would keep the stack's call alive beyond its end.
            self._last_error = failure = error.with_traceback(None)
            failure.__context__ = None
            self._put(self.machine.take(i.NotSent(output=output, error=failure)))

    def _carry_out(self, output: o.Output) -> None:
        match output:
            case o.Tell():
                self._host.emit(output.event)
            case o.StartTimer():
                self._start(output.timer, output.after_s)
            case o.StopTimer():
                self._timers.pop(output.timer, None)
            case o.Count():
                self.take(i.Counted(counts=() if self.call is None else self.call.counts()))
            case o.AskKms():
                self._requests.ask_kms(self.number, output, self.take, wait=self._waits)
            case o.AskTicket():
                self._requests.ask_ticket(self.number, output, self.take)
            case o.AskUser():
                self._requests.ask_user(output, self.take)
            case o.Rings():
                self._host.call_rings(self)
            case o.ChangeDone():
                self._host.change_done(output.token, output.error)
            case o.ReferDone():
                self._host.refer_done(output.token, output.status)
            case o.Invite():
                self._invite(output)
            case _:
                self._ask_stack(output)

    def _ask_stack(self, output: o.Output) -> None:
        match output:
            case o.Key():
                self._key(output.index, output.keys)
            case o.EndInvite():
                if self.call is not None:
                    self.call.hangup(output.status, headers=output.headers, sdp=output.sdp)
            case o.Unkey() if self.call is not None:
                self.call.unkey()
            case o.OpenAudio() if self.call is not None:
                self.call.connect_audio()
            case o.Answer():
                self.live.answer(output.status, sdp=output.sdp, headers=output.headers)
            case o.Reinvite():
                self.live.reinvite(
                    hold=output.hold, unhold=output.unhold, moved=output.moved, restart=output.restart
                )
            case o.Update():
                self.live.update()
            case o.SendRefer():
                replacing = self._replacing.live if self._replacing and output.replacing else None
                self.live.transfer(output.target, replacing)
            case o.EndBranch() if self.call is not None:
                self.call.end_branch(output.to_tag, headers=output.headers)
            case o.Acknowledge():
                """The stacks acknowledge each 2xx."""

    def _key(self, index: int, keys: SrtpKeys) -> None:
        live = self.live
        self._started.start(keys)
        before = live.key(index, keys)
        self.take(i.StreamKeyed(index=index, before=before))

    def _invite(self, output: o.Invite) -> None:
        """Send an INVITE as soon as the stack has room for its streams."""
        if self.machine.over:
            return
        wait_s = self._engine.ready_in(self._streams)
        if wait_s is None:
            detail = "the calls of this process were taken by others in between"
            raise AgentError(Reason.TOO_MANY_CALLS, detail, side="local")
        if wait_s:
            self._engine.later(wait_s, functools.partial(self._later, output))
            return
        goes_to = output.via or output.uri
        # Keys in a description leave over TLS or not at all, whatever DNS says: the account sees to that.
        located = "" if output.lane is Lane.BY_STACK else self._located.get(goes_to)
        if located is None and self._requests.locates(goes_to):
            self._requests.locate(goes_to, functools.partial(self._told_where, output, goes_to))
            return
        self._engine.call(output.uri, output.lane, self, output.headers, via=located or output.via)

    def _told_where(self, output: o.Invite, goes_to: str, outcome: str | BaseException) -> None:
        if isinstance(outcome, str):
            self._located[goes_to] = outcome
            self._later(output)
        else:
            self._put(self.machine.take(i.NotSent(output=output, error=outcome)))

    def _start(self, timer: o.Timer, after_s: float) -> None:
        self._timer_number += 1
        number = self._timers[timer] = self._timer_number

        def ring() -> None:
            if self._timers.get(timer) == number:
                del self._timers[timer]
                self.take(i.Rang(timer=timer))

        self._engine.later(after_s, ring)

    # CallObserver: what the stack tells

    def _told(self, item: i.Input) -> tuple[o.Output, ...]:
        self._callbacks += 1
        try:
            return self.take(item)
        finally:
            self._callbacks -= 1

    def on_attached(self, call: StackCall) -> None:
        self.call = call
        self._told(i.Attached())

    def on_local_sdp(self, sdp: str, remote: str) -> str:
        for answer in self._told(i.LocalDescription(sdp=sdp, remote=remote)):
            if isinstance(answer, o.Describe):
                return answer.sdp
            if isinstance(answer, o.Withhold):
                raise answer.error
        raise StackError("the call has no description for this")

    def on_remote_offer(self, sdp: str) -> OfferVerdict:
        refused = [
            answer
            for answer in self._told(i.RemoteOffer(sdp=sdp, to_tag=self._offered_by))
            if isinstance(answer, o.Refuse)
        ]
        return (
            OfferVerdict(status=refused[0].status, headers=refused[0].headers) if refused else OfferVerdict()
        )

    def _status(self, item: i.Input) -> int:
        refusals = [answer.status for answer in self._told(item) if isinstance(answer, o.Refuse)]
        return refusals[0] if refusals else 200

    def on_stream_created(self, index: int) -> None:
        self._told(i.StreamCreated(index=index))

    def on_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        kind = i.Sent if direction == "sent" else i.Received
        if direction == "received" and not message.status:
            # The machine gets the message before the offer in it.
            self._offered_by = message.tag("from")
        self._told(kind(message=message_of(message)))

    def on_phase(self, phase: Phase, status: int, reason: str) -> None:
        if phase is Phase.CONFIRMED:
            self._told(i.Confirmed())
        elif phase is Phase.DISCONNECTED:
            call, self.call = self.call, None
            counts = () if call is None else call.counts()
            self._told(i.Disconnected(status=status, reason=reason, counts=counts))

    def on_dtmf(self, digit: str) -> None:
        self._told(i.DtmfHeard(digit=digit))

    def on_transfer_requested(self, target: str) -> CallObserver | int:
        status = self._status(i.TransferAsked(target=target))
        return self._host.transfer(self.number, target) if status == 200 else status

    def on_transfer_progress(self, status: int, final: bool) -> None:
        self._told(i.TransferProgress(status=status, final=final))

    def on_replacement_asked(self, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        status = self._status(i.ReplacementAsked())
        return self._host.replace(self.number, invite, source, lane) if status == 200 else status

    def on_replaced(self) -> None:
        self._told(i.Replaced())

    def on_failed(self, error: BaseException) -> None:
        self._told(i.Fault(error=error))


def message_of(message: SipMessage) -> i.Message:
    """Return what a call has to know of *message*."""
    contacts: tuple[i.Contact, ...] = ()
    malformed = ""
    if 300 <= message.status < 400:
        try:
            contacts = tuple(i.Contact(uri=contact.uri, q=contact.q) for contact in message.contacts())
        except SipMalformed as error:
            malformed = f"malformed Contact: {error}"
    return i.Message(
        method=message.method,
        status=message.status,
        to_tag=message.to_tag,
        sdp=message.sdp if message.has_sdp else None,
        transport=message.transport,
        warning=telling(message.warnings),
        reason=message.reason,
        cause=message.cause,
        phrase=message.start_line.partition(" ")[2] if message.status else "",
        contacts=contacts,
        malformed=malformed,
        call_id=message.first("call-id") or "",
        reliable=100 < message.status < 200 and message.first("rseq") is not None,
    )
