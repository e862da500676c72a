"""The resources of a stream that are there and that are wanted, as offers and answers change them. No I/O.

RFC 3312 section 5, updated by RFC 4032 section 4: each side keeps a table, updates it with each description
of the other, and describes it in its own. What is *local* to one is *remote* to the other, and what one sends
the other receives. The session goes on when all that is mandatory is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sipmikey.sdp.preconditions.lines import QOS, Direction, Precondition, Status, Strength

Row = tuple[str, Status, Direction]
"""A direction (SEND or RECV) of one status type of one precondition type."""

_SEGMENTED = (Status.LOCAL, Status.REMOTE)
_BOTH = (Direction.SEND, Direction.RECV)
_SWAPPED_STATUS = {
    Status.LOCAL: Status.REMOTE,
    Status.REMOTE: Status.LOCAL,
    Status.E2E: Status.E2E,
}
_SWAPPED_WAY = {
    Direction.SEND: Direction.RECV,
    Direction.RECV: Direction.SEND,
    Direction.SENDRECV: Direction.SENDRECV,
    Direction.NONE: Direction.NONE,
}
_NOTHING: Mapping[Row, Strength] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The preconditions of one stream, as this side sees them.

    ``there``: what is reserved; ``wanted``: how much each is wanted, ``wish``: by us, whatever the other side
    wants. ``ours``: whether our own resources are there. ``asked``: of what the other side wants to be told
    (conf). ``told``: what we told it. ``unknown``: mandatory preconditions of a type that we do not know and
    would have to do something about. ``closed``: the stream has port 0, and no preconditions (RFC 3312
    section 8.1).
    """

    there: frozenset[Row] = frozenset()
    wanted: Mapping[Row, Strength] = field(default_factory=lambda: _NOTHING)
    wish: Mapping[Row, Strength] = field(default_factory=lambda: _NOTHING)
    ours: bool = False
    asked: frozenset[Row] = frozenset()
    told: frozenset[Row] = frozenset()
    unknown: tuple[Precondition, ...] = ()
    closed: bool = False

    @classmethod
    def offering(cls, *, ours: bool) -> Table:
        """Return the table with which to offer: of our own access network; theirs is up to them.

        What is there already need not be mandatory, and an offer without anything mandatory can go out with
        ``Supported: precondition`` (RFC 3312 section 11).
        """
        strength = Strength.OPTIONAL if ours else Strength.MANDATORY
        wish = {(QOS, Status.LOCAL, way): strength for way in _BOTH}
        wish |= {(QOS, Status.REMOTE, way): Strength.NONE for way in _BOTH}
        made = MappingProxyType(wish)
        return cls(wanted=made, wish=made)._with_ours(ours)

    @property
    def stated(self) -> bool:
        """True where there are preconditions."""
        return bool(self.wanted or self.unknown) and not self.closed

    @property
    def met(self) -> bool:
        """True where all mandatory resources are there."""
        return not self.missing and (self.closed or not self.unknown)

    @property
    def mandatory(self) -> frozenset[Row]:
        """The mandatory resources."""
        if self.closed:
            return frozenset()
        return frozenset(row for row, strength in self.wanted.items() if strength is Strength.MANDATORY)

    @property
    def missing(self) -> frozenset[Row]:
        """The mandatory resources that are missing."""
        return self.mandatory - self.there

    @property
    def must_tell(self) -> bool:
        """True where the other side waits for an offer (UPDATE) that reports the resources.

        It waits until all that it asked about is there, and when that changes again (RFC 3312 section 7).
        """
        return not self.closed and (self.asked <= self.there) != (self.asked <= self.told)

    def reserved(self, there: bool) -> Table:
        """Return the table once our own resources are *there*, or no longer are."""
        return self._with_ours(there)

    def of_port(self, port: int) -> Table:
        """Return the table of the stream once a description gives it *port*."""
        return replace(self, closed=not port)

    def _with_ours(self, ours: bool) -> Table:
        """Enter our own resources: our access network, and the sending direction of the whole path."""
        own = {row for row in self.wanted if _is_own(row)}
        there = self.there | own if ours else self.there - own
        return replace(self, ours=ours, there=frozenset(there))

    def heard_offer(self, lines: Iterable[Precondition]) -> Table:
        """Return the table after an offer of the other side: it may want less than before.

        Preconditions of an unknown type that the other side meets alone are waited for, others refused
        (RFC 3312 section 9).
        """
        stated = tuple(lines)
        if not stated:
            return self
        foreign = [line for line in stated if line.kind != QOS and line.strength is Strength.MANDATORY]
        kinds = frozenset({QOS, *(line.kind for line in foreign if line.status is Status.LOCAL)})
        table = self._heard(stated, dict(self.wish), kinds)
        return replace(
            table, unknown=tuple(_turned(line) for line in foreign if line.status is not Status.LOCAL)
        )

    def heard_answer(self, lines: Iterable[Precondition]) -> Table:
        """Return the table after an answer: it may want more than our offer did, never less."""
        stated = tuple(lines)
        if not stated:
            return self
        return self._heard(stated, dict(self.wanted), frozenset({QOS}))

    def _heard(
        self, stated: tuple[Precondition, ...], wanted: dict[Row, Strength], kinds: frozenset[str]
    ) -> Table:
        there = {row for row in self.there if row[1] is Status.LOCAL}
        asked: set[Row] = set()
        for line in (_turned(line) for line in stated if line.kind in kinds):
            rows = {(line.kind, line.status, way) for way in line.direction.parts}
            if line.name == "curr":
                # This side knows its own access network better.
                there |= {row for row in rows if row[1] is not Status.LOCAL}
            elif line.name == "des":
                for row in rows:
                    wanted[row] = max(wanted.get(row, Strength.NONE), line.strength or Strength.NONE)
            else:
                asked |= rows
        table = replace(
            self,
            there=frozenset(there),
            wanted=MappingProxyType(_whole(wanted)),
            asked=frozenset(asked),
        )
        return table._with_ours(self.ours)

    def says(self) -> tuple[tuple[Precondition, ...], Table]:
        """Return the lines of our next description, and the table once they are told."""
        if self.closed:
            return (), self
        groups = list(dict.fromkeys((kind, status) for kind, status, _ in self.wanted))
        groups.sort(key=lambda group: (group[0], list(Status).index(group[1])))
        lines: list[Precondition] = []
        for group in groups:
            lines.append(_line("curr", group, _direction(self.there, group)))
        for group in groups:
            lines += self._wanted_lines(group)
        for group in groups:
            awaited = {row for row in self.missing if row[:2] == group and not _is_own(row)}
            if awaited:
                lines.append(_line("conf", group, _direction(awaited, group)))
        return tuple(lines), replace(self, told=self.there)

    def refusing(self) -> tuple[Precondition, ...]:
        """Return the lines of a refusal (580): what cannot be met (RFC 3312 sections 8 and 9)."""
        unknown = tuple(replace(line, strength=Strength.UNKNOWN) for line in self.unknown)
        groups = sorted({(kind, status) for kind, status, _ in self.missing})
        failed = tuple(
            _line("des", group, _direction(self.missing, group), Strength.FAILURE) for group in groups
        )
        return () if self.closed else unknown + failed

    def _wanted_lines(self, group: tuple[str, Status]) -> list[Precondition]:
        by_strength: dict[Strength, set[Row]] = {}
        for row, strength in self.wanted.items():
            if row[:2] == group:
                by_strength.setdefault(strength, set()).add(row)
        return [
            _line("des", group, _direction(rows, group), strength)
            for strength, rows in sorted(by_strength.items(), reverse=True)
        ]


