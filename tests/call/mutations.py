"""Wrong machines, each with one change: the exploration has to notice every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sipmikey.call import callee, caller, machine, state, streams
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.inviting import branches
from sipmikey.call.inviting.answers import BranchAnswers
from sipmikey.call.inviting.early_offer import EarlyOffer
from sipmikey.call.outbox import Outbox
from sipmikey.call.protection import Protection
from sipmikey.call.state import TABLE, CallState, Outcome
from sipmikey.call.within import renegotiation
from sipmikey.call.within.renegotiation import Renegotiation
from tests.call.fakes import FakeTicket
from tests.call.scenarios import run

S, T = CallState, Outcome


@dataclass(frozen=True, slots=True)
class Mutation:
    """One wrong thing. ``where``: scenarios that should notice. ``apply`` sets it by a monkeypatch."""

    name: str
    where: tuple[str, ...]
    apply: Callable[[Any], None]

    def is_noticed(self) -> bool:
        """Explore until an invariant does not hold; return False when that never happens."""
        for name in self.where:
            try:
                run(name)
            except AssertionError:
                return True
        return False


CONSENT = ("caller, two parties, consent",)
CALLER = (*CONSENT, "caller, a stack with one dialog", "caller, redirected")
EARLY = ("caller, an UPDATE before the 200, consent", "caller, an UPDATE before the 200")
REDIRECTED = ("caller, redirected to another, consent", "caller, redirected")
CALLEE = ("callee", "callee, replacing")
BOTH = ("within a call, both sides",)
WAITS = ("within a call, a change that waits",)
WITHIN = ("within a call, all but changes", "within a call, the caller")


def _entry(here: CallState, kind: type[i.Input], outcome: Outcome, there: CallState) -> Callable[[Any], None]:
    """Return what makes an entry of the table lead somewhere else."""

    def apply(patch: Any) -> None:
        row = dict(TABLE[here])
        row[kind] = {**row[kind], outcome: there}
        patch.setitem(state.TABLE, here, row)

    return apply


def _without(here: CallState, kind: type[i.Input]) -> Callable[[Any], None]:
    """Return what takes an input out of a row of the table."""

    def apply(patch: Any) -> None:
        patch.setitem(state.TABLE, here, {k: v for k, v in TABLE[here].items() if k is not kind})

    return apply


def _method(owner: Any, name: str, wrong: Any) -> Callable[[Any], None]:
    return lambda patch: patch.setattr(owner, name, wrong)


def _nothing(*given: Any, **named: Any) -> None:
    """Do nothing."""


ENTRIES: tuple[tuple[CallState, type[i.Input], Outcome, CallState, tuple[str, ...]], ...] = (
    (S.NEW, i.Start, T.INVITES, S.NEW, CALLER),
    (S.NEW, i.Start, T.INVITES, S.TALKING, CALLER),
    (S.NEW, i.Start, T.RESOLVES, S.RINGING, CALLEE),
    (S.NEW, i.Start, T.ENDS, S.OVER, ("callee, a bad offer",)),
    (S.CALLING, i.Received, T.TALKS, S.CALLING, CALLER),
    (S.CALLING, i.Received, T.ASKS, S.TALKING, CALLER),
    (S.CALLING, i.Received, T.ENDS, S.CALLING, CALLER),
    (S.CALLING, i.Hangup, T.ENDS, S.OVER, CALLER),
    (S.CALLING, i.Hangup, T.ENDS, S.CALLING, CALLER),
    (S.CALLING, i.Rang, T.ENDS, S.CALLING, CALLER),
    (S.CALLING, i.Disconnected, T.FINISHES, S.ENDING, CALLER),
    (S.CALLING, i.Disconnected, T.FETCHES, S.CALLING, REDIRECTED),
    (S.CALLING, i.Disconnected, T.CHOOSES, S.FETCHING, REDIRECTED),
    (S.CALLING, i.Disconnected, T.INVITES, S.OVER, ("caller, preferred",)),
    (S.CHOOSING, i.Decided, T.FETCHES, S.CALLING, REDIRECTED),
    (S.CHOOSING, i.Decided, T.FINISHES, S.CHOOSING, REDIRECTED),
    (S.FETCHING, i.TicketGranted, T.INVITES, S.FETCHING, REDIRECTED),
    (S.FETCHING, i.TicketRefused, T.FINISHES, S.FETCHING, REDIRECTED),
    (S.ASKING, i.Decided, T.TALKS, S.ASKING, CALLER),
    (S.ASKING, i.Decided, T.ENDS, S.TALKING, CALLER),
    (S.RESOLVING, i.KmsAnswered, T.RINGS, S.RESOLVING, CALLEE),
    (S.RESOLVING, i.KmsAnswered, T.ENDS, S.RINGING, CALLEE),
    (S.RESOLVING, i.KmsFailed, T.ENDS, S.RESOLVING, CALLEE),
    (S.RINGING, i.Accept, T.ANSWERS, S.RINGING, CALLEE),
    (S.RINGING, i.Accept, T.ANSWERS, S.TALKING, CALLEE),
    (S.RINGING, i.LocalDescription, T.ANSWERS, S.RINGING, CALLEE),
    (S.RINGING, i.Reject, T.ENDS, S.RINGING, CALLEE),
    (S.ANSWERING, i.Confirmed, T.TALKS, S.ANSWERING, CALLEE),
    (S.ANSWERING, i.Disconnected, T.FINISHES, S.ANSWERING, CALLEE),
    (S.TALKING, i.Hangup, T.ENDS, S.TALKING, WITHIN),
    (S.TALKING, i.Disconnected, T.FINISHES, S.TALKING, WITHIN),
    (S.TALKING, i.Received, T.ENDS, S.TALKING, WITHIN),
    (S.TALKING, i.Rang, T.ENDS, S.TALKING, ("within a call, keys that age",)),
    (S.TALKING, i.Counted, T.ENDS, S.TALKING, WITHIN),
    (S.ENDING, i.Disconnected, T.FINISHES, S.ENDING, CALLER),
    (S.ENDING, i.NotSent, T.FINISHES, S.ENDING, CALLER),
)

LOST: tuple[tuple[CallState, type[i.Input], tuple[str, ...]], ...] = (
    (S.NEW, i.Start, CALLER),
    (S.NEW, i.LocalDescription, CALLEE),
    (S.CALLING, i.Attached, CALLER),
    (S.CALLING, i.RemoteOffer, EARLY),
    (S.CALLING, i.LocalDescription, CALLER),
    (S.CALLING, i.Sent, CALLER),
    (S.CALLING, i.StreamCreated, CALLER),
    (S.CALLING, i.StreamKeyed, CALLER),
    (S.CALLING, i.Counted, CALLER),
    (S.CALLING, i.Received, CALLER),
    (S.CALLING, i.Hangup, CALLER),
    (S.CALLING, i.Fault, CALLER),
    (S.CALLING, i.NotSent, CALLER),
    (S.CALLING, i.Rang, CALLER),
    (S.CALLING, i.Disconnected, CALLER),
    (S.CHOOSING, i.Decided, REDIRECTED),
    (S.CHOOSING, i.Hangup, REDIRECTED),
    (S.FETCHING, i.TicketGranted, REDIRECTED),
    (S.FETCHING, i.TicketRefused, REDIRECTED),
    (S.FETCHING, i.Rang, REDIRECTED),
    (S.ASKING, i.Decided, CALLER),
    (S.ASKING, i.Rang, CALLER),
    (S.RESOLVING, i.KmsAnswered, CALLEE),
    (S.RESOLVING, i.KmsFailed, CALLEE),
    (S.RINGING, i.Accept, CALLEE),
    (S.RINGING, i.Reject, CALLEE),
    (S.ANSWERING, i.StreamCreated, CALLEE),
    (S.ANSWERING, i.Confirmed, CALLEE),
    (S.TALKING, i.RemoteOffer, WITHIN[1:]),
    (S.TALKING, i.LocalDescription, WITHIN[1:]),
    (S.TALKING, i.Received, WITHIN[1:]),
    (S.TALKING, i.Sent, WITHIN[1:]),
    (S.TALKING, i.Propose, WITHIN),
    (S.TALKING, i.Refer, WITHIN),
    (S.TALKING, i.TransferProgress, WITHIN),
    (S.TALKING, i.TransferAsked, WITHIN),
    (S.TALKING, i.ReplacementAsked, WITHIN),
    (S.TALKING, i.DtmfHeard, WITHIN),
    (S.TALKING, i.Counted, WITHIN),
    (S.ENDING, i.Hangup, ("caller, preferred",)),
    (S.ENDING, i.Disconnected, CALLER),
    (S.ENDING, i.NotSent, CALLER),
)


def _without_output(kind: type[o.Output]) -> Any:
    """Return an outbox's ``put`` that loses what is of *kind*."""

    def put(self: Any, output: o.Output) -> None:
        if not isinstance(output, kind):
            self._outputs.append(output)

    return put


