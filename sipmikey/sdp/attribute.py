"""The a=key-mgmt attribute (RFC 4567 section 3.1): reading and writing."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import KeyMgmtDuplicate, KeyMgmtMalformed

ATTRIBUTE = "key-mgmt"
MIKEY = "mikey"
"""The protocol identifier of MIKEY. Identifiers are case-sensitive (RFC 4567 section 3)."""

_SECTION = "RFC 4567 section 3.1"
_VALUE = re.compile(r" ?([A-Za-z0-9]+) (.*)", re.DOTALL)
_LINE = re.compile(rf"^a={ATTRIBUTE}:([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMgmt:
    """One a=key-mgmt attribute.

    ``protocol`` is its prtcl-id; ``level`` None for the session level or the index of the m-line; ``message``
    the decoded octets for the protocol "mikey" and empty for every other, whose data is not judged here;
    ``line`` the number of its line in the document.
    """

    protocol: str
    level: int | None
    message: bytes
    line: int


def parse_value(value: str | None, *, max_bytes: int) -> tuple[str, bytes]:
    """Return (prtcl-id, message) of an attribute value, the message empty unless the prtcl-id is "mikey".

    *max_bytes* is the longest message decoded. Raises `KeyMgmtMalformed`.
    """
    match = _VALUE.fullmatch(value or "")
    if match is None:
        raise KeyMgmtMalformed(
            "is not a protocol identifier, one space and base64", field=ATTRIBUTE, section=_SECTION
        )
    protocol, data = match[1], match[2]
    return protocol, decode(data, max_bytes=max_bytes) if protocol == MIKEY else b""


def decode(data: str, *, max_bytes: int) -> bytes:
    """Decode keymgmt-data: padded base64 in its one canonical spelling. Raises `KeyMgmtMalformed`."""
    if not data:
        raise KeyMgmtMalformed("no data", field=ATTRIBUTE, section=_SECTION)
    if len(data) > (max_bytes + 2) // 3 * 4:
        raise KeyMgmtMalformed(
            f"{len(data)} characters of base64, at most {max_bytes} octets are read", field=ATTRIBUTE
        )
    if _BASE64.fullmatch(data) is None:
        raise KeyMgmtMalformed("data is not padded base64", field=ATTRIBUTE, section="RFC 4648 section 4")
    try:
        message = base64.b64decode(data, validate=True)
    except binascii.Error:  # cannot happen: the expression above has checked the text
        raise KeyMgmtMalformed("data is not base64", field=ATTRIBUTE) from None
    # "QQ==" and "QR==" decode alike: if both were accepted, equal messages could have unequal attributes.
    if base64.b64encode(message).decode("ascii") != data:
        raise KeyMgmtMalformed(
            "the unused bits of the last character are not zero",
            field=ATTRIBUTE,
            section="RFC 4648 section 3.5",
        )
    if len(message) > max_bytes:
        raise KeyMgmtMalformed(f"{len(message)} octets, at most {max_bytes} are read", field=ATTRIBUTE)
    return message


def mentions(sdp: str) -> bool:
    """Return whether a description has an a=key-mgmt attribute, of any protocol, well-formed or not."""
    return _LINE.search(sdp) is not None


def first_data(sdp: str) -> str | None:
    """Return the keymgmt-data of the first MIKEY attribute in a description as it stands, None without."""
    values = (_VALUE.fullmatch(found[1]) for found in _LINE.finditer(sdp))
    return next((value[2] for value in values if value is not None and value[1] == MIKEY), None)


def format_value(message: bytes) -> str:
    """Return the attribute, without ``a=``, that carries a MIKEY message."""
    return f"{ATTRIBUTE}:{MIKEY} {base64.b64encode(message).decode('ascii')}"


def find(document: Document, *, max_bytes: int) -> tuple[KeyMgmt, ...]:
    """Return every a=key-mgmt attribute of a description, in its order.

    Raises `KeyMgmtMalformed`, and `KeyMgmtDuplicate` for two of one protocol at the same level.
    """
    found: list[KeyMgmt] = []
    for level in document.levels():
        seen: set[str] = set()
        for line, name, value in document.attributes(level):
            if name != ATTRIBUTE:
                continue
            protocol, message = parse_value(value, max_bytes=max_bytes)
            if protocol in seen:
                where = "the session level" if level is None else f"m-line {level + 1}"
                raise KeyMgmtDuplicate(f"two {protocol} attributes at {where}", field=ATTRIBUTE)
            seen.add(protocol)
            found.append(KeyMgmt(protocol=protocol, level=level, message=message, line=line))
    return tuple(found)


def protocol_ids(attributes: tuple[KeyMgmt, ...]) -> tuple[str, ...]:
    """Return the protocol identifiers of a description in their order, each once (RFC 4567 section 4.1.4)."""
    return tuple(dict.fromkeys(attribute.protocol for attribute in attributes))


def insert(document: Document, level: int | None, message: bytes) -> Document:
    """Return the document with an attribute that carries *message* as the last line of a level."""
    return document.with_attribute(level, format_value(message))


def strip(document: Document) -> Document:
    """Return the document without its MIKEY attributes; those of other protocols stay."""
    numbers = frozenset(
        line
        for level in document.levels()
        for line, name, value in document.attributes(level)
        if name == ATTRIBUTE and (match := _VALUE.fullmatch(value or "")) and match[1] == MIKEY
    )
    return document.without_lines(numbers) if numbers else document
