"""One call without I/O: what caller and callee have in common, from the answer to the end."""

from __future__ import annotations

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.attempt import Attempt
from sipmikey.call.ending import TRANSFERRED, Ending, tell_refused
from sipmikey.call.events import MediaProtection, Security
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.outbox import Outbox
from sipmikey.call.protection import Protection
from sipmikey.call.reasons import AgentError, Reason, status_of
from sipmikey.call.record import CallRecord
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import TABLE, CallState, Outcome
from sipmikey.call.streams import Streams
from sipmikey.call.unexpected import answer_unexpected
from sipmikey.call.within.renegotiation import Renegotiation, renews_keys
from sipmikey.call.within.transfer import Transfer
from sipmikey.mikey.errors import LocalError
from sipmikey.sdp.preconditions.negotiation import Preconditions
from sipmikey.ticket.environment import Environment


class CallMachine:
    """Base of ``CallerMachine`` and ``CalleeMachine``.

    ``take`` an input, and do what it returns, in order::

        for output in machine.take(Received(message=message)):
            carry_out(output)

    ``number``: names the call in its events. ``state``: where it is now.
    """

    calls = False

    def __init__(
        self, number: str, settings: CallSettings, env: Environment, attempt: Attempt, security: Security
    ) -> None:
        self.number = number
        self.state = CallState.NEW
        self._settings = settings
        self._env = env
        self._out = Outbox(number)
        self._attempt = attempt
        self._protection = Protection(self._out, settings.patience, security, calls=self.calls)
        self._renegotiation = Renegotiation(self._out, env.random, owner=self.calls)
        self._record = CallRecord(self._out)
        self._transfer = Transfer(self._out)
        self._conditions_within: Preconditions | None = None

    @property
    def security(self) -> Security:
        """How the call is protected now."""
        return self._protection.security

    @property
    def _streams(self) -> Streams:
        return self._protection.streams

    @property
    def over(self) -> bool:
        """True when nothing more follows."""
        return self.state is CallState.OVER

    @property
    def ending(self) -> Ending | None:
        """Why the call ends, once that is known."""
        return self._attempt.ending

    @property
    def peer_uri(self) -> str:
        """The URI by which others reach this call's peer."""
        return self.security.peer or self.security.called or ""

    def take(self, item: i.Input) -> tuple[o.Output, ...]:
        """Take an input; return what is to be done now, in order. Never raises."""
        self._out.now_ns = self._env.now_ns()
        if isinstance(item, i.Rang):
            if item.timer not in self._out.timers:
                return ()  # it was stopped, or started again, and rang on its way
            self._out.timers.discard(item.timer)
        row = TABLE[self.state].get(type(item))
        if row is None:
            answer_unexpected(item, self._out)
            return self._out.drain()
        try:
            outcome = self._handle(item)
        except Exception as error:  # noqa: BLE001 - it becomes the call's ending
            if isinstance(item, i.LocalDescription):
                self._out.put(o.Withhold(error=error))
            outcome = self._fail(error)
        self._move(row[outcome])
        if self.state is CallState.TALKING:
            self._renegotiation.go_on()
        return self._out.drain()

    def _move(self, state: CallState) -> None:
        if state is not self.state:
            self.state = state
            if state in (CallState.ENDING, CallState.OVER):
                self._let_go()
            if state is CallState.OVER:
                self._finish()

    def _handle(self, item: i.Input) -> Outcome:
        match item:
            case i.Hangup():
                return self._hang_up()
            case i.Leave():
                return self._leave()
            case i.Attached():
                return self._attached()
            case i.LocalDescription():
                self._out.put(o.Describe(sdp=self._describe(item)))
            case i.RemoteOffer():
                self._remote_offer(item)
            case i.StreamCreated():
                self._stream_created(item.index)
            case i.StreamKeyed():
                self._streams.keyed(item.index, item.before)
            case i.Counted():
                return self._counted(item.counts)
            case i.Sent():
                self._ended_by_stack(item.message)
                self._sent(item.message)
            case i.Received():
                return self._received(item.message)
            case i.Confirmed():
                self._attempt.confirmed = True
                return self._confirmed()
            case i.Disconnected():
                self._record.keep(item.counts)
                return self._disconnected(item.status, item.reason)
            case i.Fault():
                return self._fail(item.error)
            case i.NotSent():
                return self._not_sent(item.output, item.error)
            case i.Rang():
                return self._rang(item.timer)
            case _:
                self._handle_within(item)
        return Outcome.STAYS

    def _handle_within(self, item: i.Input) -> None:
        """Take an input about a request within the established call, of this side or of the peer."""
        match item:
            case i.Propose():
                self._propose(item)
            case i.Refer():
                self._transfer.refer(item)
            case i.TransferAsked():
                self._transfer_asked(item.target)
            case i.TransferProgress():
                self._transfer.progress(item)
            case i.ReplacementAsked():
                self._out.put(o.Permit())
            case i.Replaced():
                detail = "another call has this one's place"
                self._attempt.ending = Ending(
                    reason=Reason.REPLACED, side="remote", status=200, detail=detail
                )
            case i.GivenAway():
                self._transfer.given_away = item.given
            case i.DtmfHeard():
                self._out.tell(e.DtmfReceived, digit=item.digit)
            case _:
                raise LocalError(f"{type(item).__name__} is not for this side of a call")

    # Descriptions and messages

    def _attached(self) -> Outcome:
        self._attempt.attached = True
        return Outcome.STAYS

    def _describe(self, item: i.LocalDescription) -> str:
        sdp = item.sdp
        if self._renegotiation.answering and self._conditions_within is not None:
            sdp = self._conditions_within.describe(sdp)
        return self._renegotiation.describe(self._attempt.keying, sdp)

    def _remote_offer(self, item: i.RemoteOffer) -> None:
        """An offer within the call: one that must be refused leaves the call as it is."""
        try:
            self._settings.check_description(item.sdp)
            self._hear_within(item.sdp)
            self._renegotiation.receive_offer(self._attempt.keying, item.sdp)
        except Exception as error:  # noqa: BLE001 - it becomes the refusal
            self._refuse_offer(error)
        else:
            self._out.put(o.Permit())

    def _hear_within(self, sdp: str) -> None:
        """Take the preconditions of an offer within the call, in a call that no longer waits for any.

        Raises ``AgentError`` where one is not met: the call goes on as it is (RFC 3312 sections 6 and 8).
        """
        if not self._settings.preconditions or self.state is not CallState.TALKING:
            return
        heard = self._conditions_within = Preconditions.of_offer(sdp)
        if heard is not None and not heard.met:
            raise AgentError(Reason.PRECONDITION_FAILURE, f"not there within a call: {heard.missing}")

    def _refuse_offer(self, error: BaseException, to_tag: str = "") -> None:
        ending = self._refused(error, to_tag)
        self._out.put(o.Refuse(status=status_of(error), headers=ending.headers(self._settings.identity)))

    def _sent(self, message: i.Message) -> None:
        if message.method not in ("INVITE", "UPDATE") or self.state is CallState.ENDING:
            return
        agreement = self._renegotiation.sent(self._attempt.keying, message)
        if agreement is not None:
            self._bind(agreement, self._attempt.to_tag)

    def _ended_by_stack(self, message: i.Message) -> None:
        """Note why the stack ends the call by itself."""
        ends = not message.status and message.method in ("BYE", "CANCEL")
        if ends and self.state is not CallState.ENDING and self._attempt.ending is None:
            self._attempt.ending = Ending.by_stack(message)
            self._attempt.given_up_by_stack = self._attempt.ending is not None

    def _received(self, message: i.Message) -> Outcome:
        """Take a message within the established call."""
        attempt = self._attempt
        if message.method == "BYE" and not message.status:
            attempt.last = message
        if message.method not in ("INVITE", "UPDATE", "ACK"):
            return Outcome.STAYS
        if message.status >= 300:
            attempt.last = message
        if message.method == "INVITE" and message.status // 100 == 2:
            self._out.put(o.Acknowledge(to_tag=message.to_tag))
        if message.sdp is not None and (message.status // 100 in (1, 2) or message.method == "ACK"):
            self._settings.check_description(message.sdp)
        agreement = self._renegotiation.received(attempt.keying, message, attempt.to_tag)
        if agreement is not None:
            self._bind(agreement, attempt.to_tag)
        if message.status and self._renegotiation.answered(message):
            return self._unchanged()
        return Outcome.STAYS

    # Keys

    def _bind(self, agreement: Agreement, to_tag: str) -> None:
        """Run the streams on what branch *to_tag* agreed on."""
        self._protection.bind(self._attempt, agreement, to_tag)

    def _stream_created(self, index: int) -> None:
        attempt = self._attempt
        self._protection.created(attempt, index, answered=self._renegotiation.answer_made)
        if attempt.agreement is not None and self.state in (CallState.ANSWERING, CallState.TALKING):
            self._bind(attempt.agreement, attempt.to_tag)

    def _counted(self, counts: tuple[i.StreamCount, ...]) -> Outcome:
        self._protection.counted(self._attempt, counts)
        if self._streams.gone and self.state is CallState.TALKING:
            wait_s = self._settings.patience.gone
            detail = f"nothing of the peer verified for {wait_s:g} s"
            return self._end(Ending(reason=Reason.PEER_GONE, side="network", status=200, detail=detail))
        return Outcome.STAYS

    # The established call

    def _confirmed(self) -> Outcome:
        return Outcome.STAYS

    def _answered(self) -> Outcome:
        """The call is established: tell, open the audio, and expect the packet that proves the keys."""
        if self._streams.spent:
            self._renew()
        self._out.stop(o.Timer.SETUP, o.Timer.LATE)
        self._protection.established()
        if self.security.media is not MediaProtection.HELD:
            self._out.put(o.OpenAudio())
        self._record.tell_answered(self._attempt.to_tag, self.security)
        return Outcome.TALKS

    def _propose(self, item: i.Propose) -> None:
        try:
            keying = self._attempt.keying
            if renews_keys(item.kind, keying) and not keying.may_rekey:
                raise AgentError(Reason.POLICY, "the ticket lets only the peer give new keys", side="local")
            self._renegotiation.propose(item.kind, item.token, update=item.update)
        except AgentError as error:
            self._out.put(o.ChangeDone(token=item.token, error=error))

    def _transfer_asked(self, target: str) -> None:
        self._transfer.asked(target, allowed=self._attempt.keying.kind.may_transfer)

    def _rekey(self) -> None:
        """Replace the keys because of their age."""
        if not self._attempt.keying.may_rekey or self.state is not CallState.TALKING:
            return
        try:
            self._renegotiation.propose(i.Kind.REKEY, None)
        except AgentError:
            self._protection.rekeying.again()

    def _renew(self) -> None:
        """Ask for new keys, because the stack had those agreed on before; the media is held until then."""
        if not self._attempt.keying.may_rekey:
            detail = "the keys of this branch ran before, and the ticket lets only the peer give new ones"
            raise AgentError(Reason.KEY_EXPIRED, detail, side="local")
        self._renegotiation.propose(i.Kind.REKEY, None)

    def _unchanged(self) -> Outcome:
        """A change that the call itself asked for failed."""
        if self._attempt.keying.kind.gives_keys and not self._streams.running:
            detail = "the peer did not take the new keys or the description that the media waits for"
            return self._end(Ending(reason=Reason.KEY_EXPIRED, side="remote", status=200, detail=detail))
        self._protection.rekeying.again()
        return Outcome.STAYS

    def _rang(self, timer: o.Timer) -> Outcome:
        match timer:
            case o.Timer.LOOK:
                self._streams.look()
            case o.Timer.PROOF:
                self._streams.unproven()
            case o.Timer.REKEY:
                self._rekey()
            case o.Timer.EXPIRE:
                return self._expired()
            case o.Timer.GLARE:
                if self._renegotiation.again(self._attempt.keying):
                    return self._unchanged()
            case o.Timer.SETUP | o.Timer.LATE:
                """Those of a caller."""
        return Outcome.STAYS

    def _expired(self) -> Outcome:
        """The keys were not replaced in time: they are no longer used, and the call ends."""
        detail = "the ticket's rekeying interval (TRr) is over, and there are no new keys"
        self._streams.expire(detail)
        self._protection.unbind(self._attempt)
        return self._end(Ending(reason=Reason.KEY_EXPIRED, side="local", status=200, detail=detail))

    # The end

    def _refused(self, error: BaseException, to_tag: str = "") -> Ending:
        """Tell that a MIKEY message or description of the peer was refused."""
        return tell_refused(self._out, error, to_tag)

    def _fail(self, error: BaseException) -> Outcome:
        """End the call because of *error*; the peer is told why."""
        if self.state in (CallState.ENDING, CallState.OVER):
            return self._end(Ending.of(error))
        return self._end(self._refused(error))

    def _end(self, ending: Ending) -> Outcome:
        """End the call for a reason found on this side."""
        attempt = self._attempt
        if attempt.ending is None:
            attempt.ending = ending
        if not attempt.attached:
            return Outcome.FINISHES
        if self.state is not CallState.ENDING:
            headers = ending.headers(self._settings.identity)
            to_tag = attempt.branches.committed or ""
            sdp = self._explained(ending)
            self._out.put(o.EndInvite(status=ending.status, to_tag=to_tag, headers=headers, sdp=sdp))
            return Outcome.ENDS
        return Outcome.STAYS

    def _explained(self, ending: Ending) -> str | None:
        """Return a description that tells the peer why, None where a description cannot tell the reason."""
        return None

    def _hang_up(self) -> Outcome:
        """End the call because the user wants it."""
        attempt = self._attempt
        attempt.given_up = True
        early = not (attempt.confirmed or self._record.answered)
        if attempt.ending is None:
            attempt.ending = Ending(
                reason=Reason.CANCELLED if early else Reason.HANGUP,
                side="local",
                status=487 if early else 200,
                detail="hung up here",
            )
        if not attempt.attached:
            return Outcome.FINISHES
        self._out.stop(o.Timer.LATE)
        self._out.put(o.EndInvite(to_tag=attempt.branches.committed or ""))
        return Outcome.ENDS

    def _leave(self) -> Outcome:
        """End the call because its peer was transferred."""
        if self._attempt.ending is None:
            self._attempt.ending = TRANSFERRED
        return self._hang_up()

    def _not_sent(self, output: o.Output, error: BaseException) -> Outcome:
        match output:
            case o.EndInvite():
                # What was to end may be an INVITE before the present one.
                return Outcome.FINISHES if self.state is CallState.ENDING else Outcome.STAYS
            case o.Answer() if self.state is CallState.ENDING:
                return Outcome.FINISHES
            case o.Reinvite() | o.Update():
                if self._renegotiation.not_sent(self._attempt.keying, error):
                    return self._unchanged()
                return Outcome.STAYS
            case o.SendRefer():
                self._transfer.not_sent()
                return Outcome.STAYS
            case o.Answer(status=status) if status < 200:
                return Outcome.STAYS
        return self._fail(error)

    def _disconnected(self, status: int, reason: str) -> Outcome:
        attempt = self._attempt
        attempt.attached = False
        if attempt.ending is None:
            answered = self._record.answered or attempt.branches.any
            ending = Ending.by_peer(attempt.last, status, reason, answered=answered)
            by_transfer = self._transfer.given_away and ending.reason is Reason.HANGUP
            attempt.ending = TRANSFERRED if by_transfer else ending
        return Outcome.FINISHES

    def _let_go(self) -> None:
        """Erase the keys: only the last message of the peer is still needed."""
        attempt = self._attempt
        attempt.keying.close()
        attempt.branches.close()
        attempt.agreement = None
        self._protection.forget()
        self._renegotiation.forget(attempt.ending)

    def _finish(self) -> None:
        """Stop the timers, and tell the end."""
        attempt = self._attempt
        self._out.stop(*tuple(self._out.timers))
        self._transfer.forget()
        ending = attempt.ending
        assert ending is not None
        self._record.tell_ended(ending, self.security, confirmed=attempt.confirmed)
