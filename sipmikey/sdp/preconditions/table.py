"""What of a stream's resources is there and what is wanted, as offers and answers change it. No I/O.

RFC 3312 section 5: each side keeps a table, updates it with each description of the other, and describes it
in its own. What is *local* to one is *remote* to the other, and what one sends the other receives. The
session goes on when all that is mandatory is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sipmikey.sdp.preconditions.lines import QOS, Direction, Precondition, Status, Strength

Row = tuple[Status, Direction]
"""A direction (SEND or RECV) of one status type."""

_SEGMENTED = (Status.LOCAL, Status.REMOTE)
_BOTH = (Direction.SEND, Direction.RECV)
_SWAPPED = {
    Status.LOCAL: Status.REMOTE,
    Status.REMOTE: Status.LOCAL,
    Status.E2E: Status.E2E,
    Direction.SEND: Direction.RECV,
    Direction.RECV: Direction.SEND,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The preconditions of one stream, as this side sees them.

    ``there``: what is reserved; ``wanted``: how much each is wanted. ``ours``: whether our own resources are
    there. ``asked``: of what the other side wants to be told (conf). ``told``: what we told it. ``unknown``:
    mandatory preconditions of a kind that we do not know.
    """

    there: frozenset[Row] = frozenset()
    wanted: Mapping[Row, Strength] = field(default_factory=lambda: MappingProxyType({}))
    ours: bool = False
    asked: frozenset[Row] = frozenset()
    told: frozenset[Row] = frozenset()
    unknown: tuple[Precondition, ...] = ()

    @classmethod
    def offering(cls, *, ours: bool) -> Table:
        """Return the table with which to offer: our own access network is mandatory, theirs is up to them."""
        wanted = {(Status.LOCAL, way): Strength.MANDATORY for way in _BOTH}
        wanted |= {(Status.REMOTE, way): Strength.NONE for way in _BOTH}
        return cls(wanted=MappingProxyType(wanted))._with_ours(ours)

    @property
    def stated(self) -> bool:
        """Whether there are preconditions at all."""
        return bool(self.wanted or self.unknown)

    @property
    def met(self) -> bool:
        """Whether all that is mandatory is there."""
        return not self.missing and not self.unknown

    @property
    def missing(self) -> frozenset[Row]:
        """What is mandatory and not there."""
        return (
            frozenset(row for row, strength in self.wanted.items() if strength is Strength.MANDATORY)
            - self.there
        )

    @property
    def must_tell(self) -> bool:
        """Whether the other side waits for an offer (UPDATE) that tells what is there by now."""
        return bool(self.asked & self.there - self.told)

    def reserved(self) -> Table:
        """Return the table once our own resources are there."""
        return self._with_ours(True)

    def _with_ours(self, ours: bool) -> Table:
        """Put in what we have: our access network, and of the whole way the direction in which we send."""
        own = {row for row in self.wanted if row[0] is Status.LOCAL or row == (Status.E2E, Direction.SEND)}
        there = self.there | own if ours else self.there - own
        return replace(self, ours=ours, there=frozenset(there))

    def heard(self, lines: Iterable[Precondition]) -> Table:
        """Return the table after a description of the other side, be it an offer or an answer."""
        stated = tuple(lines)
        qos = [line for line in stated if line.kind == QOS]
        wanted = dict(self.wanted)
        there = {row for row in self.there if row[0] is Status.LOCAL}
        asked: set[Row] = set()
        for line in qos:
            rows = {_seen_from_here(line.status, way) for way in line.direction.parts}
            if line.name == "curr":
                # Of our own access network we know better.
                there |= {row for row in rows if row[0] is not Status.LOCAL}
            elif line.name == "des":
                for row in rows:
                    # What is wanted may become more, never less (RFC 3312 section 5.2).
                    wanted[row] = max(wanted.get(row, Strength.NONE), line.strength or Strength.NONE)
            else:
                asked |= rows
        unknown = tuple(line for line in stated if line.kind != QOS and line.strength is Strength.MANDATORY)
        table = replace(
            self,
            there=frozenset(there),
            wanted=MappingProxyType(wanted),
            asked=frozenset(asked) if qos else self.asked,
            unknown=unknown,
        )
        return table._with_ours(self.ours)

    def says(self) -> tuple[tuple[Precondition, ...], Table]:
        """Return the lines of our next description, and the table once they are told."""
        statuses = [
            status for status in (Status.E2E, *_SEGMENTED) if any(row[0] is status for row in self.wanted)
        ]
        lines: list[Precondition] = []
        for status in statuses:
            lines.append(Precondition(name="curr", status=status, direction=_direction(self.there, status)))
        for status in statuses:
            lines += self._wanted_lines(status)
        for status in statuses:
            awaited = {row for row in self.missing if row[0] is status and self._theirs(row)}
            if awaited:
                lines.append(Precondition(name="conf", status=status, direction=_direction(awaited, status)))
        return tuple(lines), replace(self, told=self.told | self.there)

    def refusing(self) -> tuple[Precondition, ...]:
        """Return the lines of a refusal (580): what cannot be met, as RFC 3312 section 5.1.3 has it."""
        unknown = tuple(replace(line, strength=Strength.UNKNOWN) for line in self.unknown)
        failed = tuple(
            Precondition(
                name="des",
                strength=Strength.FAILURE,
                status=status,
                direction=_direction(self.missing, status),
            )
            for status in Status
            if any(row[0] is status for row in self.missing)
        )
        return unknown + failed

    def _wanted_lines(self, status: Status) -> list[Precondition]:
        by_strength: dict[Strength, set[Row]] = {}
        for row, strength in self.wanted.items():
            if row[0] is status:
                by_strength.setdefault(strength, set()).add(row)
        return [
            Precondition(name="des", strength=strength, status=status, direction=_direction(rows, status))
            for strength, rows in sorted(by_strength.items(), reverse=True)
        ]

    @staticmethod
    def _theirs(row: Row) -> bool:
        return row[0] is Status.REMOTE or row == (Status.E2E, Direction.RECV)


def _seen_from_here(status: Status, way: Direction) -> Row:
    """Return a row of the other side's as ours."""
    swapped_status, swapped_way = _SWAPPED[status], _SWAPPED[way]
    assert isinstance(swapped_status, Status)
    assert isinstance(swapped_way, Direction)
    return swapped_status, swapped_way


def _direction(rows: Iterable[Row], status: Status) -> Direction:
    ways = {way for row_status, way in rows if row_status is status}
    return Direction.of(send=Direction.SEND in ways, recv=Direction.RECV in ways)
