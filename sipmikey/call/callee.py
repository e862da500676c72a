"""The callee's side: early checks, the question to the KMS, the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.attempt import Attempt
from sipmikey.call.ending import Ending
from sipmikey.call.events import Security
from sipmikey.call.keying.agreement import Agreement, KmsQuestion
from sipmikey.call.keying.keying import Keying
from sipmikey.call.keying.mikey_description import tell_mikey
from sipmikey.call.keying.no_keying import NoKeying
from sipmikey.call.machine import CallMachine
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState, Outcome
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sdp.preconditions.negotiation import Preconditions
from sipmikey.ticket.environment import Environment

_SERVICE_UNAVAILABLE = 503
_INTERNAL_ERROR = 500
_REQUEST_TERMINATED = 487
_NO_SUCH_CALL = 481


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An INVITE that came in. ``caller``: canonical. ``called``: as in To. ``sdp`` None: no offer.

    ``display_name``: that of From.
    """

    caller: str
    called: str
    sdp: str | None
    transport: str = "udp"
    sip_call_id: str = ""
    display_name: str = ""


class CalleeMachine(CallMachine):
    """A call that *invitation* asks for, keyed by *keying*.

    *refusal*: why it is refused immediately. *replacing*: it takes the place of another call
    (Replaces, RFC 3891): the user is not asked, and the stack's own answer goes out as soon as it is judged.
    """

    def __init__(
        self,
        number: str,
        settings: CallSettings,
        env: Environment,
        invitation: Invitation,
        keying: Keying | None = None,
        *,
        refusal: BaseException | None = None,
        replacing: bool = False,
    ) -> None:
        keying = keying or NoKeying()
        security = Security(signalling=invitation.transport, media=keying.kind.unkeyed)
        # An INVITE that replaces another call is judged before the stack has a call for it.
        attempt = Attempt(keying=keying, attached=not replacing)
        super().__init__(number, settings, env, attempt, security)
        self.invitation = invitation
        self._refusal = refusal
        self._replacing = replacing
        self._asked = ""
        self._tries = 0
        self._own_sdp: str | None = None
        self._record.call_id = invitation.sip_call_id
        self._conditions = (
            Preconditions(ours=True, offers=False) if settings.preconditions and not replacing else None
        )
        self._answered_early = self._accepted = False

    def _handle(self, item: i.Input) -> Outcome:
        match item:
            case i.Start():
                return self._judge() if self._refusal is None else self._turn_away(self._refusal)
            case i.KmsAnswered():
                return self._resolved(item.response, item.elapsed_ms)
            case i.KmsFailed():
                if self._may_ask_again(item.error):
                    return self._ask_again()
                return self._kms_failed(item.error)
            case i.Ring():
                self._out.put(o.Answer(status=180))
                return Outcome.STAYS
            case i.Accept():
                return self._accept()
            case i.Reject():
                return self._reject(item.status)
            case i.LocalDescription() if self.state is CallState.RINGING and self._replacing:
                self._out.put(o.Describe(sdp=self._complete(item.sdp)))
                return Outcome.ANSWERS
        return super()._handle(item)

    # Judging the offer

    def _turn_away(self, error: BaseException) -> Outcome:
        """Refuse the call immediately."""
        ending = self._attempt.ending = self._refused(error)
        if ending.side == "local":
            self._out.tell(e.PolicyRefused, reason=ending.reason, side=ending.side, detail=ending.detail)
        headers = ending.headers(self._settings.identity)
        if ending.status == _SERVICE_UNAVAILABLE:
            headers += (("Retry-After", "1"),)
        self._out.put(o.Answer(status=ending.status, headers=headers))
        return Outcome.ENDS

    def _judge(self) -> Outcome:
        """Check the offer as far as that goes without the KMS."""
        keying, sdp = self._attempt.keying, self.invitation.sdp
        tell_mikey(self._out, e.MikeyReceived, sdp, to_tag="")
        if self._conditions is not None and sdp is not None:
            self._conditions.hear_offer(sdp)
            if self._own_sdp is not None:
                self._conditions.reject(self._own_sdp)
        facts = keying.receive_offer(sdp)
        self._protection.show(called=facts.called, kms=facts.kms, ticket=facts.ticket)
        self._out.tell(
            e.CallIn,
            caller=self.invitation.caller,
            called=self.invitation.called,
            sip_call_id=self.invitation.sip_call_id,
            display_name=self.invitation.display_name,
        )
        kind = keying.kind
        if kind.name is not None and kind.alternatives:
            self._out.tell(
                e.PolicyAlternative, keying=kind.name, reason=Reason.KEY_MGMT_MISSING, side="remote",
                detail=kind.words.offered,
            )  # fmt: skip
        return self._next()

    def _next(self) -> Outcome:
        """Have the next ticket resolved; when all are, the call rings."""
        question = self._attempt.keying.question()
        if question is not None:
            self._ask_kms(question)
            return Outcome.RESOLVES
        if self._attempt.keying.kind.vouches:
            waits = self._replacing or self._waits
            self._protection.show(state=None if waits else "ringing", peer=self.invitation.caller)
        if self._waits:
            self._answer_early()
        elif not self._replacing:
            self._out.put(o.Rings())
        return Outcome.RINGS

    # Preconditions

    @property
    def _waits(self) -> bool:
        """True while the user is not to be alerted (RFC 3312 section 6)."""
        return self._conditions is not None and not self._conditions.met

    def _answer_early(self) -> None:
        """Answer in a reliable 183, and wait until the caller tells that its resources are there."""
        conditions = self._conditions
        assert conditions is not None
        if not conditions.may_be_met or self._own_sdp is None:
            raise AgentError(Reason.PRECONDITION_FAILURE, f"cannot be met: {conditions.missing}")
        self._answered_early = True
        self._out.put(o.Answer(status=183, sdp=self._complete(self._own_sdp)))
        self._out.start(o.Timer.SETUP, self._settings.patience.setup)

    def _remote_offer(self, item: i.RemoteOffer) -> None:
        if self.state is CallState.RINGING and not self._answered_early:
            self._out.put(o.Refuse(status=_NO_SUCH_CALL))
            return
        if self._conditions is not None and self.state is not CallState.TALKING:
            try:
                self._conditions.hear_offer(item.sdp)
            except PeerError as error:
                self._refuse_offer(error)
                return
        super()._remote_offer(item)

    def _rang(self, timer: o.Timer) -> Outcome:
        if timer is o.Timer.SETUP and self.state is CallState.RINGING:
            assert self._conditions is not None
            detail = f"the caller did not bring what it requires: {self._conditions.missing}"
            return self._end(Ending.of(AgentError(Reason.PRECONDITION_FAILURE, detail)))
        return super()._rang(timer)

    def _explained(self, ending: Ending) -> str | None:
        if ending.reason is not Reason.PRECONDITION_FAILURE or self._conditions is None:
            return None
        return self._conditions.refusal()

    def _stated(self, sdp: str) -> str:
        """Return our description with the state of our resources (RFC 3312)."""
        return sdp if self._conditions is None else self._conditions.describe(sdp)

    def _ask_kms(self, question: KmsQuestion) -> None:
        self._asked = question.asked
        self._out.put(o.AskKms(exchange="ticket-resolve", message=question.message, kms=question.kms))

    def _may_ask_again(self, error: BaseException) -> bool:
        """True where the KMS may have taken the message before the connection broke, for the first time."""
        return bool(getattr(error, "ask_again", False)) and not self._tries

    def _ask_again(self) -> Outcome:
        """Ask with a fresh message, which is not a replay."""
        self._tries += 1
        question = self._attempt.keying.question()
        assert question is not None
        self._ask_kms(question)
        return Outcome.STAYS

    def _kms_failed(self, error: BaseException) -> Outcome:
        """Refuse the call because of the KMS, not of the caller."""
        return self._end(replace(Ending.of(error), status=_INTERNAL_ERROR))

    def _resolved(self, response: bytes, elapsed_ms: float) -> Outcome:
        try:
            answerer = self._attempt.keying.receive_kms(response)
        except AgentError as error:
            if error.side != "kms":
                raise
            self._out.tell(
                e.KmsFailed,
                exchange="ticket-resolve",
                kms=self._asked,
                reason=error.reason,
                side=error.side,
                detail=str(error),
            )
            return self._kms_failed(error)
        self._out.tell(
            e.KmsResponse,
            exchange="ticket-resolve",
            kms=self._asked,
            size=len(response),
            elapsed_ms=elapsed_ms,
            answerer=answerer,
        )
        return self._next()

    # The answer

    def _describe(self, item: i.LocalDescription) -> str:
        if self._renegotiation.answering and self.state is not CallState.TALKING:
            item = replace(item, sdp=self._stated(item.sdp))
        keying = self._attempt.keying
        answered = self.state is CallState.ANSWERING and keying.kind.gives_keys
        if self.state is CallState.TALKING or answered or self._renegotiation.answering:
            return super()._describe(item)
        if keying.kind.gives_keys:
            # The stack makes its answer when the call comes in; it is sent, completed, when the user answers.
            self._own_sdp = item.sdp
            return item.sdp
        text, self._attempt.agreement = keying.make_answer(self._stated(item.sdp))
        return text

    def _bind(self, agreement: Agreement, to_tag: str) -> None:
        """Run the streams on what was agreed on, but not before the user has taken the call.

        Nothing is sent or played while the call waits for preconditions, the microphone's sound least of all
        (RFC 3312 section 6).
        """
        if self._answered_early and self.state is CallState.RINGING and not self._accepted:
            self._attempt.agreement, self._attempt.to_tag = agreement, to_tag
            return
        super()._bind(agreement, to_tag)

    def _accept(self) -> Outcome:
        described = self._own_sdp is not None or self._answered_early or self._replacing
        if self._attempt.keying.kind.gives_keys and not described:
            raise LocalError("accepted without LocalDescription: there is nothing to put the keys into")
        self._record.begin()
        self._accepted = True
        if self._answered_early and self._attempt.agreement is not None:
            self._bind(self._attempt.agreement, self._attempt.to_tag)
        sdp = None if self._own_sdp is None else self._complete(self._own_sdp)
        self._out.put(o.Answer(status=200, sdp=sdp))
        return Outcome.ANSWERS

    def _complete(self, sdp: str) -> str:
        """Return the answer with its keys, and run the streams on them."""
        text, agreement = self._attempt.keying.make_answer(self._stated(sdp))
        self._own_sdp = None
        self._bind(agreement, "")
        return text

    def _reject(self, status: int) -> Outcome:
        """Refuse with *status* because the user does not want the call."""
        reason = Reason.BUSY if status in (486, 600) else Reason.DECLINED
        why = "refused as busy" if reason is Reason.BUSY else "refused by the user"
        self._attempt.ending = Ending(reason=reason, side="local", status=status, detail=why)
        self._out.put(o.EndInvite(status=status))
        return Outcome.ENDS

    def _disconnected(self, status: int, reason: str) -> Outcome:
        attempt = self._attempt
        if attempt.ending is None and attempt.last is None and status == _REQUEST_TERMINATED:
            detail = f"{self.invitation.caller} gave up"
            attempt.ending = Ending(reason=Reason.CANCELLED, side="remote", status=status, detail=detail)
        return super()._disconnected(status, reason)

    def _sent(self, message: i.Message) -> None:
        if self.state is CallState.TALKING or message.method == "UPDATE":
            # An UPDATE of the caller may overtake its ACK.
            super()._sent(message)
            if self.state is CallState.RINGING and message.status // 100 == 2:
                self._ring_if_met()
        elif self._answered_early and message.status // 100 == 2:
            """The answer has gone out in the 183, or in that to an UPDATE."""
            self._attempt.to_tag = message.to_tag
        elif message.method == "INVITE" and self._answers_in(message):
            self._attempt.to_tag = message.to_tag
            self._attempt.keying.check_sent(message.sdp or "", message.transport)
            tell_mikey(self._out, e.MikeySent, message.sdp)

    def _answers_in(self, message: i.Message) -> bool:
        if message.status == 183:
            return self._answered_early and self.state is CallState.RINGING
        return message.status // 100 == 2 and self.state is CallState.ANSWERING

    def _ring_if_met(self) -> None:
        """Alert the user as soon as the caller has the resources it requires."""
        if self._answered_early and not self._waits and o.Timer.SETUP in self._out.timers:
            self._out.stop(o.Timer.SETUP)
            self._protection.show(state="ringing")
            self._out.put(o.Rings())

    def _received(self, message: i.Message) -> Outcome:
        if self.state is CallState.TALKING or message.method == "BYE":
            return super()._received(message)
        return Outcome.STAYS

    def _confirmed(self) -> Outcome:
        if self.state is not CallState.ANSWERING:
            return Outcome.STAYS
        agreement = self._attempt.agreement
        if agreement is not None and not self._attempt.keying.kind.gives_keys:
            self._bind(agreement, self._attempt.to_tag)
        return self._answered()
