"""The caller's side: one INVITE after another, and candidates by To-tag until one branch has the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.attempt import Attempt, Decision, next_attempt
from sipmikey.call.ending import Ending
from sipmikey.call.events import Security
from sipmikey.call.inviting.answers import BranchAnswers, early_agreement
from sipmikey.call.inviting.consent import Consent, Question
from sipmikey.call.inviting.early_offer import EarlyOffer
from sipmikey.call.inviting.redirection import Course, first_course
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.keying.known import kinds
from sipmikey.call.keying.mikey_description import tell_mikey
from sipmikey.call.keying.no_keying import REFUSED
from sipmikey.call.machine import CallMachine
from sipmikey.call.policy import ForkRule
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState, Outcome
from sipmikey.call.unexpected import end_surplus
from sipmikey.mikey.errors import PeerError
from sipmikey.sdp.errors import ForkedWithoutKeys
from sipmikey.sdp.preconditions.negotiation import Preconditions
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.request import TicketGrant

_REQUEST_TERMINATED = 487
_LATE_S = 32.0
"""64*T1: how long another branch may still answer with 2xx (RFC 3261 section 13.2.2.4)."""

_TOO_EARLY = "the peer offers again before the user has accepted it"

_SURPLUS_S = 2.0
"""How long a stack that has one dialog only may take to end the 2xx of other branches."""


class Keyings(Protocol):
    """Makes what keys the INVITEs of a caller."""

    def calling(
        self, kind: KeyingKind, *, called: str, consent: Consent, grant: TicketGrant | None = None
    ) -> Keying:
        """Key a call to *called* by *kind*; *consent* knows whom policy refuses.

        Raises ``LocalError`` where *kind* needs a ticket, and *grant* cannot be used.
        """


class CallerMachine(CallMachine):
    """A call to *uri*, whose canonical form is *called*, keyed by *kind* first, or by the ticket in *grant*;
    with neither in clear.

    *via*: where to send the INVITE instead. A peer that does not know the keying may be called again, by
    another one or in clear, as far as policy allows.
    """

    calls = True

    def __init__(
        self,
        number: str,
        settings: CallSettings,
        env: Environment,
        keyings: Keyings,
        *,
        uri: str,
        called: str,
        grant: TicketGrant | None,
        kind: KeyingKind | None = None,
        via: str | None = None,
        headers: o.Headers = (),
    ) -> None:
        consent = Consent(settings.policy.retarget, called, settings.policy.groups)
        if kind is None:
            kind = next(one for one in kinds() if (one.in_clear if grant is None else one.needs_ticket))
        keying = keyings.calling(kind, called=called, consent=consent, grant=grant)
        super().__init__(
            number,
            settings,
            env,
            Attempt(keying=keying),
            Security(signalling="udp", media=keying.kind.unkeyed, called=called),
        )
        self._keyings = keyings
        self._next_kind = kind
        self._consent = consent
        self._uri = uri
        self._via = via
        self._dialled = called
        self._headers = (*settings.headers, *headers)
        self._course = first_course(uri, via, called=called, policy=settings.policy)
        self._pending: tuple[str, Agreement] | None = None
        self._answers = BranchAnswers(self._out, settings, self._protection, self._consent, called)
        self._early = EarlyOffer(self._out, settings, self._renegotiation, self._answers)
        self._invited: o.Invite | None = None

    def _handle(self, item: i.Input) -> Outcome:
        match item:
            case i.Start():
                self._record.begin()
                return Outcome.INVITES if item.by_stack else self._invite()
            case i.Decided():
                return self._decided(item.refusal)
            case i.TicketGranted():
                return self._granted(item.called, item.grant)
            case i.TicketRefused():
                return self._end(Ending.of(item.error))
        return super()._handle(item)

    def _invite(self) -> Outcome:
        lane = self._attempt.keying.kind.lane
        invite = o.Invite(uri=self._uri, via=self._via, lane=lane, headers=self._headers)
        self._out.put(invite)
        self._invited = invite
        return Outcome.INVITES

    def _not_sent(self, output: o.Output, error: BaseException) -> Outcome:
        if not isinstance(output, o.Invite):
            return super()._not_sent(output, error)
        # The stack may report the end before the call goes on to its next contact.
        if self.state is not CallState.CALLING or output != self._invited:
            return Outcome.STAYS
        self._attempt.attached = False
        return self._end(Ending.of(error))

    def _attached(self) -> Outcome:
        uri = self._course.target.uri if self._course.followed else self._uri
        self._out.tell(e.CallOut, uri=uri)
        self._limit_setup()
        return super()._attached()

    def _limit_setup(self) -> None:
        """Of several INVITEs the first sets the time for all, unless that is over."""
        if o.Timer.SETUP not in self._out.timers:
            self._out.start(o.Timer.SETUP, self._settings.patience.setup)

    def _rang(self, timer: o.Timer) -> Outcome:
        if timer is o.Timer.SETUP:
            return self._too_late()
        if timer is o.Timer.LATE:
            return self._end_refused()
        return super()._rang(timer)

    def _too_late(self) -> Outcome:
        wait_s = self._settings.patience.setup
        if self.state in (CallState.ASKING, CallState.CHOOSING):
            self._out.start(o.Timer.SETUP, wait_s)
            return Outcome.STAYS
        if self.state not in (CallState.CALLING, CallState.FETCHING):
            return Outcome.STAYS
        detail = f"no answer in {wait_s:g} s"
        return self._end(Ending(reason=Reason.SETUP_TIMEOUT, side="network", status=408, detail=detail))

    # Offer and answers

    def _describe(self, item: i.LocalDescription) -> str:
        if self.state is CallState.TALKING:
            return super()._describe(item)
        if self.state is not CallState.CALLING:
            raise AgentError(Reason.POLICY, "the peer is not accepted yet", side="local")
        if self._early.to_tag is not None:
            return super()._describe(replace(item, sdp=self._early.stated(item.sdp)))
        if item.remote:
            raise AgentError(Reason.OFFER_MISSING, "the peer sent an offer where an answer was due")
        return self._attempt.keying.make_offer(self._stated(item.sdp))

    def _stated(self, sdp: str) -> str:
        """Return our first offer with preconditions; it says that our own resources are there."""
        if not self._settings.preconditions:
            return sdp
        return Preconditions(ours=True, offers=True).describe(sdp)

    def _remote_offer(self, item: i.RemoteOffer) -> None:
        if self.state is CallState.TALKING:
            super()._remote_offer(item)
        elif self.state is CallState.ASKING:
            self._refuse_offer(AgentError(Reason.UNEXPECTED_MESSAGE, _TOO_EARLY))
        else:
            self._early.receive(self._attempt, item, refuse=self._refuse_offer)

    def _transfer_asked(self, target: str) -> None:
        if self.state is not CallState.TALKING:
            self._out.put(o.Refuse(status=480))
            return
        super()._transfer_asked(target)

    def _sent(self, message: i.Message) -> None:
        if self.state is CallState.TALKING:
            super()._sent(message)
        elif (
            self.state is CallState.CALLING and message.method == "UPDATE" and self._early.to_tag is not None
        ):
            self._early.sent(self._attempt, message)
        elif self.state is CallState.CALLING and message.method == "INVITE" and not message.status:
            self._record.call_id = message.call_id
            self._protection.show(signalling=message.transport)
            self._attempt.keying.check_sent(message.sdp or "", message.transport)
            tell_mikey(self._out, e.MikeySent, message.sdp)

    def _received(self, message: i.Message) -> Outcome:
        if self.state is CallState.TALKING:
            answer = message.method == "INVITE" and message.status // 100 == 2
            if answer and message.to_tag != self._attempt.branches.committed:
                end_surplus(message.to_tag, self._out)
                return self._end_forked() if self._must_not_fork else Outcome.STAYS
            return super()._received(message)
        ends = message.method == "BYE" and self.state is CallState.ASKING
        if ends or (message.status >= 300 and message.method == "INVITE"):
            self._attempt.last = message
        if message.method == "INVITE" and message.status in (401, 407):
            self._out.tell(e.CallChallenged, status=message.status)
        if message.method != "INVITE" or not 100 < message.status < 300:
            return Outcome.STAYS
        if self.state is not CallState.CALLING or self._attempt.ending is not None:
            self._explain(message)
            return self._answered_too_late(message)
        # The stack may have gone back from TCP to UDP: the Via of the response tells how it was sent.
        self._protection.show(signalling=message.transport)
        return self._response(message)

    def _explain(self, message: i.Message) -> None:
        """Say what is wrong with *message*, because of which the stack gave up, where that is known."""
        attempt = self._attempt
        if not attempt.given_up_by_stack:
            return
        try:
            if message.sdp is not None:
                self._settings.check_description(message.sdp)
            elif message.status >= 200:
                early_agreement(attempt, message.to_tag)
        except PeerError as error:
            attempt.ending = Ending.of(error)

    def _answered_too_late(self, message: i.Message) -> Outcome:
        """Take an answer that comes while the call ends, or after another branch got it."""
        attempt = self._attempt
        if message.status < 200:
            return Outcome.STAYS
        if message.to_tag == attempt.branches.committed:
            self._out.put(o.Acknowledge(to_tag=message.to_tag))
        else:
            end_surplus(message.to_tag, self._out)
        if attempt.given_up_by_stack and attempt.ending is not None:
            return self._end(attempt.ending)
        return Outcome.STAYS

    def _response(self, message: i.Message) -> Outcome:
        tag, final = message.to_tag, message.status >= 200
        if final:
            self._out.put(o.Acknowledge(to_tag=tag))
        if self._must_not_fork and self._attempt.branches.others(tag):
            return self._end_forked()
        try:
            agreement = self._answers.agreed(self._attempt, message)
        except Exception as error:  # noqa: BLE001 - it is the end of this branch
            self._answers.fail(self._attempt, message, error)
            return self._answer_refused(tag, error) if final else self._rings(message)
        if not final:
            return self._rings(message)
        assert agreement is not None
        return self._commit(tag, agreement)

    @property
    def _must_not_fork(self) -> bool:
        return self._settings.policy.forked is ForkRule.REFUSE and self._attempt.keying.shares_keys

    def _end_forked(self) -> Outcome:
        """End the call: more than one device could have its keys."""
        detail = "several devices took the call, and this ticket has the same keys for all"
        return self._end(Ending.of(ForkedWithoutKeys(detail, field="TICKET flags I")))

    def _rings(self, message: i.Message) -> Outcome:
        self._out.tell(
            e.CallRinging,
            status=message.status,
            to_tag=message.to_tag,
            early_media=message.sdp is not None,
        )
        return Outcome.STAYS

    def _answer_refused(self, tag: str, error: BaseException) -> Outcome:
        """End the dialog of a 2xx that is not acceptable: another branch may still have a better one."""
        attempt = self._attempt
        ending = Ending.of(error)
        self._out.put(o.EndBranch(to_tag=tag, headers=ending.headers(self._settings.identity)))
        if not attempt.branches.open or attempt.answered_unkeyed:
            return self._end(ending)
        if not self._settings.many_dialogs:
            # The stack holds on to this branch, and ends the others as long as it does.
            attempt.ending = ending
        self._out.start(o.Timer.LATE, _LATE_S if self._settings.many_dialogs else _SURPLUS_S)
        return Outcome.STAYS

    def _end_refused(self) -> Outcome:
        """No branch had a better answer in time."""
        refusal = self._attempt.branches.last_refusal
        assert refusal is not None
        return self._end(Ending.of(refusal))

    # One branch has the call

    def _commit(self, tag: str, agreement: Agreement) -> Outcome:
        attempt = self._attempt
        if self._early.to_tag != tag:
            self._early.drop(attempt.keying)
        self._early.answered()
        self._answers.commit(attempt, tag, agreement)
        self._out.stop(o.Timer.LATE)
        heard, attempt.to_tag = attempt.to_tag, tag
        if self._answers.lacks_consent(agreement):
            self._pending = tag, agreement
            self._protection.unbind(attempt)
            assert agreement.peer is not None
            self._ask(agreement.peer, agreement.kms)
            return Outcome.ASKS
        if heard != tag and not self._settings.many_dialogs and attempt.keying.kind.gives_keys:
            # The stack's stream is that of the branch whose description came last: it gets no keys before
            # the branch has repeated its description.
            self._protection.unbind(attempt)
            if self._streams.ran_on(agreement):
                self._renew()
            else:
                self._renegotiation.propose(i.Kind.REFRESH, None)
        elif attempt.agreement != agreement:
            self._bind(agreement, tag)
        return self._answered()

    def _ask(self, peer: str, kms: str | None) -> None:
        self._out.tell(
            e.PolicyQuestion,
            peer=peer,
            called=self._dialled,
            kms=kms,
            wait_s=self._settings.patience.decision,
        )
        question = Question(call=self.number, peer=peer, called=self._dialled, kms=kms)
        self._out.put(o.AskUser(question=question))

    def _decided(self, refusal: str) -> Outcome:
        """The user decided whether another party may be called, or talked to, than the one dialled."""
        answered = self.state is CallState.ASKING
        peer = self._pending[1].peer if answered and self._pending else self._course.target.called
        assert peer is not None
        if refusal:
            detail = f"{peer} instead of {self._dialled}: {refusal}"
            raise AgentError(Reason.IDENTITY_MISMATCH, detail, side="local")
        self._consent.give(peer)
        if not answered:
            return self._follow()
        assert self._pending is not None
        tag, agreement = self._pending
        self._pending = None
        self._bind(agreement, tag)
        return self._answered()

    # The next INVITE

    def _disconnected(self, status: int, reason: str) -> Outcome:
        attempt = self._attempt
        if attempt.ending is None and attempt.last is None and status == _REQUEST_TERMINATED:
            # No response said so: the stack ended the INVITE because this side hung up.
            detail = "given up before an answer"
            attempt.ending = Ending(reason=Reason.CANCELLED, side="local", status=status, detail=detail)
        if self._record.answered or self.state is CallState.ASKING:
            return super()._disconnected(status, reason)
        decision = next_attempt(
            attempt,
            status,
            self._course,
            self._settings.policy,
            transport=self.security.signalling,
            redirects=self._settings.redirects,
        )
        if decision.withheld:
            self._out.tell(e.PolicyRefused, reason=Reason.POLICY, side="local", detail=decision.withheld)
        if decision.ending is not None:
            attempt.ending = decision.ending
        if decision.kind is None:
            return super()._disconnected(status, reason)
        self._set_course(decision.course)
        self._start_over(decision.kind)
        return self._redirected(decision) if decision.moved else self._rekeyed_otherwise(decision)

    def _start_over(self, kind: KeyingKind) -> None:
        """Begin a new attempt; the keys of the last one are erased."""
        self._let_go()
        self._early.answered()
        self._out.stop(o.Timer.LATE)
        self._next_kind = kind
        # One that needs a ticket is made when the ticket is there.
        self._attempt = Attempt() if kind.needs_ticket else Attempt(keying=self._made(kind))
        self._protection.start_over(self._attempt.keying)

    def _made(self, kind: KeyingKind, grant: TicketGrant | None = None) -> Keying:
        called = self._course.target.called
        return self._keyings.calling(kind, called=called, consent=self._consent, grant=grant)

    def _set_course(self, course: Course) -> None:
        self._course = course
        self._answers.called = course.target.called

    def _rekeyed_otherwise(self, decision: Decision) -> Outcome:
        facts = {"reason": decision.reason, "side": decision.side, "detail": decision.detail}
        name = self._next_kind.name
        if name is not None:
            self._out.tell(e.PolicyAlternative, keying=name, **facts)
        else:
            self._out.tell(e.PolicyFallback, **facts)
        return self._follow()

    def _redirected(self, decision: Decision) -> Outcome:
        target = decision.course.target
        self._via = target.uri
        self._out.tell(e.CallRedirected, status=decision.status, target=target.uri, called=target.called)
        if self._consent.lacks(target.called):
            self._ask(target.called, None)
            return Outcome.CHOOSES
        return self._follow()

    def _follow(self) -> Outcome:
        """Send the next INVITE, once it has the ticket that it may need."""
        if self._attempt.keying.kind is not REFUSED:
            return self._invite()
        self._limit_setup()
        self._out.put(o.AskTicket(identities=self._course.target.identities))
        return Outcome.FETCHES

    def _granted(self, called: str, grant: TicketGrant) -> Outcome:
        """Make the call again with a ticket for *called*."""
        self._set_course(replace(self._course, target=replace(self._course.target, called=called)))
        try:
            keying = self._made(self._next_kind, grant)
        except Exception as error:  # noqa: BLE001 - it becomes the call's ending
            return self._end(Ending.of(error))
        self._attempt = Attempt(keying=keying)
        return self._invite()
