"""Incoming messages: judged, given to their transaction and call, or answered (RFC 3261 section 8.2)."""

from __future__ import annotations

import contextlib
import logging
import time

from sipmikey.agent.asyncio_sip.callee import CalleeSession
from sipmikey.agent.asyncio_sip.presence.service import PresenceService
from sipmikey.agent.asyncio_sip.referral import replace_call
from sipmikey.agent.asyncio_sip.session import House, Session
from sipmikey.agent.asyncio_sip.session_timer import TOO_SMALL, interval_too_small
from sipmikey.agent.asyncio_sip.wire.flows import Flows
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.target import shown
from sipmikey.agent.asyncio_sip.wire.transactions import ServerTransaction, Transactions
from sipmikey.agent.asyncio_sip.writing import (
    ACCEPT,
    ALLOW,
    ALLOW_EVENTS,
    METHODS,
    SUPPORTED,
    new_tag,
    options,
    response,
    token_of,
    with_source,
)
from sipmikey.agent.config import Transport
from sipmikey.agent.screening.arrivals import Arrivals, Verdict
from sipmikey.agent.screening.screen import Fault, examine
from sipmikey.agent.stack import Headers, Lane, Placement
from sipmikey.sip import SipMalformed, SipMessage
from sipmikey.sip.framing import trimmed
from sipmikey.sip.message_summary import EVENT
from sipmikey.sip.pidf import EVENT as PRESENCE

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_LOGGED_EVERY_S = 10.0
_CAPABILITIES: Headers = (
    ("Allow", ALLOW),
    ("Accept", ACCEPT),
    ("Supported", ", ".join(SUPPORTED)),
    ("Allow-Events", ALLOW_EVENTS),
)
_BUSY = 486


