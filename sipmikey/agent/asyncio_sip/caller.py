"""An outgoing call: one INVITE, a dialog for each branch that answers, CANCEL (RFC 3261 section 13.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sipmikey.agent.asyncio_sip.answering import AnsweringSession
from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Silent, fault_of_way
from sipmikey.agent.asyncio_sip.requests_within import acknowledge, draft_within, send_within
from sipmikey.agent.asyncio_sip.session import House
from sipmikey.agent.asyncio_sip.wire.transactions import ServerTransaction
from sipmikey.agent.asyncio_sip.writing import (
    ALLOW,
    SDP_TYPE,
    SUPPORTED,
    has_option,
    new_call_id,
    new_tag,
    own_address,
    response,
    route_through,
)
from sipmikey.agent.stack import CallObserver, Headers, Lane, Phase, StackError
from sipmikey.sdp.errors import MediaMismatch, SdpMalformed
from sipmikey.sip import SipMessage

_TERMINATED = 487

_CANCEL_S = 8.0
"""How long a call that was taken back waits for its end; a 2xx that comes later is ended as well."""


@dataclass(slots=True, kw_only=True)
class Branch:
    """One device that answered. ``sdp``: its answer. ``rseq``: of its last reliable response, 0 for none."""

    dialog: Dialog
    sdp: str = ""
    rseq: int = 0
    ack: SipMessage | None = None
    ended: bool = False
    headers: Headers = field(default=())


class CallerSession(AnsweringSession):
    """An INVITE of ours. *uri*: in To. *target*: Request-URI."""

    def __init__(self, house: House, lane: Lane, observer: CallObserver, uri: str, target: str) -> None:
        super().__init__(house, lane, new_call_id(), new_tag(), observer)
        self._uri = uri
        self._target = target
        self._branches: dict[str, Branch] = {}
        self._heard = ""
        self._chosen = ""
        self._offer = ""
        self._answered = False
        self._cancelled = False
        self._exchange: Exchange | None = None
        self._again: Callable[[], None] = lambda: None
        self.progress: Callable[[int, str, bool], None] | None = None
        """Called with the progress of the INVITE, for the party that asked for the call (REFER)."""

    @property
    def dialog(self) -> Dialog | None:
        """The dialog with the branch that has the call."""
        branch = self._branches.get(self._chosen)
        return None if branch is None or branch.ended else branch.dialog

    def dialog_with(self, tag: str) -> Dialog | None:
        """Return the dialog with the branch of that tag."""
        branch = self._branches.get(tag)
        return None if branch is None or branch.ended else branch.dialog

    def begin(self, headers: Headers) -> None:
        """Send the INVITE, as soon as ICE knows our addresses.

        Raises the error with which the agent refused to describe it, where it does not wait for ICE.
        """
        hop = self.house.config.sip.proxy or self._target
        if fault := self.fault_of_keys(hop):
            raise StackError(f"INVITE to {self._target}: {fault}")
        if fault := fault_of_way(self._target, hop, self.house.config.sip):
            # As if the transport had failed: a redirected call goes on to its next contact.
            self.house.soon(partial(self.on_failed, 503, f"INVITE to {self._target}: {fault}"))
            return

        def go_on() -> None:
            if not self._ending and not self.over:
                with self.guarded():
                    self._invite(hop, headers)

        if not self.streams.prepare(partial(self.house.from_thread, go_on)):
            self._invite(hop, headers)

    def _invite(self, hop: str, headers: Headers) -> None:
        assert self.observer is not None
        self._offer = self.observer.on_local_sdp(self.own_offer(held=False), "")
        self._send(hop, headers)

    def _send(self, hop: str, headers: Headers) -> None:
        config = self.house.config
        supported = (*SUPPORTED, *(("precondition",) if config.sip.preconditions else ()))
        self._again = partial(self._send, hop, headers)
        draft = Draft(
            method="INVITE",
            uri=self._target,
            hop=hop,
            sender=f"{own_address(config)};tag={self.tag}",
            receiver=f"<{self._uri}>",
            call_id=self.sip_call_id,
            number=lambda: next(self.numbers),
            headers=(
                *route_through(config.sip.proxy), ("Allow", ALLOW), ("Supported", ", ".join(supported)),
                *self.timer.asked(), *headers, SDP_TYPE,
            ),
            content=self._offer.encode(),
            contact=True,
        )  # fmt: skip
        self._exchange = Exchange(self.house.means, draft, self)
        self._exchange.begin()

    # Listener of the INVITE

    def on_sent(self, message: SipMessage) -> None:
        """The INVITE went out."""
        self.tell_sent(message)
        self.tell_phase(Phase.CALLING)

    def on_challenged(self, message: SipMessage) -> None:
        """A proxy asks for a password."""
        self.tell_received(message)

    def on_failed(self, status: int, reason: str) -> None:
        """There is no response."""
        self._answered = True
        self.finish(_TERMINATED if self._cancelled and status == 408 else status, reason)

    def on_response(self, message: SipMessage) -> None:
        """A response came."""
        if message.status == 100:
            return
        if message.status < 200:
            self._provisional(message)
        elif message.status < 300:
            self._accepted(message)
        elif not self._answered:
            if not self._ending and self.timer.longer(message):
                self._branches.clear()
                self._again()
                return
            self._answered = True
            self.tell_received(message)
            self.finish(message.status, message.reason_phrase)

    def _branch_of(self, message: SipMessage) -> Branch | None:
        tag = message.to_tag
        if not tag:
            return None
        if tag not in self._branches:
            if len(self._branches) >= 64:
                return None
            self._branches[tag] = Branch(dialog=Dialog.of_response(message, self.numbers))
        return self._branches[tag]

    def _provisional(self, message: SipMessage) -> None:
        if self._answered or self.over:
            return
        branch = self._branch_of(message)
        reliable = message.first("rseq")
        if branch is not None and reliable is not None and has_option(message, "require", "100rel"):
            if not reliable.isdecimal() or not self._in_order(branch, int(reliable)):
                return
            branch.dialog.follow(message)
            self._acknowledge_provisional(branch, message)
        if self._cancelled:
            return
        told = message
        if branch is not None and message.has_sdp:
            if not branch.sdp:
                if not self._hear(branch, message):
                    return
            elif self._heard != message.to_tag:
                # Its first description was its answer (section 13.2.1): the media heard stays the same.
                told = message.with_header("Content-Type", None).with_content(b"")
        self._report(message.status, message.reason_phrase, final=False)
        self.tell_phase(Phase.EARLY, message.status, message.reason_phrase)
        self.tell_received(told)

    def _in_order(self, branch: Branch, number: int) -> bool:
        """Note the number of a reliable response; False for a repeated or early one (RFC 3262)."""
        if branch.rseq and number != branch.rseq + 1:
            return False
        branch.rseq = number
        return True

    def _acknowledge_provisional(self, branch: Branch, message: SipMessage) -> None:
        rack = ("RAck", f"{branch.rseq} {message.first('cseq')}")
        Exchange(self.house.means, draft_within("PRACK", branch.dialog, (rack,)), Silent()).begin()

    def _hear(self, branch: Branch, message: SipMessage) -> bool:
        """Make the streams for the description of a branch; they have no keys yet.

        Returns False where it cannot be used: the call ends then.
        """
        branch.sdp = branch.sdp or message.sdp
        self._heard = message.to_tag
        if self.lane is Lane.SECURED:
            self.unkey()
        with self.guarded():
            try:
                self.negotiated(self._offer, branch.sdp, ours_offered=True)
            except SdpMalformed as error:
                why = f"the SIP stack cannot use the description of the peer: {error}"
                raise MediaMismatch(why, field=error.field) from None
            return True
        return False

    def _accepted(self, message: SipMessage) -> None:
        branch = self._branch_of(message)
        if branch is None or self._exchange is None:
            return
        if branch.ack is not None:
            send_within(self.house.means, branch.dialog, branch.ack)
            return
        branch.dialog.settle(message)
        branch.ack = acknowledge(branch.dialog, self._exchange, message)
        send_within(self.house.means, branch.dialog, branch.ack)
        first, self._answered = not self._answered, True
        if self.over or self._ending:
            self._end(branch, (), last=self._cancelled and not self.over)
            return
        if first or not self._chosen:
            self._chosen = message.to_tag
        if not self.confirmed or self.dialog is branch.dialog:
            self.timer.agreed(message)
            described = (message.has_sdp or branch.sdp) and self._heard != message.to_tag
            if described and not self._hear(branch, message):
                return
            self.confirm()
        self._report(message.status, message.reason_phrase, final=True)
        self.tell_received(message)

    def _report(self, status: int, reason: str, *, final: bool) -> None:
        if self.progress is not None:
            self.progress(status, reason, final)
            if final:
                self.progress = None

    def finish(self, status: int, reason: str = "") -> None:
        """The session is over."""
        if not self.over:
            self._report(status or 503, reason, final=True)
        super().finish(status, reason)

    # Endings

    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None:
        """CANCEL, or BYE."""
        if self.over or self._ending:
            return
        self._ending = True
        if self._answered:
            accepted = [
                branch for branch in self._branches.values() if branch.ack is not None and not branch.ended
            ]
            for branch in accepted[1:]:
                self._end(branch, headers)
            if accepted:
                self._end(accepted[0], headers, last=True)
            else:
                self.finish(200, "Normal call clearing")
            return
        self._cancelled = True
        if self._exchange is None or not self._exchange.cancel(headers):
            self.finish(_TERMINATED, "Request Terminated")
            return
        self.house.later(_CANCEL_S, lambda: self.finish(_TERMINATED, "Request Terminated"))

    def end_branch(self, to_tag: str, *, headers: Headers = ()) -> None:
        """Send BYE to a branch that answered but does not have the call."""
        branch = self._branches.get(to_tag)
        if branch is not None and branch.ack is not None:
            self._end(branch, headers)
            if self._chosen == to_tag:
                self._chosen = ""

    def _end(self, branch: Branch, headers: Headers, *, last: bool = False) -> None:
        if not branch.ended:
            branch.ended = True
            self.bye(headers, branch.dialog, last=last)

    def _on_bye(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        if self._chosen and dialog is not self.dialog:
            transaction.respond(response(transaction.request, 200))
            self._branches[dialog.remote_tag].ended = True
            return
        super()._on_bye(transaction, dialog)

    def _on_invite(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        if dialog is not self.dialog:
            transaction.respond(response(transaction.request, 481))
            return
        super()._on_invite(transaction, dialog)

    def offer_taken(self, dialog: Dialog) -> None:
        """The offer of a branch is answered: the streams are those of that branch now."""
        self._heard = dialog.remote_tag
