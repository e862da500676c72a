"""The offer (UPDATE, RFC 3311) of a branch before its 200, until our answer has gone out."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.call.attempt import Attempt
from sipmikey.call.inputs import Message, RemoteOffer
from sipmikey.call.inviting.answers import BranchAnswers
from sipmikey.call.keying.keying import Keying
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Permit, Refuse
from sipmikey.call.settings import CallSettings
from sipmikey.call.unexpected import NO_SUCH_CALL
from sipmikey.call.within.renegotiation import Renegotiation
from sipmikey.sdp import Glare
from sipmikey.sdp.preconditions.negotiation import Preconditions

_UNANSWERED = "our offer has no answer of this branch yet that came in a reliable response"

_OFFER_OPEN = Refuse(status=500, headers=(("Retry-After", "1"),))
"""For an offer while one before it has no answer (RFC 3311 section 5.2)."""

_NO_SUCH_BRANCH = Refuse(status=NO_SUCH_CALL)

RefuseOffer = Callable[[BaseException, str], None]
"""Refuses the offer of a branch, given why and the To-tag."""


class EarlyOffer:
    """At most one at a time: ``to_tag`` names its branch, None while there is none.

    It is judged like any offer within a call, on the keys of its branch alone.
    """

    def __init__(
        self, out: Outbox, settings: CallSettings, renegotiation: Renegotiation, answers: BranchAnswers
    ) -> None:
        self._out = out
        self._settings = settings
        self._renegotiation = renegotiation
        self._answers = answers
        self._conditions: Preconditions | None = None
        self.to_tag: str | None = None

    def receive(self, attempt: Attempt, item: RemoteOffer, *, refuse: RefuseOffer) -> None:
        """Take an offer; one that *refuse* must refuse leaves the branch as it is."""
        tag = item.to_tag
        if self.to_tag is not None:
            self._out.put(_OFFER_OPEN)
            return
        if attempt.ending is not None or attempt.branches.state(tag) is None:
            self._out.put(_NO_SUCH_BRANCH)
            return
        try:
            self._judge(attempt, item)
        except Exception as error:  # noqa: BLE001 - it becomes the refusal
            refuse(error, tag)
            return
        self._answers.await_answer_to(attempt, tag)
        self._out.put(Permit())

    def _judge(self, attempt: Attempt, item: RemoteOffer) -> None:
        """Judge an offer of a known branch; raises a ``PeerError`` to refuse it."""
        if (refusal := attempt.branches.refusal(item.to_tag)) is not None:
            raise refusal
        if not attempt.branches.settled(item.to_tag):
            raise Glare(_UNANSWERED, section="RFC 3311 section 5.2")
        conditions = Preconditions.of_offer(item.sdp) if self._settings.preconditions else None
        self._settings.check_description(item.sdp)
        self._renegotiation.receive_offer(attempt.keying, item.sdp, item.to_tag)
        self.to_tag, self._conditions = item.to_tag, conditions

    def sent(self, attempt: Attempt, message: Message) -> None:
        """Our answer to the offer has gone out, or the stack had none."""
        if message.status // 100 == 2:
            agreement = self._renegotiation.sent(attempt.keying, message)
            tag = self.answered()
            if agreement is not None and tag is not None:
                attempt.branches.answers(tag, agreement)
                self._answers.hear(attempt, tag, agreement)
        elif message.status >= 300 and message.status != _OFFER_OPEN.status:
            self.drop(attempt.keying)

    def stated(self, sdp: str) -> str:
        """Return the stack's answer with what is there of the resources."""
        return sdp if self._conditions is None else self._conditions.describe(sdp)

    def answered(self) -> str | None:
        """Our answer has gone out: return the branch whose offer it answers."""
        to_tag, self.to_tag = self.to_tag, None
        return to_tag

    def drop(self, keying: Keying) -> None:
        """The offer gets no answer: what the branch agreed on before stays."""
        if self.to_tag is not None:
            self.to_tag = None
            self._renegotiation.drop_offer(keying)
