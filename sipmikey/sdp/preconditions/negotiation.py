"""The preconditions of a call, over its offers and answers. No I/O."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.sdp.document import Document, MediaLine
from sipmikey.sdp.preconditions.lines import Precondition, read, replaced
from sipmikey.sdp.preconditions.table import Table


class Preconditions:
    """The resources that must be there before the call rings, on each of its m-lines.

    *ours*: our own resources are there; `reserved` tells later changes. *offers*: we ask for preconditions;
    otherwise there are none but those of the other side.

    ::

        sdp = conditions.describe(sdp)       # what we send: an offer or an answer
        conditions.hear_offer(received)      # what the other side sent; hear_answer for an answer
        if conditions.met: ...               # the callee may be alerted
        if conditions.must_tell: ...         # the other side waits for an UPDATE
    """

    def __init__(self, *, ours: bool, offers: bool) -> None:
        self._ours = ours
        self._offers = offers
        self._tables: list[Table] = []
        self._streams: tuple[MediaLine, ...] = ()

    @classmethod
    def of_offer(cls, sdp: str) -> Preconditions | None:
        """Return the preconditions of a call after the offer *sdp*, while our own resources are there.

        None where the offer has none. Raises `SdpMalformed`.
        """
        theirs, ours = (cls(ours=True, offers=offers) for offers in (False, True))
        theirs.hear_offer(sdp)
        ours.hear_offer(sdp)
        return ours if theirs.stated else None

    @property
    def stated(self) -> bool:
        """True where there are preconditions."""
        return any(table.stated for table in self._tables)

    @property
    def met(self) -> bool:
        """True where all mandatory resources are there, on every m-line."""
        return all(table.met for table in self._tables)

    @property
    def required(self) -> bool:
        """True where a resource is mandatory: an offer then needs ``Require: precondition``.

        Otherwise ``Supported: precondition`` will do (RFC 3312 section 11).
        """
        return any(table.mandatory for table in self._tables)

    @property
    def must_tell(self) -> bool:
        """True where the other side waits for a report of the resources."""
        return any(table.must_tell for table in self._tables)

    @property
    def missing(self) -> str:
        """The mandatory resources that are missing, as text."""
        rows = {f"{status} {way}" for table in self._tables for _, status, way in table.missing}
        kinds = {line.kind for table in self._tables for line in table.unknown}
        return ", ".join([*sorted(rows), *(f"unknown type {kind}" for kind in sorted(kinds))])

    @property
    def may_be_met(self) -> bool:
        """True where the other side can still provide what is missing: not where a type is unknown."""
        return not any(table.unknown and not table.closed for table in self._tables)

    def reserved(self, there: bool = True) -> None:
        """Note that our own resources are *there*, or no longer are."""
        self._ours = there
        self._tables = [table.reserved(there) for table in self._tables]

    def hear_offer(self, sdp: str) -> None:
        """Take an offer of the other side. Raises `SdpMalformed` for lines that cannot be read."""
        for index, (table, lines) in enumerate(self._received(sdp)):
            self._tables[index] = table.heard_offer(lines)

    def hear_answer(self, sdp: str) -> None:
        """Take an answer of the other side. Raises `SdpMalformed` for lines that cannot be read."""
        for index, (table, lines) in enumerate(self._received(sdp)):
            self._tables[index] = table.heard_answer(lines)

    def _received(self, sdp: str) -> list[tuple[Table, tuple[Precondition, ...]]]:
        document = Document.parse(sdp)
        lines = [read(document, section) for section in document.media]
        self._close(document)
        self._streams = _streams(document)
        return list(zip(self._tables, lines, strict=False))

    def reject(self, sdp: str) -> None:
        """Take our answer *sdp*, which is not made yet: what it rejects (port 0) has no preconditions."""
        document = Document.parse(sdp)
        self._fill(len(document.media))
        for index, stream in enumerate(_streams(document)):
            if not stream.port:
                self._tables[index] = self._tables[index].of_port(0)

    def describe(self, sdp: str) -> str:
        """Return our description *sdp* with what is there, what is wanted, and what we wait for."""
        document = Document.parse(sdp)
        self._close(document)
        if not self.stated:
            return sdp
        stated = []
        for index in range(len(document.media)):
            lines, self._tables[index] = self._tables[index].says()
            stated.append(lines)
        return replaced(document, stated)

    def refusal(self) -> str:
        """Return the description that goes with a refusal, of the streams described last.

        It is neither an offer nor an answer (RFC 3312 section 8).
        """
        text = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"]
        for stream, table in zip(self._streams, self._tables, strict=False):
            text += [replace(stream, port=0, count="").text(), *(line.text() for line in table.refusing())]
        return "".join(f"{line}\r\n" for line in text)

    def _close(self, document: Document) -> None:
        """Make a table for each m-line, closed where its port is 0."""
        self._fill(len(document.media))
        for index, stream in enumerate(_streams(document)):
            self._tables[index] = self._tables[index].of_port(stream.port)

    def _fill(self, count: int) -> None:
        while len(self._tables) < count:
            self._tables.append(Table.offering(ours=self._ours) if self._offers else Table(ours=self._ours))


def _streams(document: Document) -> tuple[MediaLine, ...]:
    return tuple(document.media_line(index) for index in range(len(document.media)))
