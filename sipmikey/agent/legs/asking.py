"""A call for which the user may be asked whether somebody else will do than who was dialled."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.agent.legs.sdes import SdesLeg
from sipmikey.agent.stack import CallObserver
from sipmikey.call.consent import Consent, Question
from sipmikey.call.events import PolicyQuestion
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import SipmikeyError

_TEMPORARILY_UNAVAILABLE = 480
_NOT_ACCEPTABLE_HERE = 488


class AskingLeg(SdesLeg):
    """A leg that stands still while ``asking``: who is not accepted yet is not heard, nor obeyed.

    ``dialled``: who was (canonical).
    """

    consent: Consent
    dialled: str
    asking = False

    def ask(self, peer: str, kms: str | None, then: Callable[[], None]) -> None:
        """Go on with *then* if the user wants *peer*, else end the call. Once at a time."""
        if self.asking:
            return
        self.asking = True
        question = Question(call=self.number, peer=peer, called=self.dialled, kms=kms)
        self.around.emit(
            PolicyQuestion(
                at=self.now(), call=self.number, peer=peer, called=self.dialled, kms=kms,
                wait_s=self.around.config.timeouts.decision,
            )
        )  # fmt: skip

        def decided(refusal: str) -> None:
            self.asking = False
            if self._over:
                return
            try:
                if refusal:
                    detail = f"{peer} instead of {self.dialled}: {refusal}"
                    raise AgentError(Reason.IDENTITY_MISMATCH, detail, side="local")
                self.consent.give(peer)
                then()
            except SipmikeyError as error:
                self.failed(error)

        self.around.ask_user(question, decided)

    def remote_offer(self, sdp: str) -> int:
        return _NOT_ACCEPTABLE_HERE if self.asking else super().remote_offer(sdp)

    def transfer_requested(self, target: str) -> CallObserver | int:
        return _TEMPORARILY_UNAVAILABLE if self.asking else super().transfer_requested(target)
