"""Addresses in header fields: name-addr and addr-spec, with their parameters (RFC 3261 section 20.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sipmikey.sip.errors import SipMalformed
from sipmikey.sip.grammar import Parameters, cut, list_items, parameters, shown, strip, unquote

_QVALUE = re.compile(r"0(?:\.\d*)?|1(?:\.0*)?|\.\d+", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_UNFIT = re.compile(r"[\x00-\x20\x7f<>\"]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address. ``uri``: as it is written, of any scheme. ``parameters``: those of the header field.

    ``display_name``: without quotes and escapes; text of the sender's choice, which proves nothing.
    """

    uri: str
    display_name: str = ""
    parameters: Parameters = ()

    def parameter(self, name: str) -> str | None:
        """Return the value of the first parameter *name* (lower case), ``""`` where it has none."""
        return next((value or "" for key, value in self.parameters if key == name), None)

    @property
    def tag(self) -> str:
        """Tag parameter, ``""`` when there is none."""
        return self.parameter("tag") or ""

    @property
    def q(self) -> float:
        """Preference from 0 to 1, 1 unless given."""
        word = self.parameter("q")
        return 1.0 if word is None else float(word)


def parse_addresses(value: str) -> tuple[Address, ...]:
    """Return the addresses of one header field, in its order.

    Raises ``SipMalformed`` unless all of *value* is a list of them (``*`` is for REGISTER only).
    """
    return tuple(_address(item) for item in list_items(value))


@lru_cache(maxsize=64)
def parse_address(value: str) -> Address:
    """Return the one address of a header field that has no list (From, To, Refer-To).

    Raises ``SipMalformed``.
    """
    return _address(strip(value), alone=True)


def address_uri(value: str) -> str:
    """Return the URI of a name-addr or addr-spec. Raises ``SipMalformed``."""
    return parse_address(value).uri


def _address(item: str, *, alone: bool = False) -> Address:
    before, opening, _ = _at_bracket(item)
    if opening:
        uri, _, rest = item[len(before) + 1 :].partition(">")
        name = _display_name(before, item)
    else:
        # Without brackets, what follows the semicolon belongs to the header field, not to the URI.
        uri, semicolon, rest = item.partition(";")
        rest, name = semicolon + rest, ""
    uri = strip(uri)
    # A comma or a question mark calls for brackets.
    unfit = _UNFIT.search(uri) or (not opening and re.search(r"[,?]", uri))
    if _SCHEME.match(uri) is None or unfit or (alone and cut(rest, ",")[1]):
        raise SipMalformed(f"malformed address {shown(item)}")
    found = Address(uri=uri, display_name=name, parameters=parameters(rest))
    word = found.parameter("q")
    if word is not None and _QVALUE.fullmatch(word) is None:
        raise SipMalformed(f"malformed address {shown(item)}: q is from 0 to 1")
    return found


def _at_bracket(item: str) -> tuple[str, bool, str]:
    """Partition at the first angle bracket that is not in quotes."""
    if '"' not in item:
        before, opening, after = item.partition("<")
        if opening and ">" not in after:
            raise _unended(item)
        return before, bool(opening), after
    quoted, escaped = False, False
    for at, character in enumerate(item):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == "<":
            if ">" not in item[at:]:
                raise _unended(item)
            return item[:at], True, item[at + 1 :]
        else:
            quoted = character == '"'
    if quoted:
        raise SipMalformed(f"the quotation in {shown(item)} does not end")
    return item, False, ""


def _unended(item: str) -> SipMalformed:
    return SipMalformed(f"the angle bracket in {shown(item)} does not end")


def _display_name(text: str, item: str) -> str:
    """Return the name before the angle bracket; one without quotes may be any words but separators."""
    text = strip(text)
    if text.startswith('"'):
        return unquote(text)
    if re.search(r'[",;>]', text):
        raise SipMalformed(f"malformed address {shown(item)}: its name stands without quotes")
    return text