class Reception:
    """Takes every message. *house* makes calls."""

    def __init__(
        self, house: House, flows: Flows, transactions: Transactions, presence: PresenceService
    ) -> None:
        self._house = house
        self._flows = flows
        self._transactions = transactions
        self._presence = presence
        self._arrivals = Arrivals(per_second=house.config.sip.calls_per_second, now=time.monotonic)
        self._logged_at = 0.0
        self.refused = 0

    def receive(self, octets: bytes, flow: Flow) -> None:
        """Take a message."""
        if flow.transport is Transport.UDP:
            octets = trimmed(octets)
        fault, _, name = examine(octets)
        if fault is None:
            try:
                message = SipMessage.parse(octets)
                _read_what_is_needed(message)
            except SipMalformed as error:
                fault = Fault(field=error.field or "start-line", detail=str(error), answerable=False)
            else:
                self._flows.heard(flow)
                self._take(message, name, flow)
                return
        self._count(f"{fault.field}: {fault.detail}")
        if fault.answerable:
            with contextlib.suppress(SipMalformed):
                self._reply(SipMessage.parse(octets), flow, 400)

    def _reply(self, message: SipMessage, flow: Flow, status: int, headers: Headers = ()) -> None:
        """Answer without a transaction. Raises ``SipMalformed``."""
        request = with_source(message, *flow.remote)
        flow.send(response(request, status, tag=new_tag(), headers=headers).encode())

    def _count(self, why: str) -> None:
        self.refused += 1
        if (now := time.monotonic()) - self._logged_at > _LOGGED_EVERY_S:
            self._logged_at = now
            _log.warning("SIP message refused: %s (%d so far)", why, self.refused)

    def _take(self, message: SipMessage, name: bytes | None, flow: Flow) -> None:
        """Take a fit message. *name*: of the call that it starts, None where it starts none."""
        if message.status:
            self._transactions.receive_response(message)
            return
        if name is not None:
            verdict = self._arrivals.judge(flow.remote[0], name)
            if verdict is not Verdict.ADMIT:
                self._count(f"too many new calls, at last from {flow.remote[0]}")
                if verdict is Verdict.LATER:
                    self._reply(message, flow, 503, (("Retry-After", "1"),))
                return
        request = with_source(message, *flow.remote)
        transaction = self._transactions.receive_request(request, flow)
        if transaction is not None:
            self._dispatch(transaction)

    def _dispatch(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        method = message.method
        if method == "CANCEL":
            self._cancel(transaction)
            return
        if method not in METHODS:
            transaction.respond(response(message, 405, tag=new_tag(), headers=(("Allow", ALLOW),)))
            return
        if method != "ACK" and (unknown := self._unsupported(message)):
            fields = (("Unsupported", ", ".join(unknown)),)
            transaction.respond(response(message, 420, tag=new_tag(), headers=fields))
            return
        session = self._session(message)
        if session is not None:
            session.receive(transaction)
        elif method == "ACK" or (method == "NOTIFY" and self._presence.receive(transaction)):
            return
        elif message.to_tag:
            transaction.respond(response(message, 481))
        else:
            getattr(self, f"_on_{method.lower()}", self._on_nothing)(transaction)

    def _session(self, message: SipMessage) -> Session | None:
        return self._house.board.sessions.get((message.first("call-id") or "", message.to_tag))

    def _unsupported(self, message: SipMessage) -> list[str]:
        known = {*SUPPORTED, *(("precondition",) if self._house.config.sip.preconditions else ())}
        return [word for word in options(message, "require") if word.lower() not in known]

    def _cancel(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        invite = self._transactions.invite_of(message)
        if invite is None:
            transaction.respond(response(message, 481, tag=new_tag()))
            return
        session = next(
            (one for one in self._house.board.living if isinstance(one, CalleeSession) and one.takes(invite)),
            None,
        )
        transaction.respond(response(message, 200, tag=session.tag if session else new_tag()))
        if session is not None:
            session.cancelled(message)

    def _on_nothing(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        status = 481 if message.method in ("BYE", "UPDATE", "PRACK", "INFO") else 405
        transaction.respond(response(message, status, tag=new_tag(), headers=(("Allow", ALLOW),)))

    def _on_options(self, transaction: ServerTransaction) -> None:
        transaction.respond(response(transaction.request, 200, tag=new_tag(), headers=_CAPABILITIES))

    def _on_message(self, transaction: ServerTransaction) -> None:
        transaction.respond(response(transaction.request, 200, tag=new_tag()))
        self._house.observer.on_message(transaction.request, shown(transaction.flow.remote))

    def _on_notify(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        event = token_of(message, "event")
        if event == PRESENCE:
            transaction.respond(response(message, 481, tag=new_tag()))  # RFC 6665 section 4.1.3
            return
        if event != EVENT:
            fields = (("Allow-Events", ALLOW_EVENTS),)
            transaction.respond(response(message, 489, tag=new_tag(), headers=fields))
            return
        transaction.respond(response(message, 200, tag=new_tag()))
        self._house.observer.on_messages_waiting(message, shown(transaction.flow.remote))

    def _on_refer(self, transaction: ServerTransaction) -> None:
        transaction.respond(response(transaction.request, 403, tag=new_tag()))

    def _on_invite(self, transaction: ServerTransaction) -> None:
        message, house = transaction.request, self._house
        source = shown(transaction.flow.remote)
        if self._merged(message):
            transaction.respond(response(message, 482, tag=new_tag()))
            return
        if len(house.board.living) >= house.config.calls:
            transaction.respond(response(message, _BUSY, tag=new_tag()))
            house.observer.on_turned_away(message.first("from") or "", _BUSY, "Busy Here")
            return
        if (brief := interval_too_small(message)) is not None:
            transaction.respond(response(message, TOO_SMALL, tag=new_tag(), headers=brief))
            return
        if message.all("replaces"):
            replace_call(house, transaction, source)
            return
        placement = self._placed(message, source)
        session = CalleeSession(house, placement.lane, transaction)
        house.board.add(session)

        def introduce() -> None:
            if session.over:
                return
            try:
                session.observer = house.observer.on_incoming(session, message, source, placement.lane)
            except Exception:  # noqa: BLE001 - the INVITE gets its answer
                _log.exception("an incoming call")
                session.hangup(500)
                return
            session.describe()

        if not session.prepare(introduce):
            introduce()

    def _placed(self, message: SipMessage, source: str) -> Placement:
        try:
            return self._house.observer.on_invite(message, source)
        except Exception:  # noqa: BLE001 - an unjudged INVITE is refused
            _log.exception("an INVITE could not be judged")
            return Placement(lane=Lane.REFUSED)

    def _merged(self, message: SipMessage) -> bool:
        """Return True where this INVITE already came by another path (RFC 3261 section 8.2.2.2)."""
        call_id, tag, number = message.first("call-id"), message.tag("from"), message.first("cseq")
        return any(
            isinstance(one, CalleeSession)
            and one.sip_call_id == call_id
            and one.dialog.remote_tag == tag
            and one.invite.first("cseq") == number
            for one in self._house.board.living
        )


def _read_what_is_needed(message: SipMessage) -> None:
    """Raise ``SipMalformed`` where a header field that the stack needs cannot be read."""
    _ = message.tag("from"), message.to_tag
    if message.top_via is None:
        raise SipMalformed("cannot be read", field="via")
    tuple(message.items("via"))
    tuple(message.items("record-route"))
