"""What caller and callee have in common: an INVITE session on this stack, as ``StackCall``.

Everything runs in the engine's thread, in callbacks of the event loop, and nothing waits.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Exchange, Means, Silent, target_of
from sipmikey.agent.asyncio_sip.media.all_calls import Media
from sipmikey.agent.asyncio_sip.media.streams import SessionStreams
from sipmikey.agent.asyncio_sip.repeated_response import UnacknowledgedResponses
from sipmikey.agent.asyncio_sip.requests_within import Farewell, Proposal, Refreshing, draft_within
from sipmikey.agent.asyncio_sip.session_table import SessionTable
from sipmikey.agent.asyncio_sip.session_timer import SessionTimer
from sipmikey.agent.asyncio_sip.wire.transactions import LIFETIME, Later, ServerTransaction
from sipmikey.agent.asyncio_sip.writing import session_response
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
from sipmikey.nat.path import MediaPath
from sipmikey.sip import SipMessage

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_NO_DIALOG = frozenset((408, 481))
_REFRESH_AGAIN_S = 5.0
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
    from_thread: Callable[[Callable[[], None]], None]
    """Runs a callable in the engine's thread; from any thread."""
    codecs: Callable[[], tuple[str, ...]]
    referrals: Referrals
    call: Callable[[str, Lane, CallObserver, Headers, Callable[[int, str, bool], None]], None]
    """Makes the call that a REFER asks for: URI, lane, observer, header fields, callback for its progress."""


class Session(ABC):
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
        self.streams.on_path = self._chose_path
        self._gathers_for_us = self._gathers_for_peer = False
        self.timer = SessionTimer(
            house.later, house.config.sip.session_expires_s, self._refresh, self._expired
        )
        self._held = False
        self._proposal: Proposal | None = None
        self._unacknowledged_2xx = UnacknowledgedResponses(house.later, self._not_acknowledged)
        self._ending = False

    # What differs between caller and callee

    @property
    @abstractmethod
    def dialog(self) -> Dialog | None:
        """The dialog of the call, None while there is none."""

    @abstractmethod
    def dialog_with(self, tag: str) -> Dialog | None:
        """Return the dialog with the peer of that tag."""

    # StackCall

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None:
        """Answer the INVITE that came."""
        raise StackError("this call was made here")

    @abstractmethod
    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None:
        """CANCEL, BYE, or refuse with *status*, whichever the state of the call calls for."""

    @abstractmethod
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
        held = True if hold else False if unhold else self._held
        if not restart:
            # Where our address changed, descriptions name the new one already.
            self._propose("INVITE", held=held)
            return
        self._check_proposal()

        def go_on() -> None:
            self._gathers_for_us = False
            if not self.over:
                with self.guarded():
                    self._propose("INVITE", held=held)

        self._gathers_for_us = self.streams.prepare(partial(self.house.from_thread, go_on), again=True)
        if not self._gathers_for_us:
            self._propose("INVITE", held=held)

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
                self.house.soon(lambda: observer.on_failed(cause))

    def tell_sent(self, message: SipMessage) -> None:
        """Tell of a message that went out."""
        with self.guarded() as observer:
            if observer is not None:
                observer.on_message("sent", message)

    def tell_received(self, message: SipMessage) -> None:
        """Tell of a message that came in."""
        with self.guarded() as observer:
            if observer is not None:
                observer.on_message("received", message)

    def tell_phase(self, phase: Phase, status: int = 0, reason: str = "") -> None:
        """Tell of another phase."""
        with self.guarded() as observer:
            if observer is not None:
                observer.on_phase(phase, status, reason)

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
        self.timer.stop()
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
                observer.on_dtmf(digit)

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
                    observer.on_stream_created(index)

    def fault_of_keys(self, hop: str) -> str:
        """Return why no description may go to *hop*: keys may be in it; ``""`` where it may."""
        target = target_of(hop, self.house.config.sip)
        return "" if target is None else self._fault_over(target.transport)

    def _fault_over(self, transport: Transport) -> str:
        if self.lane is not Lane.BY_STACK:
            return ""
        keys = self.house.media.stack_keys
        if keys is None or not keys.may_go_over(str(transport)):
            return f"keys in a description do not go over {transport}: policy wants TLS for them"
        return ""

    def _chose_path(self, index: int, path: MediaPath) -> None:
        observer = self.house.observer
        self.house.from_thread(lambda: observer.on_media_path(self.sip_call_id, index, path))

    # Our requests within the dialog

    def _check_proposal(self) -> tuple[Dialog, CallObserver]:
        """Return whom to offer to, and who describes it. Raises ``StackError`` where neither may be."""
        dialog = self.dialog
        if dialog is None or self.over:
            raise StackError("the call is over")
        if self._proposal is not None or self._gathers_for_us or self.observer is None:
            raise StackError("an offer of ours is under way")
        if self._gathers_for_peer:
            raise StackError("an offer of the peer is under way")
        if fault := self.fault_of_keys(dialog.next_hop):
            raise StackError(fault)
        return dialog, self.observer

    def _propose(self, method: str, *, held: bool) -> None:
        dialog, observer = self._check_proposal()
        sdp = observer.on_local_sdp(self.own_offer(held=held), "")
        timer = self.timer.asked() if self.confirmed else ()
        means = self.house.means
        self._proposal = Proposal(self, means, method, dialog, sdp, held=held, headers=timer)
        self._proposal.exchange.begin()

    def proposal_done(self, proposal: Proposal, message: SipMessage) -> None:
        """A final response to our offer came."""
        self._proposal = None
        if 200 <= message.status < 300:
            proposal.dialog.follow(message)
            self._held = proposal.held
            if self.confirmed:
                self.timer.agreed(message)
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

    def _refresh(self) -> None:
        """Refresh the session, or let an offer that is under way do that (RFC 4028 section 7.4)."""
        dialog = self.dialog
        if dialog is None or self.over:
            return
        if self._proposal is not None or self._gathers_for_us or self._gathers_for_peer:
            self.house.later(_REFRESH_AGAIN_S, self._refresh)
        elif dialog.takes_update:
            listener = Refreshing(partial(self._refreshed, dialog), self._expired)
            Exchange(self.house.means, draft_within("UPDATE", dialog, self.timer.asked()), listener).begin()
        else:
            with self.guarded():
                self._propose("INVITE", held=self._held)

    def _refreshed(self, dialog: Dialog, message: SipMessage) -> None:
        if self.over:
            return
        if message.status < 300:
            dialog.follow(message)
            self.timer.agreed(message)
        elif message.status in _NO_DIALOG:
            self._expired()
        elif self.timer.longer(message):
            self._refresh()

    def _expired(self) -> None:
        """The session was not refreshed (RFC 4028 section 10)."""
        if not self.over:
            self.bye(())
            self.finish(408, "the session timer expired")

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

    @abstractmethod
    def receive(self, transaction: ServerTransaction) -> None:
        """Take a request of the peer."""

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
        if 200 <= status < 300 and (
            message.method == "INVITE" or (message.method == "UPDATE" and self.confirmed)
        ):
            headers = (*self.timer.answer(message), *headers)
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
