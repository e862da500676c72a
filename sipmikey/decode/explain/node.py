"""A described field or payload, and what is wrong with a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True, kw_only=True)
class Node:
    """One field, or a payload with its fields.

    ``offset`` and ``length`` are octets in the message. ``value`` is None for what only has children.
    ``section`` says where the field is defined. ``secret`` marks a value that is key material: it is shown
    only on request, and ``value`` then holds it in hexadecimal.
    """

    name: str
    offset: int
    length: int = 0
    value: str | int | None = None
    meaning: str = ""
    section: str = ""
    secret: bool = False
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about a message that is wrong (``error``), doubtful (``warning``) or proven (``proof``)."""

    kind: Literal["error", "warning", "proof"]
    detail: str
    field: str = ""
    offset: int | None = None
    section: str = ""


class FaultError(Exception):
    """The octets do not follow the encoding any further."""

    def __init__(self, name: str, detail: str, offset: int) -> None:
        super().__init__(f"{name}: {detail}")
        self.finding = Finding(kind="error", field=name, detail=detail, offset=offset)
