"""What caller and callee have in common: an INVITE session on this stack, as ``StackCall``.

Everything runs in the engine's thread, in callbacks of the event loop, and nothing waits.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Exchange, Means, Silent, target_of
from sipmikey.agent.asyncio_sip.media import Media
from sipmikey.agent.asyncio_sip.repeated import UnacknowledgedResponses
from sipmikey.agent.asyncio_sip.requests_within import Farewell, Proposal, draft_within
from sipmikey.agent.asyncio_sip.session_table import SessionTable
from sipmikey.agent.asyncio_sip.streams import SessionStreams
from sipmikey.agent.asyncio_sip.wire.transactions import LIFETIME, Later, ServerTransaction
from sipmikey.agent.asyncio_sip.writing import ALLOW, SUPPORTED, response, session_response
from sipmikey.agent.config import AgentConfig, Transport
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    Lane,
    Phase,
    Seat,
    SrtpKeys,
    StackCall,
    StackError,
    StackObserver,
    StreamCount,
)
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.sip import SipMessage

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_NO_DIALOG = frozenset((408, 481))
_BYE_S = 4.0
"""How long a call whose BYE gets no answer still counts as a call."""


class Referrals(Protocol):
    """Transfers of calls."""

    def send(self, session: Session, target: str, replacing: StackCall | None) -> None:
        """Send REFER. Raises ``StackError``."""

    def receive(self, session: Session, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Take a REFER."""

    def notified(self, session: Session, transaction: ServerTransaction) -> None:
        """Take a NOTIFY within a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the sessions of one stack have in common."""

    config: AgentConfig
    observer: StackObserver
    means: Means
    media: Media
    later: Later
    board: SessionTable[Session]
    soon: Callable[[Callable[[], None]], None]
    codecs: Callable[[], tuple[str, ...]]
    referrals: Referrals
    call: Callable[[str, Lane, CallObserver, Headers, Callable[[int, str, bool], None]], None]
    """Makes the call that a REFER asks for: URI, lane, observer, header fields, callback for its progress."""


