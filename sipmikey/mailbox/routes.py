"""URLs of the mailbox: what a path names, read strictly. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from sipmikey.mailbox.refusals import MailboxRefusal
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.identity import canonical

MESSAGE_NAME = re.compile(r"[0-9a-f]{16}")
"""The name of a message, as the mailbox makes it."""

_BOX = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2}){1,1024}")


@dataclass(frozen=True, slots=True)
class Target:
    """``box``: canonical URI of its owner. ``name``: of a message, "" for none; ``heard``: its mark."""

    box: str
    name: str = ""
    heard: bool = False


def target_path(path: str, target: Target) -> str:
    """Return the path of a URL below *path*."""
    whole = f"{path}/{quote(target.box, safe='')}/messages"
    if target.name:
        whole += f"/{target.name}"
    return f"{whole}/heard" if target.heard else whole


def read_target(path: str, octets: bytes) -> Target | None:
    """Return what a URL's path names below *path*, None for a path that is not below it.

    Each segment is unescaped once and never used as the name of a file. Raises `MailboxRefusal` (404, 400).
    """
    before = path.encode() + b"/"
    if not octets.startswith(before):
        return None
    box, *rest = octets[len(before) :].split(b"/")
    name = rest[1].decode("latin-1") if len(rest) > 1 else ""
    fits = (
        1 <= len(rest) <= 3
        and rest[0] == b"messages"
        and (len(rest) < 2 or MESSAGE_NAME.fullmatch(name) is not None)
        and (len(rest) < 3 or rest[2] == b"heard")
    )
    if not fits:
        raise MailboxRefusal(
            404, "no-such-path", "a path is BOX/messages, BOX/messages/NAME, or that with /heard"
        )
    return Target(_box(box), name, len(rest) == 3)


def _box(segment: bytes) -> str:
    if _BOX.fullmatch(segment) is None:
        raise MailboxRefusal(400, "bad-path", "the box is a URI, escaped as one segment of a path")
    try:
        box = canonical(unquote_to_bytes(segment).decode())
    except (UnicodeDecodeError, LocalError):
        raise MailboxRefusal(400, "bad-path", "the box is not the URI of somebody") from None
    if any(ord(character) < 0x21 for character in box):
        raise MailboxRefusal(400, "bad-path", "the box is not the URI of somebody")
    return box
