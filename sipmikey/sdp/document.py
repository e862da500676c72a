"""A session description as lines of text that can be edited without touching the others.

sdp-transform reads SDP into dictionaries and writes dictionaries back as SDP, but not the same SDP: lines
are regrouped by type, attributes by name, a repeated attribute survives once, ``a=mid:01`` becomes
``a=mid:1``, ``b=X-YZ:1`` and lines of unknown type are dropped, and an m-line such as
``m=audio 4000/2 RTP/AVP 0`` cannot be written at all. So it reads the attributes this package has to
understand (`sipmikey.sdp.mapping`), and edits are made here, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sipmikey.sdp.errors import SdpMalformed

MAX_CHARACTERS = 262_144
"""Longest description read. MIKEY messages are at most 65,535 octets, 87,380 characters of base64."""

_M_LINE = re.compile(r"m=([!-~]+) ([0-9]{1,5})(/[0-9]{1,5})? ([!-~]+)((?: .*)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line without its end, and the end it came with (CRLF, LF, or nothing at the end of the text)."""

    text: str
    end: str

    def attribute(self) -> tuple[str, str | None] | None:
        """Return (name, value) of an a= line, with None for a flag, and None for any other line."""
        if not self.text.startswith("a="):
            return None
        name, colon, value = self.text[2:].partition(":")
        return name, value if colon else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLine:
    """The fields of an m-line. ``port`` is 0..65535 and 0 means rejected or disabled."""

    media: str
    port: int
    count: str
    protocol: str
    formats: str

    def text(self) -> str:
        """Return the m-line."""
        return f"m={self.media} {self.port}{self.count} {self.protocol}{self.formats}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Lines ``start`` up to ``stop`` of a document: the session level (media None) or one m-line's part."""

    start: int
    stop: int
    media: MediaLine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed description. ``str()`` of an unedited document is the text it was parsed from."""

    lines: tuple[Line, ...]
    session: Section
    media: tuple[Section, ...]

    @classmethod
    def parse(cls, text: str) -> Document:
        """Split *text* into lines and sections.

        Raises `SdpMalformed` for an empty or oversized text, a first line other than ``v=``, control
        characters that other parsers may take for line ends, and m-lines that do not parse.
        """
        if len(text) > MAX_CHARACTERS:
            raise SdpMalformed(f"{len(text)} characters, at most {MAX_CHARACTERS} are read", field="SDP")
        return cls._of(tuple(_lines(text)))

    @classmethod
    def _of(cls, lines: tuple[Line, ...]) -> Document:
        if not lines or not lines[0].text.startswith("v="):
            raise SdpMalformed("does not begin with v=", field="SDP", section="RFC 4566 section 5")
        starts = [number for number, line in enumerate(lines) if line.text.startswith("m=")]
        stops = [*starts[1:], len(lines)] if starts else []
        session = Section(start=0, stop=starts[0] if starts else len(lines), media=None)
        media = tuple(
            Section(start=start, stop=stop, media=_media_line(lines[start].text, number))
            for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
        )
        return cls(lines=lines, session=session, media=media)

    def __str__(self) -> str:
        return "".join(line.text + line.end for line in self.lines)

    def section(self, level: int | None) -> Section:
        """Return the session level (None) or the section of the m-line with that index."""
        return self.session if level is None else self.media[level]

    def levels(self) -> tuple[int | None, ...]:
        """Return None for the session level and the index of each m-line, in order."""
        return (None, *range(len(self.media)))

    def media_line(self, index: int) -> MediaLine:
        """Return the fields of an m-line."""
        line = self.media[index].media
        assert line is not None
        return line

    def attributes(self, level: int | None) -> Iterator[tuple[int, str, str | None]]:
        """Yield (line number, name, value or None) of the a= lines of a level."""
        section = self.section(level)
        for number in range(section.start, section.stop):
            if (attribute := self.lines[number].attribute()) is not None:
                yield number, *attribute

    def with_attribute(self, level: int | None, text: str) -> Document:
        """Return this document with ``a=text`` as the last line of a level."""
        at = self.section(level).stop
        while at > 1 and not self.lines[at - 1].text:
            at -= 1
        before = self.lines[at - 1]
        end = before.end or self.lines[0].end or "\r\n"
        added = (replace(before, end=end), Line(text=f"a={text}", end=before.end))
        return self._of((*self.lines[: at - 1], *added, *self.lines[at:]))

    def without_lines(self, numbers: frozenset[int]) -> Document:
        """Return this document without the lines of those numbers."""
        kept = [line for number, line in enumerate(self.lines) if number not in numbers]
        if kept and not self.lines[-1].end and kept[-1].end:
            kept[-1] = replace(kept[-1], end="")
        return self._of(tuple(kept))

    def with_protocol(self, index: int, protocol: str) -> Document:
        """Return this document with another transport protocol on one m-line."""
        line = replace(self.media_line(index), protocol=protocol)
        number = self.media[index].start
        changed = replace(self.lines[number], text=line.text())
        return self._of((*self.lines[:number], changed, *self.lines[number + 1 :]))


def _lines(text: str) -> Iterator[Line]:
    # Only CR LF and LF end a line here. A stray CR or NUL is refused, because another parser on the path
    # may see a line end where we see none.
    if "\0" in text:
        raise SdpMalformed("contains a NUL", field="SDP", section="RFC 4566 section 9")
    parts = text.split("\n")
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if last and not part:
            return
        content, end = (part, "") if last else (part.removesuffix("\r"), "\n")
        if "\r" in content:
            raise SdpMalformed(
                f"line {number + 1} contains a bare carriage return",
                field="SDP",
                section="RFC 4566 section 9",
            )
        yield Line(text=content, end="\r\n" if not last and len(content) < len(part) else end)


def _media_line(text: str, number: int) -> MediaLine:
    match = _M_LINE.fullmatch(text)
    if match is None or int(match[2]) > 65_535:
        raise SdpMalformed(
            f"m-line {number + 1} is not media, port, protocol and formats",
            field="m=",
            section="RFC 4566 section 5.14",
        )
    return MediaLine(
        media=match[1], port=int(match[2]), count=match[3] or "", protocol=match[4], formats=match[5]
    )
