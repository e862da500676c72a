"""The head of a SIP, HTTP or RTSP message, or of a part of its body: start line and header fields."""

from __future__ import annotations

import re
from functools import lru_cache

from sipmikey.sip.grammar import BLANK, TOKEN, readable, strip

Headers = tuple[tuple[str, str], ...]
"""Names as they were written, and values, each on one line."""

COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to",
    "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip
"""Long forms of the compact names (RFC 3261 section 7.3.3, and IANA's registry of header fields)."""

_END = re.compile(rb"(?>\r\n?|\n){2}")
_USUAL_END = b"\r\n\r\n"
_LINE = re.compile(r"\r\n?|\n")


@lru_cache(maxsize=64)
def long_name(name: str) -> str:
    """Return a header field's name in lower case and long form."""
    name = name.strip(BLANK).lower()
    return COMPACT.get(name, name)


def split_head(octets: bytes, at: int = 0) -> tuple[bytes, int]:
    """Return the head that begins at *at*, and where the body begins: behind the first empty line.

    Lines may end with CR or LF alone, as the parser of pjsip has it too.
    """
    usual = -1 if at else octets.find(_USUAL_END)
    if usual >= 0:
        before = octets[: usual + 1]
        if not (b"\n\n" in before or b"\n\r" in before or b"\r\r" in before):
            return octets[:usual], usual + len(_USUAL_END)
    end = _END.search(octets, at)
    return (octets[at:], len(octets)) if end is None else (octets[at : end.start()], end.end())


def read_headers(head: bytes | str) -> tuple[str, Headers]:
    """Return the first line of a head, and its header fields, unfolded (RFC 3261 section 7.3.1).

    Lines that are neither a header field nor the continuation of one are left out.
    """
    text = readable(head).replace("\r\n", "\n")
    if any(mark in text for mark in ("\r", "\n ", "\n\t")):
        return _read_lines(text)
    first, *lines = text.split("\n")
    fields: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and (name := _token(name)):
            fields.append((name, value.strip(BLANK)))
    return first, tuple(fields)


@lru_cache(maxsize=64)
def _token(name: str) -> str:
    """Return the name that stands before a colon, ``""`` where it is not a token."""
    name = strip(name)
    return name if TOKEN.fullmatch(name) else ""


def _read_lines(text: str) -> tuple[str, Headers]:
    """Do the same line by line: for folded lines, and those that end with CR alone."""
    first, *lines = _LINE.split(text)
    fields: list[tuple[str, list[str]]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):
            if fields:
                fields[-1][1].append(strip(line))
            continue
        name, colon, value = line.partition(":")
        if colon and (name := _token(name)):
            fields.append((name, [strip(value)]))
    return first, tuple((name, strip(" ".join(parts))) for name, parts in fields)