def _is_own(row: Row) -> bool:
    """Return True where a row is about resources that we reserve: none of an unknown type."""
    kind, status, way = row
    return kind == QOS and (status is Status.LOCAL or (status is Status.E2E and way is Direction.SEND))


def _whole(wanted: dict[Row, Strength]) -> dict[Row, Strength]:
    """Add the rows that a status type has to have (RFC 3312 section 5.1.1): nothing is wanted of them."""
    made = dict(wanted)
    for kind, status, _ in wanted:
        for other in (status,) if status is Status.E2E else _SEGMENTED:
            for way in _BOTH:
                made.setdefault((kind, other, way), Strength.NONE)
    return made


def _turned(line: Precondition) -> Precondition:
    """Return a line of the other side from our point of view."""
    return replace(line, status=_SWAPPED_STATUS[line.status], direction=_SWAPPED_WAY[line.direction])


def _line(
    name: str, group: tuple[str, Status], direction: Direction, strength: Strength | None = None
) -> Precondition:
    kind, status = group
    return Precondition(name=name, kind=kind, strength=strength, status=status, direction=direction)


def _direction(rows: Iterable[Row], group: tuple[str, Status]) -> Direction:
    ways = {way for *row_group, way in rows if tuple(row_group) == group}
    return Direction.of(send=Direction.SEND in ways, recv=Direction.RECV in ways)
