"""Contact header fields as redirections carry them (RFC 3261 sections 8.1.3.4 and 20.10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.call.reasons import AgentError, Reason

_QVALUE = re.compile(r"0(?:\.\d*)?|1(?:\.0*)?|\.\d+", re.ASCII)
_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """``uri``: as it is written, of any scheme. ``q``: preference from 0 to 1, 1 unless given."""

    uri: str
    q: float = 1.0


def parse_contacts(value: str) -> tuple[Contact, ...]:
    """Return the contacts of one Contact header field, in its order.

    Raises ``AgentError`` unless all of *value* is a list of them (``*`` is for REGISTER only).
    """
    return tuple(_contact(item) for item in _items(value))


def _items(value: str) -> Iterator[str]:
    """Split at the commas that are neither in quotes nor in angle brackets."""
    start, quoted, bracketed, escaped = 0, False, False, False
    for at, character in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif bracketed:
            bracketed = character != ">"
        elif character in '"<':
            quoted, bracketed = character == '"', character == "<"
        elif character == ",":
            yield value[start:at]
            start = at + 1
    if quoted or bracketed:
        raise _malformed(value)
    yield value[start:]


def _contact(item: str) -> Contact:
    name, opening, rest = _cut(item, "<")
    if opening:
        uri, _, parameters = rest.partition(">")
        if _cut(name, ";")[1]:
            raise _malformed(item)
    else:
        # Without brackets, what follows the semicolon belongs to the header field, not to the URI.
        uri, semicolon, parameters = item.partition(";")
        parameters = semicolon + parameters
    uri, parameters = uri.strip(), parameters.strip()
    if ":" not in uri or any(character.isspace() for character in uri) or parameters[:1] not in ("", ";"):
        raise _malformed(item)
    return Contact(uri=uri, q=_preference(parameters, item))


def _preference(parameters: str, item: str) -> float:
    while parameters:
        parameter, _, parameters = _cut(parameters.removeprefix(";"), ";")
        name, equals, word = parameter.partition("=")
        if name.strip().lower() == "q":
            if not equals or _QVALUE.fullmatch(word.strip()) is None:
                raise _malformed(item)
            return float(word)
    return 1.0


def _cut(text: str, at: str) -> tuple[str, str, str]:
    """Partition *text* at the first *at* outside of quotes."""
    quoted, escaped = False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == at:
            return text[:place], at, text[place + 1 :]
        else:
            quoted = character == '"'
    return text, "", ""


def _malformed(item: str) -> AgentError:
    return AgentError(Reason.SIP_FAILURE, f"malformed Contact {item.strip()[:_SHOWN]!r}")