def _losers_kept(self: Any, to_tag: str) -> None:
    self.chosen, self.may_rekey = to_tag, True


def _yes(*given: Any, **named: Any) -> bool:
    return True


def _no(*given: Any, **named: Any) -> bool:
    return False


def _offer_always(self: Any, keying: Any, sdp: str) -> None:
    keying.offering = ""
    keying.receive_offer(sdp)
    self._answering = True


def _no_names(stream: Any) -> frozenset[str]:
    return frozenset()


def _heard(self: Any, attempt: Any, tag: str, agreement: Any) -> None:
    self._protection.bind(attempt, agreement, tag)


def _permitted(self: Any, item: i.RemoteOffer) -> None:
    self._out.put(o.Permit())


def _settled_always(self: Any, to_tag: str) -> bool:
    return self.state(to_tag) is not None


_receive_offer = FakeTicket.receive_offer


def _kept_as_before(self: Any, attempt: Any, message: i.Message) -> None:
    """Forget to bind the branch to what its offer agreed on."""
    self._renegotiation.sent(attempt.keying, message)
    self.answered()


def _heard_at_once(self: Any, attempt: Any, message: i.Message) -> None:
    agreement, tag = self._renegotiation.sent(attempt.keying, message), self.answered()
    attempt.branches.answers(tag, agreement)
    self._answers._protection.bind(attempt, agreement, tag)


