"""The attributes of preconditions: ``a=curr``, ``a=des`` and ``a=conf`` (RFC 3312 section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from sipmikey.sdp.document import Document, Line, Section
from sipmikey.sdp.errors import SdpMalformed

QOS = "qos"

NAMES = ("curr", "des", "conf")

_MOST = 64
"""How many lines of one stream are read."""


class Status(StrEnum):
    """Whose resources: of the whole path, or of one side's access network, as the writer sees it."""

    E2E = "e2e"
    LOCAL = "local"
    REMOTE = "remote"


class Strength(IntEnum):
    """How strongly a resource is wanted, weakest first. ``FAILURE`` and ``UNKNOWN`` are in refusals only."""

    UNKNOWN = -2
    FAILURE = -1
    NONE = 0
    OPTIONAL = 1
    MANDATORY = 2


class Direction(StrEnum):
    """Directions of media, from the writer's point of view."""

    NONE = "none"
    SEND = "send"
    RECV = "recv"
    SENDRECV = "sendrecv"

    @classmethod
    def of(cls, *, send: bool, recv: bool) -> Direction:
        """Return the word for these directions."""
        return (cls.NONE, cls.SEND, cls.RECV, cls.SENDRECV)[send + 2 * recv]

    @property
    def parts(self) -> frozenset[Direction]:
        """``SEND`` and ``RECV``, those that this one holds."""
        both = {Direction.SEND, Direction.RECV}
        return frozenset({Direction.SENDRECV: both, Direction.NONE: set()}.get(self, {self}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Precondition:
    """One line. ``name``: curr, des or conf; ``strength`` of a ``des`` line, else None."""

    name: str
    kind: str = QOS
    strength: Strength | None = None
    status: Status
    direction: Direction

    def text(self) -> str:
        """Return the line."""
        strength = () if self.strength is None else (self.strength.name.lower(),)
        return f"a={self.name}:{' '.join((self.kind, *strength, self.status, self.direction))}"


def parse(text: str) -> Precondition | None:
    """Return an attribute line as a precondition, None for one of another kind; raise `SdpMalformed`."""
    name, colon, value = text.removeprefix("a=").partition(":")
    if not text.startswith("a=") or name not in NAMES or not colon:
        return None
    words = value.lower().split(" ")
    try:
        strength = Strength[words.pop(1).upper()] if name == "des" else None
        kind, status, direction = words
        return Precondition(
            name=name, kind=kind, strength=strength, status=Status(status), direction=Direction(direction)
        )
    except (KeyError, ValueError, IndexError):
        raise SdpMalformed(
            f"{value!r} is not a precondition", field=f"a={name}", section="RFC 3312 section 4"
        ) from None


def read(document: Document, section: Section) -> tuple[Precondition, ...]:
    """Return the lines about preconditions in the part of one m-line; raise `SdpMalformed`."""
    found = [parse(line.text) for line in document.lines[section.start : section.stop]]
    lines = tuple(line for line in found if line is not None)
    if len(lines) > _MOST:
        raise SdpMalformed(f"{len(lines)} lines", field="a=curr")
    return lines


def replaced(document: Document, stated: Iterable[Iterable[Precondition]]) -> str:
    """Return *document* as text with these lines, for each m-line in turn, instead of those it has."""
    text: list[str] = [line.text for line in _session(document)]
    for section, lines in zip(document.media, stated, strict=True):
        part = document.lines[section.start : section.stop]
        text += [line.text for line in part if parse_name(line.text) not in NAMES]
        text += [line.text() for line in lines]
    return "".join(f"{line}\r\n" for line in text)


def _session(document: Document) -> tuple[Line, ...]:
    return document.lines[document.session.start : document.session.stop]


def parse_name(text: str) -> str:
    """Return the name of an attribute line, empty for another."""
    return text[2:].partition(":")[0] if text.startswith("a=") else ""
