"""The preconditions of a call, over its offers and answers. No I/O."""

from __future__ import annotations

from sipmikey.sdp.document import Document
from sipmikey.sdp.preconditions.lines import read, replaced
from sipmikey.sdp.preconditions.table import Table


class Preconditions:
    """What has to be there before the call rings, on each of its m-lines.

    *ours*: whether our own resources are there; `reserved` says so later. *offers*: we ask for preconditions;
    otherwise there are none but those of the other side.

    ::

        sdp = conditions.describe(sdp)       # what we send: an offer or an answer
        conditions.hear(received)            # what the other side sent
        if conditions.met: ...               # the callee may be alerted
        if conditions.must_tell: ...         # the other side waits for an UPDATE
    """

    def __init__(self, *, ours: bool, offers: bool) -> None:
        self._ours = ours
        self._offers = offers
        self._tables: list[Table] = []

    @property
    def stated(self) -> bool:
        """Whether there are preconditions."""
        return any(table.stated for table in self._tables)

    @property
    def met(self) -> bool:
        """Whether all that is mandatory is there, on every m-line."""
        return all(table.met for table in self._tables)

    @property
    def must_tell(self) -> bool:
        """Whether the other side waits to be told what is there by now."""
        return any(table.must_tell for table in self._tables)

    @property
    def missing(self) -> str:
        """What is mandatory and not there, in words."""
        rows = {f"{status} {way}" for table in self._tables for status, way in table.missing}
        kinds = {line.kind for table in self._tables for line in table.unknown}
        return ", ".join([*sorted(rows), *(f"unknown type {kind}" for kind in sorted(kinds))])

    @property
    def may_be_met(self) -> bool:
        """Whether the other side can still bring what is missing: not where a kind is unknown."""
        return not any(table.unknown for table in self._tables)

    def reserved(self) -> None:
        """Our own resources are there."""
        self._ours = True
        self._tables = [table.reserved() for table in self._tables]

    def hear(self, sdp: str) -> None:
        """Take a description of the other side. Raises `SdpMalformed` for lines that are none."""
        document = Document.parse(sdp)
        self._fill(len(document.media))
        for index, section in enumerate(document.media):
            self._tables[index] = self._tables[index].heard(read(document, section))

    def describe(self, sdp: str) -> str:
        """Return our description *sdp* with what is there, what is wanted, and what we wait for."""
        document = Document.parse(sdp)
        self._fill(len(document.media))
        if not self.stated:
            return sdp
        stated = []
        for index in range(len(document.media)):
            lines, self._tables[index] = self._tables[index].says()
            stated.append(lines)
        return replaced(document, stated)

    def _fill(self, count: int) -> None:
        """Have a table for each m-line."""
        while len(self._tables) < count:
            self._tables.append(Table.offering(ours=self._ours) if self._offers else Table(ours=self._ours))