def _of_whoever_runs(self: Any, sdp: str, to_tag: str = "") -> Any:
    """Take an offer as that of another branch that answered, if there is one."""
    other = next((tag for tag in self.held if tag != to_tag), to_tag)
    return _receive_offer(self, sdp, other)


_callee_sent = callee.CalleeMachine._sent


def _sent_invites_only(self: Any, message: i.Message) -> None:
    if message.method == "INVITE":
        _callee_sent(self, message)


def _always_again(self: Any, error: BaseException) -> bool:
    return bool(getattr(error, "ask_again", False))


def _no_set_up_timer(self: Any) -> Outcome:
    self._attempt.attached = True
    return Outcome.STAYS


def _twice(self: Any, there: CallState) -> None:
    if there is not self.state:
        self.state = there
        if there in (CallState.ENDING, CallState.OVER):
            self._let_go()
        if there is CallState.OVER:
            self._finish()
            self._finish()


def _proposed_at_once(self: Any, kind: i.Kind, token: int | None, *, update: bool = False) -> None:
    """Send a change beside the one under way."""
    self._change = renegotiation._Change(kind=kind, token=token, update=update)
    self.send()


def _replaced(self: Any, kind: i.Kind, token: int | None, *, update: bool = False) -> None:
    """Forget a change that waits when another is asked for."""
    change = renegotiation._Change(kind=kind, token=token, update=update)
    if self.busy:
        self._waiting = change
    else:
        self._change = change
        self.send()


def _without_a_word(self: Any, ending: Any) -> None:
    """Forget the changes of a call that ends, which are not told to be over."""
    self._change = self._waiting = None
    _FORGET(self, ending)


_FORGET = Renegotiation.forget

