"""What the branches of an INVITE answer, before one of them has the call."""

from __future__ import annotations

from sipmikey.call import events as e
from sipmikey.call.attempt import Attempt
from sipmikey.call.ending import tell_refused
from sipmikey.call.events import MediaProtection
from sipmikey.call.inputs import Message
from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.mikey_description import tell_mikey
from sipmikey.call.outbox import Outbox
from sipmikey.call.protection import Protection
from sipmikey.call.reasons import Reason
from sipmikey.call.settings import CallSettings
from sipmikey.sdp import AnswerMissing, KeyMgmtMissing


class BranchAnswers:
    """Judges what each branch answers, and keys the streams for the branch whose answer came last.

    ``called``: whom the INVITE under way calls, canonical.
    """

    def __init__(
        self, out: Outbox, settings: CallSettings, protection: Protection, consent: Consent, called: str
    ) -> None:
        self._out = out
        self._settings = settings
        self._protection = protection
        self._consent = consent
        self.called = called

    def agreed(self, attempt: Attempt, message: Message) -> Agreement | None:
        """Return what the branch of *message* agreed on, None while it only rings.

        Its first description is its answer (RFC 3261 section 13.2.1): later ones are ignored. Raises a
        ``PeerError`` or ``AgentError`` where the branch must not have the call.
        """
        tag, branches = message.to_tag, attempt.branches
        if message.sdp is None and message.status < 200:
            branches.rings(tag)
            return None
        if (refusal := branches.refusal(tag)) is not None:
            raise refusal
        if message.sdp is None:
            return early_agreement(attempt, tag)
        agreement = branches.agreement(tag)
        if agreement is None:
            tell_mikey(self._out, e.MikeyReceived, message.sdp, to_tag=tag)
            self._settings.check_description(message.sdp)
            agreement = attempt.keying.receive_answer(message.sdp, tag)
            branches.answers(tag, agreement)
            if agreement.peer is not None:
                self._out.tell(e.ForkCandidate, to_tag=tag, peer=agreement.peer)
        if message.reliable:
            branches.settles(tag)
        self.hear(attempt, tag, agreement)
        return agreement

    def hear(self, attempt: Attempt, tag: str, agreement: Agreement) -> None:
        """Key the stream, which was made for branch *tag*, unless its party is not accepted yet."""
        attempt.to_tag = tag
        if not attempt.keying.kind.gives_keys:
            return
        if self.lacks_consent(agreement):
            self._protection.unbind(attempt)
            self._protection.show(peer=None, kms=None, suite=None, ticket=None, keying=None)
        else:
            self._protection.bind(attempt, agreement, tag)

    def await_answer_to(self, attempt: Attempt, tag: str) -> None:
        """Branch *tag* offers: the stack makes its streams for that now, and leaves them the keys they have.

        The keys of another branch are removed.
        """
        if attempt.keying.kind.gives_keys and (attempt.agreement is None or attempt.to_tag != tag):
            self._protection.unbind(attempt)

    def lacks_consent(self, agreement: Agreement) -> bool:
        """Return True where the user has to accept the party of *agreement* first."""
        return agreement.peer is not None and self._consent.lacks(agreement.peer, answers_for=self.called)

    def fail(self, attempt: Attempt, message: Message, error: BaseException) -> None:
        """Give up the branch of *message* because of *error*: its media is not played."""
        tag = message.to_tag
        known = attempt.branches.refusal(tag) is not None
        if message.status >= 200 and isinstance(error, KeyMgmtMissing):
            attempt.answered_unkeyed = True
        if message.sdp is not None:
            # The stream was made for this branch: without keys it stays silent.
            attempt.to_tag = tag
        attempt.keying.discard(tag)
        attempt.branches.fails(tag, error)
        self._protection.unbind(attempt)
        if known:
            return
        ending = tell_refused(self._out, error, tag)
        if attempt.keying.kind.vouches:
            self._out.tell(
                e.ForkAbandoned, to_tag=tag, reason=ending.reason, side=ending.side, detail=ending.detail
            )

    def commit(self, attempt: Attempt, tag: str, agreement: Agreement) -> None:
        """Give the call to branch *tag*; the keys of all others are erased."""
        attempt.keying.choose(tag)
        for loser in attempt.branches.commit(tag):
            if attempt.keying.kind.vouches:
                self._out.tell(
                    e.ForkAbandoned, to_tag=loser, reason=Reason.ANSWERED_ELSEWHERE, side="remote",
                    detail=f"branch {tag} has the call",
                )  # fmt: skip
        if agreement.peer is not None:
            self._out.tell(e.ForkCommitted, to_tag=tag, peer=agreement.peer)


def early_agreement(attempt: Attempt, tag: str) -> Agreement:
    """Return what a branch agreed on before its 200, which has no description. Raises ``AnswerMissing``."""
    agreement = attempt.branches.agreement(tag)
    if agreement is None and attempt.keying.kind.unkeyed is not MediaProtection.OFF:
        raise AnswerMissing("the 200 has no description and no 18x had one", field="SDP")
    return agreement or Agreement()
