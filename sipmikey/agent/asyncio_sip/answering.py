"""The requests of the peer within a call: offers, BYE, ACK (RFC 3261 sections 14.2 and 15.1.2)."""

from __future__ import annotations

from functools import partial

from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.session import Session
from sipmikey.agent.asyncio_sip.session_timer import TOO_SMALL, interval_too_small
from sipmikey.agent.asyncio_sip.wire.transactions import ServerTransaction
from sipmikey.agent.asyncio_sip.writing import ALLOW, SUPPORTED, response
from sipmikey.agent.stack import CallObserver, StackError
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.sip import SipMessage


class AnsweringSession(Session):
    """A session that answers the requests of its peer."""

    def receive(self, transaction: ServerTransaction) -> None:
        """Take a request of the peer."""
        message = transaction.request
        dialog = self.dialog_with(message.tag("from"))
        if dialog is None or (self.over and message.method != "ACK"):
            transaction.respond(response(message, 481))
        elif message.method == "ACK":
            self._acknowledged(message)
        elif not dialog.accepts(message):
            transaction.respond(response(message, 500, headers=(("Retry-After", "1"),)))
        else:
            handler = getattr(self, f"_on_{message.method.lower()}", None)
            if handler is None:
                transaction.respond(response(message, 405, headers=(("Allow", ALLOW),)))
            else:
                handler(transaction, dialog)

    def _on_bye(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        transaction.respond(response(transaction.request, 200))
        self.tell_received(transaction.request)
        self.finish(200, "Normal call clearing")

    def _on_options(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        headers = (("Allow", ALLOW), ("Supported", ", ".join(SUPPORTED)), ("Accept", "application/sdp"))
        transaction.respond(response(transaction.request, 200, headers=headers))

    def _on_info(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        transaction.respond(response(transaction.request, 415 if transaction.request.content else 200))

    def _on_message(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        transaction.respond(response(transaction.request, 200))
        remote = transaction.flow.remote
        self.house.observer.on_message(transaction.request, f"{remote[0]}:{remote[1]}")

    def _on_refer(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        self.house.referrals.receive(self, transaction, dialog)

    def _on_notify(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        self.house.referrals.notified(self, transaction)

    def _on_prack(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        transaction.respond(response(transaction.request, 481))

    def _asks_too_often(self, transaction: ServerTransaction) -> bool:
        """Refuse a session interval that is too short."""
        fields = interval_too_small(transaction.request)
        if fields is not None:
            transaction.respond(response(transaction.request, TOO_SMALL, headers=fields))
        return fields is not None

    def _on_update(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        if self._asks_too_often(transaction):
            return
        if transaction.request.has_sdp and self._refuses_offers(transaction):
            return
        dialog.follow(transaction.request)
        if transaction.request.has_sdp:
            self._answer_offer(transaction, dialog)
            return
        self.respond(transaction, 200)

    def _on_invite(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        message = transaction.request
        if not self.confirmed:
            transaction.respond(response(message, 500, headers=(("Retry-After", "1"),)))
            return
        if self._refuses_offers(transaction) or self._asks_too_often(transaction):
            return
        dialog.follow(message)
        if message.has_sdp:
            self._answer_offer(transaction, dialog)
        else:
            self._offer_in_200(transaction)

    def _refuses_offers(self, transaction: ServerTransaction) -> bool:
        """Refuse the offer of the peer while another is under way (RFC 3261 section 14.2, RFC 3311)."""
        if self._proposal is not None or self._gathers_for_us:
            transaction.respond(response(transaction.request, 491))
            return True
        if self._gathers_for_peer:
            transaction.respond(response(transaction.request, 500, headers=(("Retry-After", "1"),)))
            return True
        return False

    def offer_taken(self, dialog: Dialog) -> None:
        """The offer of the peer with *dialog* is answered; the streams are that branch's now."""

    def _answer_offer(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Judge the offer of the peer, and answer it. One that is refused leaves the streams as they are."""
        message, observer = transaction.request, self.observer
        if observer is None:
            transaction.respond(response(message, 481))
            return
        try:
            observer.on_message("received", message)
            if fault := self._fault_over(transaction.flow.transport):
                raise StackError(fault)
            verdict = observer.on_remote_offer(message.sdp)
            if verdict.status != 200:
                self.respond(transaction, verdict.status, headers=verdict.headers)
                return
            go_on = partial(self._answer_judged, transaction, dialog, observer)
            self._gathers_for_peer = self.streams.prepare(
                partial(self.house.from_thread, go_on), theirs=message.sdp
            )
        except SipmikeyError as error:
            self._refuse_offer(transaction, observer, error)
            return
        if not self._gathers_for_peer:
            go_on()

    def _answer_judged(self, transaction: ServerTransaction, dialog: Dialog, observer: CallObserver) -> None:
        theirs = transaction.request.sdp
        self._gathers_for_peer = False
        if self.over:
            transaction.respond(response(transaction.request, 481))
            return
        try:
            sdp = observer.on_local_sdp(self.own_answer(theirs), theirs)
            self.offer_taken(dialog)
            self.negotiated(sdp, theirs, ours_offered=False)
        except SipmikeyError as error:
            self._refuse_offer(transaction, observer, error)
            return
        self.respond(transaction, 200, sdp=sdp)

    def _refuse_offer(
        self, transaction: ServerTransaction, observer: CallObserver, error: SipmikeyError
    ) -> None:
        self.respond(transaction, 488)
        self.house.soon(lambda: observer.on_failed(error))

    def _offer_in_200(self, transaction: ServerTransaction) -> None:
        """Offer in the 200 to an INVITE without an offer; the ACK has the answer."""
        observer = self.observer
        if observer is None:
            return
        try:
            observer.on_message("received", transaction.request)
            if fault := self._fault_over(transaction.flow.transport):
                raise StackError(fault)
            sdp = observer.on_local_sdp(self.own_offer(held=self._held), "")
        except SipmikeyError as error:
            self._refuse_offer(transaction, observer, error)
            return
        self.respond(transaction, 200, sdp=sdp, offers=True)

    def _acknowledged(self, message: SipMessage) -> None:
        number = (message.first("cseq") or "").partition(" ")[0]
        offered = self._unacknowledged_2xx.acknowledged(number)
        if offered is None:
            return
        if offered and message.has_sdp:
            with self.guarded():
                self.negotiated(offered, message.sdp, ours_offered=True)
        if offered:
            self.tell_received(message)
        self.confirm()
