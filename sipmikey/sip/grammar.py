"""The pieces of SIP header fields (RFC 3261 section 25.1): lists, quoted strings, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sipmikey.sip.errors import SipMalformed

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
"""A token (RFC 3261 section 25.1)."""

Parameters = tuple[tuple[str, str | None], ...]
"""Names in lower case, and values without their quotes; None for a parameter without a value."""

BLANK = " \t\r\n"
"""White space of SIP."""

_ESCAPED = {0xDC80 + offset: 0x80 + offset for offset in range(0x80)}
_LONE = re.compile("[\ud800-\udfff]")
_SHOWN = 80


def readable(octets: bytes | str) -> str:
    """Return text of UTF-8; an octet that is not becomes the Latin-1 character of its number.

    A text may hold such octets as the surrogates of ``surrogateescape``. The result can always be encoded.
    """
    text = octets.decode("utf-8", "surrogateescape") if isinstance(octets, bytes) else octets
    if text.isascii():
        return text
    return _LONE.sub("\ufffd", text.translate(_ESCAPED))


def strip(text: str) -> str:
    """Return *text* without the white space of SIP around it; other characters stay, blank or not."""
    return text.strip(BLANK)


def shown(text: str) -> str:
    """Return *text* as an error names it: escaped, and not too long."""
    return ascii(text[:_SHOWN])


def list_items(value: str) -> Iterator[str]:
    """Split at the commas that are neither in quotes nor in angle brackets.

    Raises ``SipMalformed`` where a quotation or a bracket does not end.
    """
    rest: str | None = value
    while rest is not None:
        item, comma, after = cut(rest, ",")
        yield strip(item)
        rest = after if comma else None


def cut(text: str, stop: str) -> tuple[str, str, str]:
    """Partition *text* at the first *stop*, a character, that is neither in quotes nor in angle brackets.

    Raises ``SipMalformed`` where a quotation or a bracket does not end.
    """
    parts = text.partition(stop)
    if '"' not in parts[0] and "<" not in parts[0]:
        return parts
    quoted, bracketed, escaped = False, False, False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif bracketed:
            bracketed = character != ">"
        elif character == stop:
            return text[:at], character, text[at + 1 :]
        else:
            quoted, bracketed = character == '"', character == "<"
    if quoted or bracketed:
        what = "quotation" if quoted else "angle bracket"
        raise SipMalformed(f"the {what} in {shown(text)} does not end")
    return text, "", ""


def parameters(text: str) -> Parameters:
    """Read ``;name=value;name``, or nothing. Raises ``SipMalformed``."""
    found: list[tuple[str, str | None]] = []
    text = strip(text)
    if text and not text.startswith(";"):
        raise SipMalformed(f"{shown(text)} stands where parameters begin with a semicolon")
    for item in _pieces(text.removeprefix(";")):
        name, equals, value = cut(item, "=")
        name = strip(name)
        if TOKEN.fullmatch(name) is None:
            raise SipMalformed(f"{shown(item)} is not a parameter")
        found.append((name.lower(), unquote(value) if equals else None))
    return tuple(found)


def _pieces(text: str) -> list[str]:
    if '"' not in text and "<" not in text:
        pieces = text.split(";")
        return pieces if pieces[-1] else pieces[:-1]
    pieces = []
    while text:
        piece, _, text = cut(text, ";")
        pieces.append(piece)
    return pieces


def unquote(text: str) -> str:
    """Return what a quoted string stands for, without its escapes; any other text as it is.

    Raises ``SipMalformed`` where something follows the closing quote.
    """
    text = strip(text)
    if not text.startswith('"'):
        return text
    inside, closing, after = _quotation(text)
    if not closing or strip(after):
        raise SipMalformed(f"{shown(text)} is not one quoted string")
    return inside


def _quotation(text: str) -> tuple[str, bool, str]:
    """Return (content, whether it ended, rest) of the quoted string that *text* begins with."""
    content: list[str] = []
    escaped = False
    for at, character in enumerate(text[1:], 1):
        if escaped:
            content.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            return "".join(content), True, text[at + 1 :]
        else:
            content.append(character)
    return "".join(content), False, ""


def quote(text: str) -> str:
    """Return *text* as a quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