class Session:
    """Base of both sides. *tag*: ours. *observer* None until the agent has taken the call."""

    def __init__(
        self, house: House, lane: Lane, call_id: str, tag: str, observer: CallObserver | None
    ) -> None:
        self.house = house
        self.lane = lane
        self.sip_call_id = call_id
        self.tag = tag
        self.observer = observer
        self.over = False
        self.confirmed = False
        self.numbers = itertools.count(1)
        self.streams = SessionStreams(
            house.media, lane, house.codecs, house.config.audio.streams, self._heard_digit
        )
        self._held = False
        self._proposal: Proposal | None = None
        self._unacknowledged_2xx = UnacknowledgedResponses(house.later, self._not_acknowledged)
        self._ending = False

    # What differs between caller and callee

    @property
    def dialog(self) -> Dialog | None:
        """The dialog of the call, None while there is none."""
        raise NotImplementedError

    def dialog_with(self, tag: str) -> Dialog | None:
        """Return the dialog with the peer of that tag."""
        raise NotImplementedError

    # StackCall

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None:
        """Answer the INVITE that came."""
        raise StackError("this call was made here")

    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None:
        """CANCEL, BYE, or refuse with *status*, whichever the state of the call calls for."""
        raise NotImplementedError

    def end_branch(self, to_tag: str, *, headers: Headers = ()) -> None:
        """Send BYE to a branch that answered but does not have the call."""

    def key(self, index: int, keys: SrtpKeys) -> StreamCount | None:
        """Run a stream on *keys*; return its packets so far."""
        before = next((count for count in self.counts() if count.index == index), None)
        self.streams.key(index, keys, confirmed=self.confirmed)
        return before

    def unkey(self) -> None:
        """Take the keys of all streams away."""
        self.streams.unkey()

    def counts(self) -> tuple[StreamCount, ...]:
        """Packets of every stream so far."""
        return self.streams.counts()

    def connect_audio(self) -> None:
        """Let sound flow between the streams and the user."""
        self.streams.speak()

    def seat(self, seat: Seat) -> None:
        """Have the call hear, and be heard by, those of its room only."""
        self.streams.seat(seat)

    def mixes_with(self, other: StackCall) -> bool:
        """True: all calls of a process are in one engine."""
        return isinstance(other, Session)

    def dtmf(self, digits: str) -> None:
        """Send telephone events."""
        self.streams.dtmf(digits)

    def reinvite(
        self, *, hold: bool = False, unhold: bool = False, moved: bool = False, restart: bool = False
    ) -> None:
        """Offer again, by re-INVITE. Raises ``StackError`` where the media is to have another address."""
        if moved or restart:
            raise StackError("sip.stack python has no other address for the media of a call: use pjsua2")
        self._propose("INVITE", held=True if hold else False if unhold else self._held)

    def update(self) -> None:
        """Offer again, by UPDATE."""
        self._propose("UPDATE", held=self._held)

    def transfer(self, target: str, replacing: StackCall | None = None) -> None:
        """Send REFER."""
        self.house.referrals.send(self, target, replacing)

    # Observing

    @contextlib.contextmanager
    def guarded(self) -> Iterator[CallObserver | None]:
        """Run an observer's method; an exception in it ends the call."""
        try:
            yield self.observer
        except Exception as error:  # noqa: BLE001 - it is the end of this call, not of the stack
            if not isinstance(error, SipmikeyError):
                _log.exception("a callback failed")
            observer, cause = self.observer, error
            if observer is not None:
                self.house.soon(lambda: observer.failed(cause))

    def tell_sent(self, message: SipMessage) -> None:
        """Tell of a message that went out."""
        with self.guarded() as observer:
            if observer is not None:
                observer.message("sent", message)

    def tell_received(self, message: SipMessage) -> None:
        """Tell of a message that came in."""
        with self.guarded() as observer:
            if observer is not None:
                observer.message("received", message)

    def tell_phase(self, phase: Phase, status: int = 0, reason: str = "") -> None:
        """Tell of another phase."""
        with self.guarded() as observer:
            if observer is not None:
                observer.phase(phase, status, reason)

    def confirm(self) -> None:
        """The INVITE has succeeded."""
        if not self.confirmed:
            self.confirmed = True
            self.streams.choose()
            self.tell_phase(Phase.CONFIRMED, 200, "OK")

    def finish(self, status: int, reason: str = "") -> None:
        """The session is over."""
        if self.over:
            return
        self.over = True
        self._unacknowledged_2xx.stop()
        if self._proposal is not None:
            self._proposal.exchange.drop()
        self.tell_phase(Phase.DISCONNECTED, status, reason)
        self.observer = None
        self.streams.close()
        self.house.board.end(self)
        self.house.later(LIFETIME, lambda: self.house.board.forget(self))

    # Descriptions

    def _heard_digit(self, digit: str) -> None:
        with self.guarded() as observer:
            if observer is not None:
                observer.dtmf(digit)

    def own_offer(self, *, held: bool) -> str:
        """Return our offer, before the call's machine has seen it."""
        return self.streams.own_offer(held=held)

    def own_answer(self, theirs: str) -> str:
        """Return our answer to *theirs*, before the call's machine has seen it. Raises ``SdpMalformed``."""
        return self.streams.own_answer(theirs, held=self._held)

    def negotiated(self, ours: str, theirs: str, *, ours_offered: bool) -> None:
        """Connect the streams as offer and answer say, and tell of those that are new.

        Raises ``PeerError`` for keys in them that cannot be used.
        """
        before = self.streams.existing if self.confirmed else frozenset()
        after = self.streams.connect(ours, theirs, ours_offered=ours_offered)
        with self.guarded() as observer:
            if observer is not None:
                for index in sorted(after - before):
                    observer.stream_created(index)

    def fault_of_keys(self, hop: str) -> str:
        """Return why no description may go to *hop*: the keys of SDES may be in it; ``""`` where it may."""
        target = target_of(hop, self.house.config.sip)
        return "" if target is None else self._fault_over(target.transport)

    def _fault_over(self, transport: Transport) -> str:
        if self.lane is Lane.SDES and not self.house.config.policy.sdes_over(str(transport)):
            return f"keys of SDES do not go over {transport}, where policy wants TLS"
        return ""

    # Our requests within the dialog

    def _propose(self, method: str, *, held: bool) -> None:
        dialog = self.dialog
        if dialog is None or self.over:
            raise StackError("the call is over")
        if self._proposal is not None or self.observer is None:
            raise StackError("an offer of ours is under way")
        if fault := self.fault_of_keys(dialog.next_hop):
            raise StackError(fault)
        sdp = self.observer.local_sdp(self.own_offer(held=held), "")
        self._proposal = Proposal(self, self.house.means, method, dialog, sdp, held=held)
        self._proposal.exchange.begin()

    def proposal_done(self, proposal: Proposal, message: SipMessage) -> None:
        """A final response to our offer came."""
        self._proposal = None
        if 200 <= message.status < 300:
            proposal.dialog.follow(message)
            self._held = proposal.held
            if message.has_sdp:
                with self.guarded():
                    self.negotiated(proposal.sdp, message.sdp, ours_offered=True)
        self.tell_received(message)
        if message.status in _NO_DIALOG:
            self.hangup()

    def proposal_failed(self, status: int, reason: str) -> None:
        """Our offer got no response at all: the dialog is gone (RFC 3261 section 14.1)."""
        self._proposal = None
        self.bye(())
        self.finish(status, reason)

    def bye(self, headers: Headers, dialog: Dialog | None = None, *, last: bool = False) -> None:
        """Send BYE; *last*: the session is over with its response."""
        dialog = dialog or self.dialog
        if dialog is None:
            if last:
                self.finish(0)
            return
        over = partial(self.finish, 200, "Normal call clearing")
        listener = Farewell(self.tell_sent, over) if last else Silent()
        Exchange(self.house.means, draft_within("BYE", dialog, headers), listener).begin()
        if last:
            self.house.later(_BYE_S, over)

    # Requests of the peer within the dialog

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
        self.house.observer.message(transaction.request, f"{remote[0]}:{remote[1]}")

    def _on_refer(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        self.house.referrals.receive(self, transaction, dialog)

    def _on_notify(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        self.house.referrals.notified(self, transaction)

    def _on_prack(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        transaction.respond(response(transaction.request, 481))

    def _on_update(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        dialog.follow(transaction.request)
        if transaction.request.has_sdp:
            self._answer_offer(transaction, dialog)
            return
        self.respond(transaction, 200)

    def _on_invite(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        message = transaction.request
        if not self.confirmed or self._proposal is not None:
            status = 491 if self._proposal is not None else 500
            later = () if status == 491 else (("Retry-After", "1"),)
            transaction.respond(response(message, status, headers=later))
            return
        dialog.follow(message)
        if message.has_sdp:
            self._answer_offer(transaction, dialog)
        else:
            self._offer_in_200(transaction)

    def offer_taken(self, dialog: Dialog) -> None:
        """The offer of the peer with *dialog* is answered; the streams are that branch's now."""

    def _answer_offer(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Judge the offer of the peer, and answer it. One that is refused leaves the streams as they are."""
        message, observer = transaction.request, self.observer
        if observer is None:
            transaction.respond(response(message, 481))
            return
        try:
            observer.message("received", message)
            if fault := self._fault_over(transaction.flow.transport):
                raise StackError(fault)
            verdict = observer.remote_offer(message.sdp)
            if verdict.status != 200:
                self.respond(transaction, verdict.status, headers=verdict.headers)
                return
            sdp = observer.local_sdp(self.own_answer(message.sdp), message.sdp)
            self.offer_taken(dialog)
            self.negotiated(sdp, message.sdp, ours_offered=False)
        except SipmikeyError as error:
            self.respond(transaction, 488)
            failure = error
            self.house.soon(lambda: observer.failed(failure))
            return
        self.respond(transaction, 200, sdp=sdp)

    def _offer_in_200(self, transaction: ServerTransaction) -> None:
        """Offer in the 200 to an INVITE without an offer; the ACK has the answer."""
        observer = self.observer
        if observer is None:
            return
        try:
            observer.message("received", transaction.request)
            if fault := self._fault_over(transaction.flow.transport):
                raise StackError(fault)
            sdp = observer.local_sdp(self.own_offer(held=self._held), "")
        except SipmikeyError as error:
            self.respond(transaction, 488)
            failure = error
            self.house.soon(lambda: observer.failed(failure))
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

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        *,
        sdp: str | None = None,
        headers: Headers = (),
        offers: bool = False,
    ) -> SipMessage:
        """Send a response, tell of it, and repeat a 2xx to an INVITE until its ACK comes."""
        message = transaction.request
        contact = self.house.means.contact(transaction.flow)
        made = session_response(message, status, tag=self.tag, contact=contact, headers=headers, sdp=sdp)
        transaction.respond(made)
        if message.method == "INVITE" and 200 <= status < 300:
            number, octets = int((made.first("cseq") or "0").partition(" ")[0]), made.encode()
            offered = (sdp or "") if offers else ""
            self._unacknowledged_2xx.add(number, lambda: transaction.flow.send(octets), offered)
        if message.method in ("INVITE", "UPDATE"):
            self.tell_sent(made)
        return made

    def _not_acknowledged(self) -> None:
        """The peer did not acknowledge our 2xx (RFC 3261 section 13.3.1.4)."""
        self.bye(())
        self.finish(408, "no ACK")
