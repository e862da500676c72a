"""The offer (UPDATE, RFC 3311) of a branch before its 200, until our answer has gone out."""

from __future__ import annotations

from sipmikey.call.attempt import Attempt
from sipmikey.call.inputs import RemoteOffer
from sipmikey.call.keying.keying import Keying
from sipmikey.call.settings import CallSettings
from sipmikey.call.within.renegotiation import Renegotiation
from sipmikey.sdp import Glare
from sipmikey.sdp.preconditions.negotiation import Preconditions

_UNANSWERED = "our offer has no answer of this branch yet that came in a reliable response"


class EarlyOffer:
    """At most one at a time: ``to_tag`` names its branch, None while there is none.

    It is judged like any offer within a call, on the keys of its branch alone.
    """

    def __init__(self, settings: CallSettings, renegotiation: Renegotiation) -> None:
        self._settings = settings
        self._renegotiation = renegotiation
        self._conditions: Preconditions | None = None
        self.to_tag: str | None = None

    def take(self, attempt: Attempt, item: RemoteOffer) -> None:
        """Judge an offer of a branch that was heard of; raises a ``PeerError`` to refuse it."""
        if (refusal := attempt.branches.refusal(item.to_tag)) is not None:
            raise refusal
        if not attempt.branches.settled(item.to_tag):
            raise Glare(_UNANSWERED, section="RFC 3311 section 5.2")
        conditions = Preconditions.of_offer(item.sdp) if self._settings.preconditions else None
        self._settings.check_description(item.sdp)
        self._renegotiation.receive_offer(attempt.keying, item.sdp, item.to_tag)
        self.to_tag, self._conditions = item.to_tag, conditions

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
