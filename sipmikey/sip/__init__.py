"""SIP messages (RFC 3261), without I/O: the one reader of everything that speaks SIP here.

Octets in, a frozen `SipMessage` out; `encode` writes it. Its methods read addresses, lists, quoted strings
and bodies of several parts by the grammar of section 25.1. All they raise is `SipMalformed`.
"""

from sipmikey.sip.address import Address, address_uri, parse_address, parse_addresses
from sipmikey.sip.errors import SipMalformed
from sipmikey.sip.grammar import list_items, quote, readable, unquote
from sipmikey.sip.head import Headers, long_name, read_headers, split_head
from sipmikey.sip.message import SipMessage
from sipmikey.sip.multipart import Part, parts
from sipmikey.sip.values import (
    MediaType,
    ReasonValue,
    Replaces,
    Via,
    WarningValue,
    parse_media_type,
    parse_reason,
    parse_replaces,
    parse_via,
    parse_warning,
)

__all__ = [
    "Address",
    "Headers",
    "MediaType",
    "Part",
    "ReasonValue",
    "Replaces",
    "SipMalformed",
    "SipMessage",
    "Via",
    "WarningValue",
    "address_uri",
    "list_items",
    "long_name",
    "parse_address",
    "parse_addresses",
    "parse_media_type",
    "parse_reason",
    "parse_replaces",
    "parse_via",
    "parse_warning",
    "parts",
    "quote",
    "read_headers",
    "readable",
    "split_head",
    "unquote",
]
