"""A cursor over a message that writes down every field it passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from sipmikey.decode.explain.node import FaultError, Finding, Node
from sipmikey.decode.explain.words import is_registered, meaning
from sipmikey.mikey.registry import TsType
from sipmikey.mikey.timestamp import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def printable(octets: bytes) -> str | None:
    """Return the text *octets* spell, or None where they hold anything a terminal should not be sent."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def clock_text(timestamp: Timestamp) -> str:
    """Return what a timestamp says, for people."""
    if not timestamp.is_clock:
        return f"counter {timestamp.value}"
    moment = _EPOCH + timedelta(microseconds=timestamp.unix_ns() // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Scribe:
    """Reads ``data[position:end]`` and appends what it reads to ``nodes``; faults raise `FaultError`."""

    def __init__(self, data: bytes, *, section: str = "") -> None:
        self.data = data
        self.position = 0
        self.end = len(data)
        self.nodes: list[Node] = []
        self.warnings: list[Finding] = []
        self.section = section

    @property
    def remaining(self) -> int:
        """Octets left."""
        return self.end - self.position

    def take(self, count: int, name: str) -> bytes:
        """Step over *count* octets without writing them down."""
        if count > self.remaining:
            raise FaultError(name, f"needs {count} octets, {self.remaining} are left", self.position)
        octets = self.data[self.position : self.position + count]
        self.position += count
        return octets

    def note(self, name: str, length: int, value: str | int | None, text: str = "", **more: bool) -> Node:
        """Write down a field of the last *length* octets."""
        node = Node(
            name=name, offset=self.position - length, length=length, value=value, meaning=text,
            section=self.section, secret=more.get("secret", False),
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def number(self, count: int, name: str, text: str = "") -> int:
        """Read an unsigned number of *count* octets."""
        value = int.from_bytes(self.take(count, name), "big")
        self.note(name, count, value, text)
        return value

    def identifier(self, count: int, name: str) -> int:
        """Read a number that people know in hexadecimal."""
        octets = self.take(count, name)
        self.note(name, count, octets.hex())
        return int.from_bytes(octets, "big")

    def choice(self, enum: type[IntEnum], name: str, *, count: int = 1) -> int:
        """Read a registered number."""
        value = int.from_bytes(self.take(count, name), "big")
        self.note(name, count, value, meaning(enum, value))
        self.unregistered(enum, value, name, self.position - count)
        return value

    def unregistered(self, enum: type[IntEnum], value: int, name: str, offset: int) -> None:
        """Warn of a number that is in no registry."""
        if not is_registered(enum, value):
            self.warn(name, f"{value} is not a registered value", offset)

    def warn(self, name: str, detail: str, offset: int) -> None:
        """Write down a doubt."""
        self.warnings.append(
            Finding(kind="warning", field=name, detail=detail, offset=offset, section=self.section)
        )

    def octets(self, count: int, name: str, *, text: bool = False, secret: bool = False) -> bytes:
        """Read octets: as text where that is what they should be, else in hexadecimal."""
        octets = self.take(count, name)
        spelled = printable(octets) if text else None
        self.note(name, count, octets.hex() if spelled is None else spelled, secret=secret)
        return octets

    def counted(self, size: int, name: str, *, text: bool = False, secret: bool = False) -> bytes:
        """Read a length of *size* octets and that many octets."""
        length = self.number(size, f"{name} length")
        return self.octets(length, name, text=text, secret=secret)

    def timestamp(self) -> Timestamp | None:
        """Read TS type and TS value; an unknown type ends the description, its length being unknown."""
        kind = self.choice(TsType, "TS type")
        if not is_registered(TsType, kind):
            raise FaultError("TS type", f"unknown type {kind}, so of unknown length", self.position - 1)
        ts_type = TsType(kind)
        octets = self.take(ts_type.length, "TS value")
        timestamp = Timestamp(ts_type=ts_type, value=int.from_bytes(octets, "big"))
        self.note("TS value", len(octets), octets.hex(), clock_text(timestamp))
        return timestamp

    @contextmanager
    def group(self, name: str, section: str = "", text: str = "") -> Iterator[Node]:
        """Write what is read in the block down as children of one node, also when a fault ends it."""
        outer, above = self.nodes, self.section
        node = Node(name=name, offset=self.position, meaning=text, section=section or above)
        outer.append(node)
        self.nodes, self.section = node.children, section or above
        try:
            yield node
        finally:
            node.length = self.position - node.offset
            self.nodes, self.section = outer, above

    @contextmanager
    def inside(self, count: int, name: str) -> Iterator[None]:
        """Confine the block to the next *count* octets, all of which it must read."""
        if count > self.remaining:
            raise FaultError(name, f"needs {count} octets, {self.remaining} are left", self.position)
        outer, self.end = self.end, self.position + count
        try:
            yield
            if self.remaining:
                raise FaultError(name, f"{self.remaining} octets after the last payload", self.position)
        finally:
            self.end = outer
