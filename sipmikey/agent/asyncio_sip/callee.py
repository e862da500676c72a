"""An incoming call: its INVITE, reliable provisional responses, CANCEL (RFC 3261 section 13.3)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from sipmikey.agent.asyncio_sip.answering import AnsweringSession
from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.repeated_response import UnacknowledgedResponses
from sipmikey.agent.asyncio_sip.session import House
from sipmikey.agent.asyncio_sip.wire.transactions import ServerTransaction
from sipmikey.agent.asyncio_sip.writing import has_option, new_tag, response
from sipmikey.agent.stack import Headers, Lane, Phase, StackError
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.sip import SipMessage

_TERMINATED = 487


class CalleeSession(AnsweringSession):
    """The call that the INVITE of *transaction* asks for."""

    def __init__(self, house: House, lane: Lane, transaction: ServerTransaction) -> None:
        invite = transaction.request
        super().__init__(house, lane, invite.first("call-id") or "", new_tag(), None)
        self.invite = invite
        self._transaction = transaction
        self._dialog = Dialog.of_invite(invite, self.tag)
        self._answer = ""
        self._accepted = False
        self._rseq = secrets.randbelow(1 << 31) or 1
        self._unacknowledged_1xx = UnacknowledgedResponses(house.later, self._no_prack)

    @property
    def dialog(self) -> Dialog:
        """The dialog with the caller."""
        return self._dialog

    def dialog_with(self, tag: str) -> Dialog | None:
        """Return the dialog, where the tag is the caller's."""
        return self._dialog if tag == self._dialog.remote_tag else None

    def takes(self, transaction: ServerTransaction) -> bool:
        """Return True where *transaction* is that of this call's INVITE."""
        return transaction is self._transaction

    def prepare(self, introduce: Callable[[], None]) -> bool:
        """Have ICE look for our addresses, and call *introduce* then; return False where they are known."""
        if self.lane is Lane.REFUSED or not (self.invite.has_sdp or self.lane is Lane.CLEAR):
            return False
        theirs = self.invite.sdp if self.invite.has_sdp else ""
        try:
            return self.streams.prepare(partial(self.house.from_thread, introduce), theirs=theirs)
        except SipmikeyError:
            # The description will be refused with what is wrong with it.
            return False

    def describe(self) -> None:
        """Give the agent our description as it is before the keys: an offer where the INVITE has none.

        Only a call in clear is answered with an offer: keys need one of the caller's.
        """
        if self.lane is Lane.REFUSED or self.observer is None:
            return
        if not self.invite.has_sdp and self.lane is not Lane.CLEAR:
            return
        with self.guarded() as observer:
            assert observer is not None
            theirs = self.invite.sdp if self.invite.has_sdp else ""
            ours = self.own_answer(theirs) if theirs else self.own_offer(held=False)
            self._answer = observer.on_local_sdp(ours, theirs)

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None:
        """Answer with *status*; *sdp* replaces the answer made before."""
        if self.over or self._accepted:
            raise StackError("the INVITE has its answer")
        if status >= 300:
            self._ending = True
            self.respond(self._transaction, status, headers=headers)
            self.finish(status)
            return
        answered = bool(self.streams.existing)
        if sdp is None and status >= 200 and not answered:
            sdp = self._answer
        offers = not self.invite.has_sdp
        if sdp and not offers:
            self.negotiated(sdp, self.invite.sdp, ours_offered=False)
        if status < 200:
            self._ring(status, sdp, headers)
            return
        self._accepted = True
        self._unacknowledged_1xx.stop()
        self.tell_phase(Phase.CONNECTING, status, "OK")
        self.respond(self._transaction, status, sdp=sdp or None, headers=headers, offers=offers and bool(sdp))

    def _ring(self, status: int, sdp: str | None, headers: Headers) -> None:
        reliably = has_option(self.invite, "require", "100rel") or (
            sdp is not None and has_option(self.invite, "supported", "100rel")
        )
        if not reliably:
            self.respond(self._transaction, status, sdp=sdp, headers=headers)
            return
        number = self._rseq
        self._rseq += 1
        fields = (("Require", "100rel"), ("RSeq", str(number)), *headers)
        octets = self.respond(self._transaction, status, sdp=sdp, headers=fields).encode()
        self._unacknowledged_1xx.add(number, lambda: self._transaction.flow.send(octets))

    def _no_prack(self) -> None:
        """The caller did not acknowledge a reliable response (RFC 3262 section 3)."""
        self.hangup(500)

    def _on_prack(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        words = (transaction.request.first("rack") or "").split()
        invite = (self.invite.first("cseq") or "").split()
        if words[1:] != invite or self._unacknowledged_1xx.acknowledged("".join(words[:1])) is None:
            transaction.respond(response(transaction.request, 481))
            return
        if transaction.request.has_sdp:
            transaction.respond(response(transaction.request, 488))
            return
        transaction.respond(response(transaction.request, 200))

    def cancelled(self, cancel: SipMessage) -> None:
        """The caller took the INVITE back."""
        if self._accepted or self.over:
            return
        self._ending = True
        self.tell_received(cancel)
        self.respond(self._transaction, _TERMINATED)
        self.finish(_TERMINATED, "Request Terminated")

    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None:
        """Refuse with *status*, described by *sdp*, or BYE."""
        if self.over or self._ending:
            return
        self._ending = True
        if not self._accepted:
            status = status if status >= 300 else 603
            self.respond(self._transaction, status, sdp=sdp, headers=headers)
            self.finish(status)
        else:
            self.bye(headers, last=True)

    def end_branch(self, to_tag: str, *, headers: Headers = ()) -> None:
        """Do nothing: a call that came has one branch."""

    def _on_bye(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        if not self._accepted:
            # A caller may end an early dialog (section 15).
            self.respond(self._transaction, _TERMINATED)
        super()._on_bye(transaction, dialog)

    def finish(self, status: int, reason: str = "") -> None:
        """The session is over."""
        self._unacknowledged_1xx.stop()
        super().finish(status, reason)
