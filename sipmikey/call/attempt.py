"""One INVITE of a call, and what comes after it: another INVITE, or the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipmikey.call.ending import Ending
from sipmikey.call.inputs import Message
from sipmikey.call.inviting.branches import Branches
from sipmikey.call.inviting.redirection import Course, onward
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.keying.known import kinds
from sipmikey.call.keying.no_keying import NoKeying
from sipmikey.call.keying.permission import first_kind, goes_over, only_over, permits_again
from sipmikey.call.policy import CallPolicy
from sipmikey.call.reasons import AgentError, Reason, Side, reason_of_status

_LACKS_KEYING = frozenset({406, 415, 488, 606})
"""Statuses with which a peer refuses an offer whose key management it does not know."""

_REFUSED = frozenset({488, 606})


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One INVITE: what keys it, its branches, and what is known of its end.

    ``attached``: the stack has it. ``to_tag``: of the branch that the stack made its streams for last, and of
    the one that has the call. ``agreement``: whose keys the streams run on.
    ``answered_unkeyed``: a 2xx was refused because it had no key management. ``given_up``: by the user.
    ``given_up_by_stack``: the stack ends it because it cannot use a description of the peer.
    """

    keying: Keying = field(default_factory=NoKeying)
    branches: Branches = field(default_factory=Branches)
    attached: bool = False
    confirmed: bool = False
    to_tag: str = ""
    agreement: Agreement | None = None
    answered_unkeyed: bool = False
    given_up: bool = False
    given_up_by_stack: bool = False
    last: Message | None = None
    ending: Ending | None = None

    @property
    def unanswered(self) -> bool:
        """True while the INVITE has no good answer, and this side is not ending it."""
        return not (self.confirmed or self.given_up or self.ending is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows an INVITE that failed with ``status``.

    ``kind``: what keys the next INVITE; None: the call ends, with ``ending`` where more is known than the
    last message says. ``course``: where the INVITE goes. ``moved``: it follows a redirection. ``reason``,
    ``side``, ``detail``: why the next one is keyed differently. ``withheld``: why a keying was not tried.
    """

    status: int
    course: Course
    kind: KeyingKind | None = None
    moved: bool = False
    reason: Reason = Reason.PEER_REFUSED_KEYING
    side: Side = "remote"
    detail: str = ""
    withheld: str = ""
    ending: Ending | None = None


def next_attempt(
    attempt: Attempt, status: int, course: Course, policy: CallPolicy, *, transport: str, redirects: int
) -> Decision:
    """Decide what follows *attempt*, which ended with *status* before any branch had the call.

    *transport*: of its signalling. *redirects*: the most INVITEs of the call that may follow redirections.
    """
    withheld, target = "", course.target
    for kind in _after(attempt.keying.kind):
        why = _why(kind, attempt, status)
        if why is None or not permits_again(policy, kind, target.called, least=target.mode):
            continue
        if goes_over(policy, kind, transport):
            reason, detail = why
            return Decision(
                status=status, course=course, kind=kind, reason=reason, detail=detail, withheld=withheld
            )
        over = only_over(policy, kind)
        withheld = f"{kind.words.short} is used over {over} only, and this call is signalled over"
        withheld = f"{withheld} {transport.upper()}"
    if not attempt.unanswered:
        return Decision(status=status, course=course, withheld=withheld)
    try:
        elsewhere = onward(course, status, attempt.last, policy=policy, most=redirects)
    except AgentError as error:
        return Decision(status=status, course=course, withheld=withheld, ending=Ending.of(error))
    if elsewhere is None:
        return Decision(status=status, course=course, withheld=withheld)
    kind = first_kind(policy, elsewhere.target.called, least=elsewhere.target.mode)
    return Decision(status=status, course=elsewhere, kind=kind, moved=True, withheld=withheld)


def _after(kind: KeyingKind) -> tuple[KeyingKind, ...]:
    """Return the keyings that may be tried after *kind*, in their order."""
    return tuple(one for one in kinds() if one.place > kind.place)


def _why(kind: KeyingKind, attempt: Attempt, status: int) -> tuple[Reason, str] | None:
    """Return why the call is made again, keyed by *kind*; None when that is nothing to do about its end."""
    if kind.in_clear:
        if status in _REFUSED and attempt.unanswered:
            return Reason.PEER_REFUSED_KEYING, f"refused with {status}: policy calls again without protection"
        return None
    again = f"policy calls again with {kind.words.short}"
    if attempt.answered_unkeyed and not attempt.given_up:
        return Reason.KEY_MGMT_MISSING, f"answered without key management: {again}"
    if attempt.unanswered and status in _LACKS_KEYING and not _names_a_reason(attempt.last, status):
        return Reason.PEER_REFUSED_KEYING, f"refused with {status}: {again}"
    return None


def _names_a_reason(last: Message | None, status: int) -> bool:
    """True for a refusal with one of the words of ``Reason``: a peer that sends one speaks MIKEY-TICKET."""
    warning = None if last is None else last.warning
    return reason_of_status(status, warning=warning) is not reason_of_status(status)
