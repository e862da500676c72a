"""Messages that we leave for others: what each event document about one changes."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from sipmikey.phone.documents import Document, number, text
from sipmikey.phone.state import MAX_NOTICES, Notice, Phone, Recording
from sipmikey.phone.text import Text

_LEFT = Text("The message for {name} was left.")
_DROPPED = Text("The message for {name} was thrown away.")
_FAILED = Text("The message for {name} was not left: {detail}")
_LOST = Text("The engine ended, and with it the message for {name} that was not left yet.")


def follow_message_of_ours(phone: Phone, kind: str, account: str, document: Document, at: float) -> Phone:
    """Return *phone* after *document* of type *kind*, which may be about a message of ours."""
    now = phone.recordings.get(account)
    match kind:
        case "message.recording":
            begun = Recording(
                account=account, to=text(document, "to"), began=at,
                longest_s=number(document, "longest_s"),
            )  # fmt: skip
            return _with(phone, account, begun)
        case "message.sending":
            to = text(document, "to")
            return _with(phone, account, replace(now or Recording(account=account, to=to), sends=True))
        case "message.sent":
            return _over(phone, account, document, at, _LEFT)
        case "message.dropped":
            return _over(phone, account, document, at, _DROPPED)
        case "message.unsent":
            return _over(phone, account, document, at, _FAILED)
        case "engine.down" if now is not None:
            return _over(phone, account, {**document, "to": now.to}, at, _LOST)
    return phone


def _over(phone: Phone, account: str, document: Document, at: float, said: Text) -> Phone:
    told = {"name": phone.label(text(document, "to")), "detail": text(document, "detail") or "?"}
    bad = said in (_FAILED, _LOST)
    notice = Notice(at=at, text=Text(said.message, told), bad=bad, account=account)
    return replace(_with(phone, account, None), notices=(*phone.notices, notice)[-MAX_NOTICES:])


def _with(phone: Phone, account: str, recording: Recording | None) -> Phone:
    others = {name: one for name, one in phone.recordings.items() if name != account}
    if recording is not None:
        others[account] = recording
    return replace(phone, recordings=MappingProxyType(others))
