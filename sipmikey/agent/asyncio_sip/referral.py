"""REFER, its NOTIFYs, and INVITEs with Replaces (RFC 3515, RFC 3891)."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote as percent
from urllib.parse import unquote

from sipmikey.agent.asyncio_sip.callee import CalleeSession
from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Exchange, Silent
from sipmikey.agent.asyncio_sip.requests_within import draft_within
from sipmikey.agent.asyncio_sip.session import House, Session
from sipmikey.agent.asyncio_sip.wire.transactions import ServerTransaction
from sipmikey.agent.asyncio_sip.writing import new_tag, phrase, response, token_of
from sipmikey.agent.stack import Headers, StackCall, StackError
from sipmikey.sip import SipMalformed, SipMessage, parse_replaces

_FRAGMENT = re.compile(rb"SIP/2\.0 ([1-6]\d\d)\b", re.IGNORECASE)
_SIPFRAG = "message/sipfrag;version=2.0"


class _Referring(Silent):
    """A REFER of ours under way."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_response(self, message: SipMessage) -> None:
        if message.status >= 300:
            self._progress(message.status)

    def on_failed(self, status: int, reason: str) -> None:
        self._progress(status)

    def _progress(self, status: int) -> None:
        with self._session.guarded() as observer:
            if observer is not None:
                observer.on_transfer_progress(status, True)


class CallTransfers:
    """Transfers of calls, asked for by us or by the peer."""

    def send(self, session: Session, target: str, replacing: StackCall | None) -> None:
        """Have the peer of *session* call *target*, or the peer of *replacing* in its place."""
        dialog = session.dialog
        if dialog is None or session.over:
            raise StackError("the call is over")
        refer_to = f"<{target}>"
        if isinstance(replacing, Session):
            other = replacing.dialog
            if other is None:
                raise StackError("the other call is over")
            value = f"{other.call_id};to-tag={other.remote_tag};from-tag={replacing.tag}"
            # Its identity, not its Contact: the ticket of the new call is for an identity.
            refer_to = f"<{other.remote_uri}?Replaces={percent(value, safe='')}>"
        headers = (("Refer-To", refer_to), ("Referred-By", f"<{session.house.config.identity}>"))
        Exchange(session.house.means, draft_within("REFER", dialog, headers), _Referring(session)).begin()

    def notified(self, session: Session, transaction: ServerTransaction) -> None:
        """Take a NOTIFY within a call: the progress of the call that we asked the peer to make."""
        message = transaction.request
        if token_of(message, "event") != "refer":
            transaction.respond(response(message, 489))
            return
        transaction.respond(response(message, 200))
        found = _FRAGMENT.search(message.content)
        state = token_of(message, "subscription-state")
        status = int(found[1]) if found else 0
        final = status >= 200 or state == "terminated"
        with session.guarded() as observer:
            if observer is not None and (status or final):
                observer.on_transfer_progress(status or 408, final)

    def receive(self, session: Session, transaction: ServerTransaction, dialog: Dialog) -> None:
        """Take a REFER: the peer asks us to call another party."""
        message, observer, house = transaction.request, session.observer, session.house
        try:
            target = message.uri("refer-to")
        except SipMalformed:
            target = None
        if target is None or observer is None:
            session.respond(transaction, 400)
            return
        if len(house.board.living) >= house.config.calls:
            session.respond(transaction, 486)
            return
        outcome: object = 500
        with session.guarded():
            outcome = observer.on_transfer_requested(target)
        if isinstance(outcome, int):
            session.respond(transaction, outcome)
            return
        session.respond(transaction, 202)
        wanted = (message.first("refer-sub") or "true").strip().lower() != "false"
        report = _reporter(session, dialog) if wanted else _unreported
        report(100, phrase(100), False)
        uri, headers = _invitation(target)
        referred: Headers = (
            (("Referred-By", message.first("referred-by") or ""),) if message.all("referred-by") else ()
        )
        house.call(uri, session.lane, outcome, (*headers, *referred), report)


def _invitation(target: str) -> tuple[str, Headers]:
    """Return the URI to call, and the Replaces that it asks for."""
    uri, _, query = target.partition("?")
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name.lower() == "replaces":
            return uri, (("Replaces", unquote(value)),)
    return uri, ()


def _unreported(status: int, reason: str, final: bool) -> None:
    """Report nothing: the peer asked for no reports."""


def _reporter(session: Session, dialog: Dialog) -> Callable[[int, str, bool], None]:
    def report(status: int, reason: str, final: bool) -> None:
        if session.over:
            return
        state = "terminated;reason=noresource" if final else "active;expires=60"
        headers = (("Event", "refer"), ("Subscription-State", state), ("Content-Type", _SIPFRAG))
        text = f"SIP/2.0 {status} {reason or phrase(status)}\r\n".encode()
        draft = draft_within("NOTIFY", dialog, headers, text)
        Exchange(session.house.means, draft, Silent()).begin()

    return report


def replace_call(house: House, transaction: ServerTransaction, source: str) -> None:
    """Take an INVITE that is to replace a call (RFC 3891 section 3)."""
    message = transaction.request
    try:
        wanted = parse_replaces(message.one("replaces"))
    except SipMalformed:
        transaction.respond(response(message, 400, tag=new_tag()))
        return
    old = house.board.sessions.get((wanted.call_id, wanted.to_tag))
    dialog = None if old is None else old.dialog_with(wanted.from_tag)
    if old is None or dialog is None or old.over or old.observer is None:
        status = 603 if old is not None and old.over else 481
    elif wanted.early_only and old.confirmed:
        status = 486
    elif not old.confirmed:
        status = 481
    else:
        _let_in(house, old, transaction, source)
        return
    transaction.respond(response(message, status, tag=new_tag()))


def _let_in(house: House, old: Session, transaction: ServerTransaction, source: str) -> None:
    message, observer = transaction.request, old.observer
    assert observer is not None
    outcome: object = 500
    with old.guarded():
        outcome = observer.on_replacement_asked(message, source, old.lane)
    if isinstance(outcome, int):
        transaction.respond(response(message, outcome, tag=new_tag()))
        return
    session = CalleeSession(house, old.lane, transaction)
    session.observer = outcome
    house.board.add(session)
    session.observer.on_attached(session)
    session.describe()
    if session.over:
        return
    try:
        session.answer(200)
    except StackError:
        session.hangup(488)
        return
    observer.on_replaced()
    old.hangup()
