"""What is told of a message in the box, before it is opened."""

from __future__ import annotations

import time
from typing import Any

from sipmikey.cli.output import timestamp
from sipmikey.mailbox.store import KeptMessage
from sipmikey.phone.plain import duration


def facts_of(message: KeptMessage, now: float) -> dict[str, Any]:
    """Return what the mailbox tells of a message, as JSON data. *now*: Unix seconds."""
    return {
        "message": message.name,
        "says_from": message.sender,
        "left_at": message.deposited,
        "duration_s": round(message.duration_s, 2),
        "octets": message.size,
        "heard": message.heard,
        "valid_until": message.valid_until or None,
        "expired": _expired(message, now),
        "kept_until": message.expires,
    }


def document_of(message: KeptMessage, kind: str, now: float) -> dict[str, Any]:
    """Return a document of type *kind* about a message."""
    return {"ts": timestamp(now), "type": kind, **facts_of(message, now)}


def _expired(message: KeptMessage, now: float) -> bool:
    return bool(message.valid_until) and message.valid_until <= now


def line_of(message: KeptMessage, now: float) -> str:
    """Return a message in one line for people. No KMS has vouched for its sender yet."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.deposited))
    state = "heard" if message.heard else "new"
    length = duration(message.duration_s)
    line = f"{message.name}  {when}  {length:>5}  {state:<5}  says it is from {message.sender}"
    if _expired(message, now):
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.valid_until))
        line += f"; its ticket expired at {since}: nobody can open it any more"
    return line
