"""Messages left for us: what each event document about them changes."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.phone.documents import Document, flag, number, text
from sipmikey.phone.state import Message, Phone

MAX_MESSAGES = 1000


def message_left(phone: Phone, document: Document, at: float) -> Phone:
    """Take a message that was left *at* (Unix seconds)."""
    message = Message(
        at=at,
        identifier=text(document, "identifier"),
        sender=text(document, "sender"),
        peer=text(document, "peer"),
        duration_s=number(document, "duration_s"),
        heard=flag(document, "heard"),
    )
    others = tuple(one for one in phone.messages if one.identifier != message.identifier)
    return replace(phone, messages=(message, *others))


def messages_listed(phone: Phone, document: Document) -> Phone:
    """Take what is in the box of an account for what it has; the newest first."""
    account, listed = text(document, "account"), document.get("messages")
    known = {one.identifier: one for one in phone.messages if one.account == account}
    found = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list | tuple) else []
    there = [
        Message(
            at=number(item, "left_at"), identifier=text(item, "message"), sender=text(item, "says_from"),
            duration_s=number(item, "duration_s"), heard=flag(item, "heard"), expired=flag(item, "expired"),
            account=account,
        )
        for item in found[:MAX_MESSAGES]
    ]  # fmt: skip
    there = [
        replace(one, peer=before.peer, playing=before.playing)
        if (before := known.get(one.identifier))
        else one
        for one in there
    ]
    others = [one for one in phone.messages if one.account != account]
    return replace(phone, messages=tuple(sorted([*there, *others], key=lambda one: one.at, reverse=True)))


def message_played(phone: Phone, kind: str, document: Document) -> Phone:
    """Take what became of a message that was to be heard: who it is from is vouched for from then on."""
    name, account = text(document, "message"), text(document, "account")

    def after(message: Message) -> Message:
        if (message.identifier, message.account) != (name, account):
            return message
        peer = text(document, "from") or message.peer
        return replace(message, peer=peer, playing=kind == "message.playing")

    return replace(phone, messages=tuple(map(after, phone.messages)))
