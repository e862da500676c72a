"""The check that a SIP URI can be sent to, by the grammar of RFC 3261 section 25.1."""

from __future__ import annotations

import ipaddress
import re

_USER = r"(?:[a-z0-9\-_.!~*'()&=+$,;?/]|%[0-9a-f]{2})+"
_AFTER_COLON = r"(?::(?:[a-z0-9\-_.!~*'()&=+$,]|%[0-9a-f]{2})*)?"
_PARAMETER = r"(?:;(?:[a-z0-9\-_.!~*'()\[\]/:&+$=]|%[0-9a-f]{2})+)*"
_HEADERS = r"(?:\?(?:[a-z0-9\-_.!~*'()\[\]/?:+$=&]|%[0-9a-f]{2})*)?"
_URI = re.compile(
    rf"sips?:(?:{_USER}{_AFTER_COLON}@)?(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[a-z0-9.\-]+))"
    rf"(?::(?P<port>[0-9]+))?{_PARAMETER}{_HEADERS}",
    re.IGNORECASE | re.ASCII,
)
_MOST_PORT = 65535


def fault_of(uri: str) -> str:
    """Return why nothing can be sent to *uri*, a SIP or SIPS URI without brackets; ``""`` where it can."""
    found = _URI.fullmatch(uri)
    if found is None:
        return "it is not a SIP URI, such as sip:bob@example.com"
    if found["six"] is not None:
        try:
            ipaddress.IPv6Address(found["six"])
        except ValueError:
            return "there is no IPv6 address between its brackets"
    if found["port"] is not None and not 0 < int(found["port"][:6]) <= _MOST_PORT:
        return "its port is not from 1 to 65535"
    return ""
