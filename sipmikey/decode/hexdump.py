"""Octets written out as people paste them: dumps with offsets, C arrays, lists of numbers, escapes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_QUOTED = re.compile(r"^(?:>\s?)+")
_OFFSET = re.compile(r"\s*(?:0x)?(?P<offset>[0-9A-Fa-f]{4,16})(?P<colon>:?)(?:\s+(?P<rest>.*))?$")
_GROUP = re.compile(r"[0-9A-Fa-f]{2,32}(?![0-9A-Za-z])")
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*")
_HEX_NUMBER = re.compile(r"0[xX]([0-9A-Fa-f]{1,2})(?![0-9A-Za-z])")
_DECIMALS = re.compile(r"[\[({]?-?\d{1,3}(?:,-?\d{1,3})+,?[\])}]?;?")
_ESCAPE = re.compile(r"\\x[0-9A-Fa-f]{2}")
_LITERAL = re.compile(r"""b?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")

_FEWEST = 8
"""Numbers that make an array."""

_MAX_ROW = 64
"""Octets a line of a dump may have."""

_MAX_LINE = 4 * _MAX_ROW


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a dump: where it says it stands (in hexadecimal and octal), and what follows."""

    text: str
    colon: bool
    rest: str

    def offset(self, base: int) -> int | None:
        try:
            return int(self.text, base)
        except ValueError:
            return None


def read_octets(text: str) -> bytes | None:
    """Return the octets that a dump, an array or a literal stands for, or None where *text* is none.

    Dumps are those of xxd, ``hexdump`` (with ``-C`` or not), ``od -t x1``, tcpdump ``-X`` and Wireshark, with
    their text column or without, quoted in a mail or not. Their offsets have to fit their lines: digits that
    happen to look like an offset are never taken for one.
    """
    dumped = _dump(text)
    if dumped is not None:
        return dumped
    return _array(text) or _literal(text)


def _dump(text: str) -> bytes | None:
    runs: list[list[_Row]] = [[]]
    for line in text.splitlines():
        match = _OFFSET.match(_QUOTED.sub("", line))
        if match is None:
            if line.strip() == "*" and runs[-1]:
                runs[-1].append(_Row("*", colon=False, rest=""))
            elif runs[-1]:
                runs.append([])
            continue
        runs[-1].append(
            _Row(match["offset"], colon=bool(match["colon"]), rest=(match["rest"] or "")[:_MAX_LINE])
        )
    found = [octets for run in runs if run and (octets := _run(run)) is not None]
    return b"".join(found) if found else None


def _run(rows: list[_Row]) -> bytes | None:
    """Return the octets of lines in a row whose offsets fit, in hexadecimal or octal."""
    if len(rows) == 1 and not rows[0].colon and rows[0].text.strip("0"):
        return None  # a single line of digits, none of which need be an offset
    for base in (16, 8):
        octets = _in_base(rows, base)
        if octets is not None:
            return octets
    return None


def _in_base(rows: list[_Row], base: int) -> bytes | None:
    octets = bytearray()
    first: int | None = None
    for index, row in enumerate(rows):
        if row.text == "*":
            continue
        offset = row.offset(base)
        if offset is None:
            return None
        first = offset if first is None else first
        at = offset - first
        if at > len(octets) and index and rows[index - 1].text == "*" and octets:
            missing = at - len(octets)
            if missing > 1 << 20:
                return None
            line = bytes(octets[-16:])
            octets += (line * (missing // len(line) + 1))[:missing]
        if at != len(octets):
            return None
        following = rows[index + 1].offset(base) if index + 1 < len(rows) else None
        count = _MAX_ROW if following is None else following - offset
        if not row.rest and following is None:
            break  # the last line of hexdump and od has the length only
        if count <= 0:
            return None
        octets += _row_octets(row, min(count, _MAX_ROW), swapped=base == 16 and _is_words(row))
    return bytes(octets) or None


def _is_words(row: _Row) -> bool:
    """Return whether a line is of ``hexdump`` without options: 7 digits of offset and words of 16 bits."""
    groups = row.rest.split()
    return not row.colon and len(row.text) == 7 and bool(groups) and all(len(item) == 4 for item in groups)


def _row_octets(row: _Row, count: int, *, swapped: bool) -> bytes:
    """Read up to *count* octets, from groups that one blank parts (or two, once, in the middle)."""
    found = bytearray()
    position, middle = 0, False
    while len(found) < count:
        match = _GROUP.match(row.rest, position)
        if match is None or len(match[0]) % 2:
            break
        group = bytes.fromhex(match[0])
        found += group[::-1] if swapped else group
        gap = len(row.rest[match.end() :]) - len(row.rest[match.end() :].lstrip(" \t"))
        if gap > 2 or (gap == 2 and (middle or len(found) != 8)):
            break
        middle = middle or gap == 2
        position = match.end() + gap
    return bytes(found[:count])


def _array(text: str) -> bytes | None:
    bare = _without_comments(text)
    numbers = _HEX_NUMBER.findall(bare)
    if len(numbers) >= _FEWEST:
        return bytes(int(number, 16) for number in numbers)
    if _DECIMALS.fullmatch("".join(bare.split())) is None:
        return None
    values = [int(number) for number in re.findall(r"-?\d+", bare)]
    if len(values) < _FEWEST or not all(-128 <= value <= 255 for value in values):
        return None
    return bytes(value & 0xFF for value in values)


def _without_comments(text: str) -> str:
    kept, position = [], 0
    while (start := text.find("/*", position)) >= 0 and (end := text.find("*/", start + 2)) >= 0:
        kept.append(text[position:start])
        position = end + 2
    return _COMMENT.sub(" ", " ".join([*kept, text[position:]]))


def _literal(text: str) -> bytes | None:
    """Return what string literals with ``\\x`` escapes spell, as C, Python and Wireshark write them."""
    if _ESCAPE.search(text) is None:
        return None
    return b"".join(_pieces(text)) or None


def _pieces(text: str) -> Iterator[bytes]:
    quoted = _LITERAL.findall(text)
    if not quoted:
        for run in re.findall(r"(?:\\x[0-9A-Fa-f]{2})+", text):
            yield bytes.fromhex(run.replace("\\x", ""))
        return
    for literal in quoted:
        try:
            value = ast.literal_eval(literal if literal.startswith("b") else f"b{literal}")
        except (ValueError, SyntaxError):
            continue
        yield bytes(value)
