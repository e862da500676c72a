"""Where an address book is that the phone reads, and what a value there comes to as somebody to call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.phone.people import Contact
from sipmikey.ticket.identity import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where an address book is. ``url``: the book, or the server, which says where its books are."""

    url: str
    username: str = ""
    password: Secret | None = None
    ca_file: Path | None = None

    @property
    def name(self) -> str:
        """What the book is called on the screen: its server's name."""
        return urlsplit(self.url).hostname or self.url


def called(name: str, values: Iterable[object], *, kms: str = "") -> Contact | None:
    """Return who is called *name* and can be reached at *values*; None where none of them can be called."""
    uris = [uri for value in values if (uri := _uri(value))]
    if not uris:
        return None
    first, *others = dict.fromkeys(uris)
    return Contact(
        identity=first, name="".join(c for c in name if c.isprintable()), kms=kms, numbers=tuple(others)
    )


def _uri(value: object) -> str:
    """Return *value* as a URI to call, ``""`` when it is not one."""
    text = str(value).strip()
    scheme = text.partition(":")[0].lower()
    if scheme not in ("sip", "sips", "tel"):
        text = f"sip:{text}" if "@" in text else f"tel:{''.join(text.split())}"
    try:
        return canonical(text)
    except LocalError:
        return ""
