"""What caller and callee have in common: an INVITE session on this stack, as ``StackCall``.

Everything runs in the engine's thread, in callbacks of the event loop, and nothing waits.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from sipmikey.agent.asyncio_sip.description import agreed, answer, offer, read
from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means, Silent, target_of, via_of
from sipmikey.agent.asyncio_sip.media import Media
from sipmikey.agent.asyncio_sip.repeated import Repeated
from sipmikey.agent.asyncio_sip.wire.flows import Flow
from sipmikey.agent.asyncio_sip.wire.transactions import LIFETIME, Later, ServerTransaction
from sipmikey.agent.asyncio_sip.writing import ALLOW, SUPPORTED, request, response
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.python_media.engine import CallMedia
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

SDP_TYPE = ("Content-Type", "application/sdp")
_NO_DIALOG = frozenset((408, 481))
_BYE_S = 4.0
"""How long a call whose BYE gets no answer is still counted as one."""


class Switchboard:
    """Where sessions are found: by Call-ID and our tag. Those that are over stay for late messages."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str], Session] = {}
        self.living: list[Session] = []

    def add(self, session: Session) -> None:
        self.sessions[session.sip_call_id, session.tag] = session
        self.living.append(session)

    def end(self, session: Session) -> None:
        if session in self.living:
            self.living.remove(session)

    def forget(self, session: Session) -> None:
        self.sessions.pop((session.sip_call_id, session.tag), None)


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
    board: Switchboard
    soon: Callable[[Callable[[], None]], None]
    codecs: Callable[[], tuple[str, ...]]
    referrals: Referrals
    call: Callable[[str, Lane, CallObserver, Headers, Callable[[int, str, bool], None]], None]
    """Makes the call that a REFER asks for: URI, lane, observer, header fields, who is told its progress."""


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
        self.media: CallMedia | None = None
        self._session_id = secrets.randbelow(1 << 62)
        self._held = False
        self._lines: list[bool] = []
        self._existing: set[int] = set()
        self._proposal: Proposal | None = None
        self._repeats: dict[int, Repeated] = {}
        self._ending = False

    # What the sides differ in

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
        """Send BYE to a branch that answered and has not got the call."""

    def key(self, index: int, keys: SrtpKeys) -> StreamCount | None:
        """Run a stream on *keys*; return its packets so far."""
        if index not in self._existing or self.media is None:
            raise StackError(f"no stream at m-line {index}")
        before = next((count for count in self.counts() if count.index == index), None)
        self.media.key(index, keys, confirmed=self.confirmed)
        return before

    def unkey(self) -> None:
        """Take the keys of all streams away."""
        if self.media is not None:
            self.media.unkey()

    def counts(self) -> tuple[StreamCount, ...]:
        """Packets of every stream so far."""
        return () if self.media is None else self.media.counts()

    def connect_audio(self) -> None:
        """Let sound flow between the streams and the user."""
        if self.media is not None:
            self.media.speak()

    def seat(self, seat: Seat) -> None:
        """Have the call hear, and be heard by, those of its room only."""
        if self.media is not None:
            self.media.seat(seat)

    def mixes_with(self, other: StackCall) -> bool:
        """True: all calls of a process are in one engine."""
        return isinstance(other, Session)

    def dtmf(self, digits: str) -> None:
        """Send telephone events."""
        if self.media is None:
            raise StackError("the call has no media")
        self.media.dtmf(digits)

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
        """Run an observer's method: what it raises becomes the call's failure."""
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
            if self.media is not None:
                self.media.choose()
            self.tell_phase(Phase.CONFIRMED, 200, "OK")

    def finish(self, status: int, reason: str = "") -> None:
        """The session is over."""
        if self.over:
            return
        self.over = True
        for repeated in self._repeats.values():
            repeated.stop()
        if self._proposal is not None:
            self._proposal.exchange.drop()
        self.tell_phase(Phase.DISCONNECTED, status, reason)
        self.observer = None
        if self.media is not None:
            self.media.close()
            self.media = None
        self.house.board.end(self)
        self.house.later(LIFETIME, lambda: self.house.board.forget(self))

    # Descriptions

    def open_media(self) -> CallMedia:
        """Return the media of this call, made when it is needed first."""
        if self.media is None:
            self.media = self.house.media.call(self._heard_digit)
        return self.media

    def _heard_digit(self, digit: str) -> None:
        with self.guarded() as observer:
            if observer is not None:
                observer.dtmf(digit)

    def own_offer(self, *, held: bool) -> str:
        """Return our offer, before the call's machine has seen it."""
        lines = self._lines or [True] * self.house.config.audio.streams
        text = offer(self.house.media.address, self._session_id, lines, self.house.codecs(), held=held)
        return self.open_media().describe(text)

    def own_answer(self, theirs: str) -> str:
        """Return our answer to *theirs*, before the call's machine has seen it. Raises ``SdpMalformed``."""
        text = answer(
            read(theirs), self.house.media.address, self._session_id, self.house.codecs(), held=self._held
        )
        return self.open_media().describe(text)

    def negotiated(self, ours: str, theirs: str) -> None:
        """Connect the streams as offer and answer say, and tell of those that are new."""
        media = self.open_media()
        streams = agreed(ours, theirs)
        self._lines = [bool(stream.port) for stream in read(ours)]
        for index, stream in streams.items():
            media.connect(index, stream)
        indices = set(streams)
        for index in self._existing - indices:
            media.disconnect(index)
        new = indices if not self.confirmed else indices - self._existing
        self._existing = indices
        with self.guarded() as observer:
            if observer is not None:
                for index in sorted(new):
                    observer.stream_created(index)

    # Our requests within the dialog

    def draft(self, method: str, dialog: Dialog, headers: Headers = (), content: bytes = b"") -> Draft:
        """Return a request within *dialog*."""
        offers = method in ("INVITE", "UPDATE", "REFER")
        common: Headers = (("Allow", ALLOW), ("Supported", ", ".join(SUPPORTED))) if offers else ()
        return Draft(
            method=method,
            uri=dialog.request_uri,
            hop=dialog.next_hop,
            sender=dialog.local,
            receiver=dialog.remote,
            call_id=dialog.call_id,
            number=lambda: next(dialog.numbers),
            headers=(*dialog.route_headers, *common, *headers),
            content=content,
            contact=offers,
        )

    def _propose(self, method: str, *, held: bool) -> None:
        dialog = self.dialog
        if dialog is None or self.over:
            raise StackError("the call is over")
        if self._proposal is not None or self.observer is None:
            raise StackError("an offer of ours is under way")
        sdp = self.observer.local_sdp(self.own_offer(held=held), "")
        self._proposal = Proposal(self, method, dialog, sdp, held)
        self._proposal.exchange.begin()

    def proposal_done(self, proposal: Proposal, message: SipMessage) -> None:
        """A final response to our offer came."""
        self._proposal = None
        if 200 <= message.status < 300:
            proposal.dialog.follow(message)
            self._held = proposal.held
            if message.has_sdp:
                with self.guarded():
                    self.negotiated(proposal.sdp, message.sdp)
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
        farewell = Farewell(self, last)
        exchange = Exchange(self.house.means, self.draft("BYE", dialog, headers), farewell)
        exchange.begin()
        if last:
            self.house.later(_BYE_S, lambda: self.finish(200, "Normal call clearing"))

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
        """The offer of the peer with *dialog* is answered; nothing else changes its streams."""

    def _answer_offer(self, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Judge the offer of the peer, and answer it. One that is refused leaves the streams as they are."""
        message, observer = transaction.request, self.observer
        if observer is None:
            transaction.respond(response(message, 481))
            return
        try:
            observer.message("received", message)
            verdict = observer.remote_offer(message.sdp)
            if verdict.status != 200:
                self.respond(transaction, verdict.status, headers=verdict.headers)
                return
            sdp = observer.local_sdp(self.own_answer(message.sdp), message.sdp)
            self.offer_taken(dialog)
            self.negotiated(sdp, message.sdp)
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
            sdp = observer.local_sdp(self.own_offer(held=self._held), "")
        except SipmikeyError as error:
            self.respond(transaction, 488)
            failure = error
            self.house.soon(lambda: observer.failed(failure))
            return
        self.respond(transaction, 200, sdp=sdp, offers=True)

    def _acknowledged(self, message: SipMessage) -> None:
        word = (message.first("cseq") or "").partition(" ")[0]
        repeated = self._repeats.pop(int(word), None) if word.isdecimal() else None
        if repeated is None:
            return
        repeated.stop()
        if repeated.offered and message.has_sdp:
            with self.guarded():
                self.negotiated(repeated.offered, message.sdp)
        if repeated.offered:
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
        fields: list[tuple[str, str]] = []
        if message.method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER") and 100 < status < 300:
            fields.append(("Contact", self.house.means.contact(transaction.flow)))
            fields += [("Allow", ALLOW), ("Supported", ", ".join(SUPPORTED))]
        content = b""
        if sdp is not None:
            fields.append(SDP_TYPE)
            content = sdp.encode()
        made = response(message, status, tag=self.tag, headers=(*fields, *headers), content=content)
        transaction.respond(made)
        if message.method == "INVITE" and 200 <= status < 300:
            self._repeat(transaction, made, (sdp or "") if offers else "")
        if message.method in ("INVITE", "UPDATE"):
            self.tell_sent(made)
        return made

    def _repeat(self, transaction: ServerTransaction, made: SipMessage, offered: str) -> None:
        number = int((made.first("cseq") or "0").partition(" ")[0])
        octets = made.encode()
        self._repeats[number] = Repeated(
            self.house.later, lambda: transaction.flow.send(octets), self._not_acknowledged, offered
        )

    def _not_acknowledged(self) -> None:
        """Nobody acknowledged our 2xx (RFC 3261 section 13.3.1.4)."""
        self.bye(())
        self.finish(408, "no ACK")


class Proposal:
    """An offer of ours within the call, under way."""

    def __init__(self, session: Session, method: str, dialog: Dialog, sdp: str, held: bool) -> None:
        self._session = session
        self._method = method
        self.dialog = dialog
        self.sdp = sdp
        self.held = held
        draft = session.draft(method, dialog, (SDP_TYPE,), sdp.encode())
        self.exchange = Exchange(session.house.means, draft, self)
        self._answered = False
        self._ack: SipMessage | None = None

    def on_sent(self, message: SipMessage) -> None:
        self._session.tell_sent(message)

    def on_challenged(self, message: SipMessage) -> None:
        """Nothing to tell: the offer is sent again."""

    def on_response(self, message: SipMessage) -> None:
        if message.status < 200:
            return
        if self._method == "INVITE" and message.status < 300:
            self._ack = self._ack or acknowledge(self._session, self.dialog, self.exchange, message)
            send_within(self._session, self.dialog, self._ack)
        if not self._answered:
            self._answered = True
            self._session.proposal_done(self, message)

    def on_failed(self, status: int, reason: str) -> None:
        self._session.proposal_failed(status, reason)


class Farewell(Silent):
    """A BYE under way."""

    def __init__(self, session: Session, last: bool) -> None:
        self._session = session
        self._last = last

    def on_sent(self, message: SipMessage) -> None:
        if self._last:
            self._session.tell_sent(message)

    def on_response(self, message: SipMessage) -> None:
        if self._last and message.status >= 200:
            self._session.finish(200, "Normal call clearing")

    def on_failed(self, status: int, reason: str) -> None:
        if self._last:
            self._session.finish(200, "Normal call clearing")


def acknowledge(session: Session, dialog: Dialog, exchange: Exchange, message: SipMessage) -> SipMessage:
    """Return the ACK of a 2xx, without Via (RFC 3261 section 13.2.2.4)."""
    number = (message.first("cseq") or "").partition(" ")[0]
    invite = exchange.message
    credentials = () if invite is None else tuple(
        (name, value) for name, value in invite.headers if name in ("Authorization", "Proxy-Authorization")
    )  # fmt: skip
    headers = (
        *dialog.route_headers, ("From", dialog.local), ("To", dialog.remote), ("Call-ID", dialog.call_id),
        ("CSeq", f"{number} ACK"), *credentials,
    )  # fmt: skip
    return request("ACK", dialog.request_uri, headers)


def send_within(session: Session, dialog: Dialog, message: SipMessage) -> None:
    """Send a request that belongs to no transaction."""
    means = session.house.means
    target = target_of(dialog.next_hop, means.sip)
    if target is None:
        return

    def send(flow: Flow | None, why: str) -> None:
        if flow is not None:
            flow.send(replace(message, headers=(("Via", via_of(flow)), *message.headers)).encode())

    means.flows.reach(target, send)
