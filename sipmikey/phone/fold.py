"""Folding event documents into what the phone shows. No document makes it raise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from itertools import chain
from types import MappingProxyType

from sipmikey.phone.advice import why
from sipmikey.phone.calls import CallKey, Direction, ShownCall, Stage, ended, follow
from sipmikey.phone.documents import Document, flag, inner, number, text, texts
from sipmikey.phone.history import entry_from, entry_of
from sipmikey.phone.messages.leaving import follow_message_of_ours
from sipmikey.phone.messages.left_messages import message_left, message_played, messages_listed
from sipmikey.phone.people import Contact, contact_of, find, seen, warning_for
from sipmikey.phone.state import (
    MAX_NOTICES,
    Account,
    Conference,
    Device,
    Notice,
    Phone,
    Question,
)
from sipmikey.phone.text import Text

MAX_ENDED = 20
"""Ended calls that are kept with their events."""

MAX_HISTORY = 1000
MAX_BOOK = 20_000
"""Entries of an address book that are taken."""

_STACK = Text("The part that speaks SIP has ended: {detail}. Its calls are lost; it is started again.")

_MOVED = Text("This machine has another address now: {now}. It registers there, and the calls come along.")
_WOKE = Text("This machine was asleep. It registers again, and the calls come along.")
_LEFT_BEHIND = Text("{name} does not send to your new address: {detail}")
_UNREPAIRED = Text(
    "You and {name} cannot hear each other any more, and another way was not found: {detail}. Call again."
)

_BEGINS = ("call.out", "call.in", "call.end", "kms.request", "kms.error")
"""Events that a call may begin with; one that fails before its INVITE has only an end."""


def replay(documents: Iterable[Document], phone: Phone | None = None) -> Phone:
    """Return the phone after *documents*, in their order."""
    shown = Phone() if phone is None else phone
    for document in documents:
        shown = fold(shown, document)
    return shown


def at_of(document: Document) -> float:
    """Return when *document* happened, in Unix seconds: from ``at``, or from ``ts`` (RFC 3339)."""
    if (at := number(document, "at")) > 0:
        return at
    try:
        return datetime.fromisoformat(text(document, "ts")).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def fold(phone: Phone, document: Document) -> Phone:
    """Return the phone after *document*.

    ``account`` of the document names the account it belongs to, ``""`` where there is one only.
    """
    kind, account, at = text(document, "type"), text(document, "account"), at_of(document)
    phone = _account(phone, kind, account, document, at)
    phone = _belongings(phone, kind, document)
    phone = _conference(phone, kind, account, document)
    phone = follow_message_of_ours(phone, kind, account, document, at)
    number_of_call = text(document, "call")
    if number_of_call and kind:
        phone = _call(phone, kind, (account, number_of_call), document, at)
    return _questions(phone, kind, account, document, at)


# Accounts


def _account(phone: Phone, kind: str, name: str, document: Document, at: float) -> Phone:
    if kind == "sound.device" and text(document, "state") == "failed":
        return _notice(phone, Notice(at=at, text=_raw(document), bad=True, account=name))
    account = phone.accounts.get(name)
    if account is None:
        if kind == "notice.given":
            return _notice(phone, Notice(at=at, text=_raw(document), bad=True))
        if not kind.startswith(("agent.", "reg.", "engine.", "account.", "network.", "message.waiting")):
            return phone
        account = Account(name=name)
    changed = _account_after(account, kind, document)
    if changed is not account:
        phone = replace(phone, accounts=MappingProxyType({**phone.accounts, name: changed}))
    if kind == "engine.down":
        phone = _engine_down(phone, name, document, at)
    elif kind == "stack.failed":
        phone = _notice(phone, Notice(at=at, text=_stack_failed(document), bad=True, account=name))
    elif kind == "network.changed":
        slept = text(document, "cause") == "waking"
        now = Text(_MOVED.message, {"now": text(document, "now") or "?"})
        phone = _notice(phone, Notice(at=at, text=_WOKE if slept else now, account=name))
    elif kind == "notice.given":
        phone = _notice(phone, Notice(at=at, text=_raw(document), bad=True, account=name))
    elif kind == "reg.fail":
        phone = _notice(phone, Notice(at=at, text=why(document), bad=True, account=name))
    elif kind == "policy.refused" and not text(document, "call"):
        phone = _notice(phone, Notice(at=at, text=_raw(document), bad=True, account=name))
    return phone


def _account_after(account: Account, kind: str, document: Document) -> Account:
    match kind:
        case "account.opened":
            return replace(
                account, identity=text(document, "identity"), registrar=text(document, "registrar")
            )
        case "agent.ready":
            return replace(
                account, engine=True, trouble=None, identity=text(document, "identity") or account.identity,
                contact=text(document, "contact"), features=texts(document, "features") or account.features,
            )  # fmt: skip
        case "reg.ok":
            on = number(document, "expires_s") > 0
            return replace(account, registered=on, trouble=None, registrar=text(document, "registrar"))
        case "reg.fail":
            return replace(account, registered=False, trouble=why(document))
        case "engine.down":
            text_of_it = Text("The engine that makes the calls has ended: {detail}. It is started again.")
            trouble = Text(text_of_it.message, {"detail": text(document, "detail") or "?"})
            gone = replace(account, engine=False, trouble=trouble, engine_ends=account.engine_ends + 1)
            gone = replace(gone, muted=False, microphone_db=0.0, speaker_db=0.0)
            return replace(gone, registered=None if account.registered is None else False)
        case "stack.failed":
            failed = replace(account, engine_ends=account.engine_ends + 1)
            if account.registered is None:
                return failed
            # It stands there until the new registration; without a registrar nothing would take it away.
            return replace(failed, registered=False, trouble=_stack_failed(document))
        case "agent.do-not-disturb":
            return replace(account, do_not_disturb=flag(document, "on"))
        case "agent.sound":
            return replace(
                account, muted=flag(document, "muted"), microphone_db=number(document, "input_db"),
                speaker_db=number(document, "output_db"),
            )  # fmt: skip
        case "message.waiting":
            new, old = number(document, "new"), number(document, "old")
            return replace(account, messages_new=_count(new), messages_old=_count(old))
        case "agent.devices":
            return replace(account, devices=_devices(document))
    return account


def _stack_failed(document: Document) -> Text:
    return Text(_STACK.message, {"detail": text(document, "detail") or text(document, "reason") or "?"})


def _count(found: float) -> int:
    return int(found) if 0 < found < 1e9 else 0


def _devices(document: Document) -> tuple[Device, ...]:
    listed = document.get("devices")
    found = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list | tuple) else []
    return tuple(
        Device(name=text(item, "name"), kind=text(item, "kind"), chosen=flag(item, "chosen"))
        for item in found
    )


def _engine_down(phone: Phone, account: str, document: Document, at: float) -> Phone:
    """End the calls of *account*: the process that held them is gone."""
    lost = Text("The engine ended, and with it the call with {name}.")
    for call in phone.live:
        if call.account == account:
            over = ended(call, at, reason="internal-error", side="local", detail="the engine ended")
            phone = _over(_put(phone, over), over)
            notice = Text(lost.message, {"name": phone.label(call.name)})
            phone = _notice(phone, Notice(at=at, text=notice, bad=True, account=account, call=call.number))
    messages = (replace(one, playing=False) if one.account == account else one for one in phone.messages)
    phone = replace(phone, messages=tuple(messages))
    remaining = tuple(question for question in phone.questions if question.account != account)
    ends = phone.accounts[account].engine_ends
    calls = (_renumbered(call, ends) if call.account == account else call for call in phone.calls.values())
    return replace(phone, questions=remaining, calls=MappingProxyType({call.key: call for call in calls}))


def _renumbered(call: ShownCall, ends: int) -> ShownCall:
    """Make room for the calls of a new process, which numbers them from 1 again."""
    return call if "@" in call.number else replace(call, number=f"{call.number}@{ends}")


# Calls


def _call(phone: Phone, kind: str, key: CallKey, document: Document, at: float) -> Phone:
    call = phone.calls.get(key)
    if call is None:
        if kind not in _BEGINS:
            return phone
        direction = Direction.IN if kind == "call.in" else Direction.OUT
        account, number_of_call = key
        call = ShownCall(account=account, number=number_of_call, direction=direction, began=at)
        called = text(inner(document, "security") or {}, "called") if kind == "call.end" else ""
        call = replace(call, party=called)
    was_live, missing_end = call.live, call.stage is not Stage.ENDED
    call = follow(call, document, at)
    if was_live and inner(document, "security") is not None:
        warning = warning_for(find(phone.contacts, call.name), call.security)
        call = replace(call, warning=warning)
    phone = _put(phone, call)
    if missing_end and not call.live:
        phone = _over(phone, call)
    if was_live and kind == "call.moved" and not flag(document, "moved"):
        told = {"name": phone.label(call.name), "detail": text(document, "detail") or "?"}
        which = _UNREPAIRED if text(document, "cause") == "stalled" else _LEFT_BEHIND
        left = Text(which.message, told)
        phone = _notice(phone, Notice(at=at, text=left, bad=True, account=key[0], call=key[1]))
    if was_live and kind in ("policy.fallback", "policy.alternative"):
        phone = _notice(phone, Notice(at=at, text=why(document), bad=True, account=key[0], call=key[1]))
    return phone


def _put(phone: Phone, call: ShownCall) -> Phone:
    calls = {**phone.calls, call.key: call}
    old = [key for key, one in calls.items() if not one.live]
    for key in old[:-MAX_ENDED]:
        del calls[key]
    return replace(phone, calls=MappingProxyType(calls))


def _over(phone: Phone, call: ShownCall) -> Phone:
    """Keep what stays of a call that ended."""
    entry = entry_of(call)
    phone = replace(
        phone,
        history=(entry, *phone.history)[:MAX_HISTORY],
        missed=phone.missed + entry.missed,
        questions=tuple(one for one in phone.questions if (one.account, one.call) != call.key),
    )
    contact = find(phone.contacts, call.name)
    if contact is None or not call.answered or not call.vouched:
        return phone
    after = seen(contact, kms=entry.kms, media=entry.media, signalling=entry.signalling, at=call.ended)
    return _with_contact(phone, after)


def _conference(phone: Phone, kind: str, account: str, document: Document) -> Phone:
    """Follow the conference of *account*; it is over with the engine."""
    if kind == "conference.changed":
        legs = texts(document, "legs")
    elif kind in ("engine.down", "stack.failed"):
        legs = ()
    else:
        return phone
    others = {name: one for name, one in phone.conferences.items() if name != account}
    if legs:
        others[account] = Conference(account=account, legs=legs, present=flag(document, "present"))
    return replace(phone, conferences=MappingProxyType(others))


# Contacts, history, messages


def _belongings(phone: Phone, kind: str, document: Document) -> Phone:
    match kind:
        case "contact.saved":
            contact = contact_of(document)
            return phone if contact is None else _with_contact(phone, contact)
        case "contact.removed":
            gone = text(document, "identity")
            kept = tuple(contact for contact in phone.contacts if contact.identity != gone)
            return replace(phone, contacts=kept)
        case "book.read":
            return _book(phone, document)
        case "book.failed":
            told = {"book": text(document, "book"), "detail": text(document, "detail")}
            unread = Text("The address book {book} could not be read: {detail}", told)
            return _notice(phone, Notice(at=at_of(document), text=unread, bad=True))
        case "history.entry":
            entry = entry_from(document)
            if entry is None:
                return phone
            ordered = sorted((entry, *phone.history), key=lambda one: one.at, reverse=True)
            return replace(phone, history=tuple(ordered)[:MAX_HISTORY])
        case "history.cleared":
            return replace(phone, history=(), missed=0)
        case "history.looked-at":
            return replace(phone, missed=0)
        case "notice.dismissed":
            return replace(phone, notices=())
        case "message.left":
            return message_left(phone, document, at_of(document))
        case "messages.listed":
            return messages_listed(phone, document)
        case "message.playing" | "message.played" | "message.refused":
            return message_played(phone, kind, document)
    return phone


def _book(phone: Phone, document: Document) -> Phone:
    """Take what an address book has for what it has now."""
    name, listed = text(document, "book"), document.get("contacts")
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list | tuple) else []
    found = (contact_of(item) for item in items[:MAX_BOOK])
    people = sorted(
        (replace(one, book=name, kms="", media="", signalling="") for one in found if one is not None),
        key=lambda one: one.label.casefold(),
    )
    books = {**phone.books, name: tuple(people)}
    by_uri: dict[str, Contact] = {}
    for one in chain.from_iterable(books.values()):
        for uri in (one.identity, *one.numbers):
            by_uri.setdefault(uri, one)
    return replace(phone, books=MappingProxyType(books), listed=MappingProxyType(by_uri))


def _with_contact(phone: Phone, contact: Contact) -> Phone:
    others = [one for one in phone.contacts if one.identity != contact.identity]
    ordered = sorted([*others, contact], key=lambda one: (not one.favourite, one.label.casefold()))
    return replace(phone, contacts=tuple(ordered))


# Questions and notices


def _questions(phone: Phone, kind: str, account: str, document: Document, at: float) -> Phone:
    number_of_call = text(document, "call")
    if kind == "policy.question" and (account, number_of_call) in phone.calls:
        question = Question(
            account=account, call=number_of_call, peer=text(document, "peer"),
            called=text(document, "called"), kms=text(document, "kms"),
            until=at + number(document, "wait_s"),
        )  # fmt: skip
        return replace(phone, questions=(*phone.questions, question))
    if kind == "policy.decided":
        kept = tuple(one for one in phone.questions if (one.account, one.call) != (account, number_of_call))
        return replace(phone, questions=kept)
    return phone


def _raw(document: Document) -> Text:
    return Text("{detail}", {"detail": text(document, "detail") or text(document, "reason")})


def _notice(phone: Phone, notice: Notice) -> Phone:
    return replace(phone, notices=(*phone.notices, notice)[-MAX_NOTICES:])


def contact_document(contact: Contact) -> dict[str, object]:
    """Return the document that makes *contact* in another phone, such as the next one on this machine."""
    return {"type": "contact.saved", **asdict(contact), "numbers": list(contact.numbers)}


def history_document(entry: object) -> dict[str, object]:
    """Return the document that makes a ``HistoryEntry`` in another phone."""
    return {"type": "history.entry", **asdict(entry)}  # type: ignore[call-overload]