CODE: tuple[tuple[str, tuple[str, ...], Callable[[Any], None]], ...] = (
    ("a 2xx gets no ACK", CALLER, _method(Outbox, "put", _without_output(o.Acknowledge))),
    ("a surplus 2xx gets no BYE", CALLER, _method(Outbox, "put", _without_output(o.EndBranch))),
    (
        "a call that ends is not told to the stack",
        CALLER,
        _method(Outbox, "put", _without_output(o.EndInvite)),
    ),
    ("a BYE goes to the wrong branch", CALLER, _method(branches.Branches, "committed", None)),
    ("no party needs consent", CONSENT, _method(BranchAnswers, "lacks_consent", _no)),
    ("a party is heard before consent", CONSENT, _method(BranchAnswers, "hear", _heard)),
    ("a refused branch keeps its keys", CALLER, _method(Protection, "unbind", _nothing)),
    ("the losers keep their keys", CALLER, _method(FakeTicket, "choose", _losers_kept)),
    ("an early offer is taken", CALLER[1:], _method(caller.CallerMachine, "_remote_offer", _permitted)),
    (
        "an early offer is not of the branch's own",
        EARLY[1:],
        _method(FakeTicket, "receive_offer", _of_whoever_runs),
    ),
    (
        "an early offer changes nothing",
        EARLY[1:],
        _method(EarlyOffer, "sent", _kept_as_before),
    ),
    ("who offers early is heard", EARLY, _method(EarlyOffer, "sent", _heard_at_once)),
    (
        "an early offer runs on another's keys",
        EARLY[1:],
        _method(BranchAnswers, "await_answer_to", _nothing),
    ),
    ("any branch may offer", EARLY[1:], _method(branches.Branches, "settled", _settled_always)),
    ("no timer ends the set-up", CALLER, _method(caller.CallerMachine, "_attached", _no_set_up_timer)),
    ("the end erases no key", CALLER, _method(machine.CallMachine, "_let_go", _nothing)),
    ("the keys stay in the stack", CALLER, _method(streams.Streams, "unkey", streams.Streams.forget)),
    ("keys are given again", CALLER, _method(streams, "_names", _no_names)),
    ("a held call asks for nothing", CALLER, _method(machine.CallMachine, "_renew", _nothing)),
    ("two endings", CALLER, _method(machine.CallMachine, "_move", _twice)),
    (
        "an UPDATE before the ACK has no effect",
        CALLEE,
        _method(callee.CalleeMachine, "_sent", _sent_invites_only),
    ),
    ("a KMS is never asked again", CALLEE, _method(callee.CalleeMachine, "_may_ask_again", _no)),
    ("a KMS is asked for ever", CALLEE, _method(callee.CalleeMachine, "_may_ask_again", _always_again)),
    ("glare is not noticed", BOTH, _method(Renegotiation, "receive_offer", _offer_always)),
    ("after glare nothing is tried again", BOTH, _method(Renegotiation, "_try_later", _yes)),
    ("an answer that was sent has no effect", BOTH, _method(Renegotiation, "sent", _nothing)),
    ("answers of changes are not judged", WITHIN[1:], _method(Renegotiation, "received", _nothing)),
    ("a change that waits is never sent", WAITS, _method(Renegotiation, "go_on", _nothing)),
    ("a change does not wait", WAITS, _method(Renegotiation, "propose", _proposed_at_once)),
    ("a third change takes the place of the second", WAITS, _method(Renegotiation, "propose", _replaced)),
    ("a change has no end with the call", WAITS, _method(Renegotiation, "forget", _without_a_word)),
    ("a packet proves nothing", WITHIN[:1], _method(streams.Streams, "counted", _nothing)),
)


def mutations() -> Iterator[Mutation]:
    """Yield every wrong machine."""
    for here, kind, outcome, there, where in ENTRIES:
        name = f"{here} --{kind.__name__}, {outcome}--> {there}"
        yield Mutation(name, where, _entry(here, kind, outcome, there))
    for here, kind, where in LOST:
        yield Mutation(f"{here} does not take {kind.__name__}", where, _without(here, kind))
    for name, where, apply in CODE:
        yield Mutation(name, where, apply)
