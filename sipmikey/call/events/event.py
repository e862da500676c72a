"""What every event has, the facts that several of them tell, and their form as JSON."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

SCHEMA_VERSION = 1


class MediaProtection(StrEnum):
    """``OFF``: in clear. ``KEYED``: SRTP has keys. ``PROVEN``: a packet of the peer verified under them."""

    OFF = "off"
    HELD = "held"
    KEYED = "keyed"
    PROVEN = "proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Three separate facts about a call.

    ``signalling``: transport of the SIP messages on this hop (``udp``, ``tcp`` or ``tls``).
    ``media``: see ``MediaProtection``; ``held`` means no keys yet, and nothing is sent or played.
    ``peer``: the identity that answered (or called) as ``kms`` vouches for it, None when nobody does;
    ``called``: the identity that was dialled, which differs from ``peer`` after retargeting.
    ``suite``: the SRTP profile's name, e.g. ``AES_256_CM_HMAC_SHA1_80``. ``ticket``: 8 hexadecimal digits
    that identify the ticket. ``keying``: what gave the keys, the name of a keying that `sipmikey.call.keying`
    knows, which says who else can read them; None while there are none.
    """

    signalling: str
    media: MediaProtection
    peer: str | None = None
    called: str | None = None
    kms: str | None = None
    suite: str | None = None
    ticket: str | None = None
    keying: str | None = None

    @property
    def secured(self) -> bool:
        """True when the media is keyed (or proven) and a KMS vouches for the peer."""
        return self.media in (MediaProtection.KEYED, MediaProtection.PROVEN) and self.peer is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFacts:
    """What may be shown of a ticket: no key, not the ticket itself.

    ``ticket``: 8 hexadecimal digits naming it. ``valid_until``: Unix seconds. ``flags``: letters of the
    Ticket Policy flags that are set; ``mode``: what D and E among them mean (RFC 6043 section 4.1.1).
    ``responders``: identities it may be resolved by (patterns).
    """

    ticket: str
    kms: str
    initiator: str
    responders: tuple[str, ...]
    valid_from: float | None
    valid_until: float | None
    flags: str
    suite: str
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. ``at``: Unix seconds. ``call``: the agent's own number of the call, or ``""``."""

    type: ClassVar[str] = "event"
    at: float
    call: str = ""


def document(event: Event) -> dict[str, Any]:
    """Return *event* as JSON data: ``v``, ``type`` and ``at`` first, then its own fields.

    Enumerations become their words, tuples become lists, nested facts become objects.
    """
    kind: Any = type(event)
    head = {"v": SCHEMA_VERSION, "type": event.type, "at": event.at}
    return head | {name: _plain(getattr(event, name)) for name in _names(kind) if name != "at"}


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (str, int, bool, float):
        return value
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if dataclasses.is_dataclass(kind):
        return {name: _plain(getattr(value, name)) for name in _names(kind)}
    return value


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields."""
    return tuple(field.name for field in dataclasses.fields(kind))
