"""Text of others made fit for a terminal, a log or a JSON line: shown, never obeyed.

Control characters could clear a screen and write "proven" there, marks of direction could turn a line around,
and other line separators could break a JSON line in two. They are all shown by their numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

LONGEST = 500
"""Characters of one text of others that are shown."""

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def printable(text: str, *, most: int | None = LONGEST) -> str:
    """Return *text* with every character escaped that is not printable, cut after *most* characters.

    A lone surrogate is shown as the octet or number it stands for. The result can be encoded as UTF-8.
    """
    if most is not None and len(text) > most:
        text = f"{text[:most]}…"
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_line(line: str) -> str:
    """Return a line of our own for a terminal: its colours, tabs and line ends stay."""
    if line.isprintable():
        return line
    pieces = _COLOUR.split(line)
    pieces[::2] = ["".join(c if c in "\n\t" else _shown(c) for c in piece) for piece in pieces[::2]]
    return "".join(pieces)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # an octet that is not UTF-8, as `surrogateescape` holds it
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def printable_values(value: object) -> object:
    """Return JSON data with every text in it printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {str(name): printable_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(item) for item in value]
    return value


def json_line(fields: Mapping[str, object], *, default: Callable[[object], object] | None = None) -> str:
    """Return *fields* as one line of JSON in which no character can act on a terminal or end the line.

    Texts are the same when they are read back, but for surrogates that stood alone.
    """
    text = json.dumps(fields, ensure_ascii=False, default=default)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        return f"\\u{number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else 0xFFFD:04x}"
    if number < 0x10000:
        return f"\\u{number:04x}"
    return json.dumps(character)[1:-1]
