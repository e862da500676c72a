"""Bodies of several parts (RFC 2046 section 5.1, RFC 5621): SDP beside a location, ISUP and the like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.sip.errors import SipMalformed
from sipmikey.sip.head import Headers, long_name, read_headers, split_head
from sipmikey.sip.values import MediaType, parse_media_type

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: its header fields and octets."""

    headers: Headers
    content: bytes

    @property
    def kind(self) -> str:
        """Media type in lower case, ``text/plain`` where the part names none, ``""`` for a malformed one."""
        value = next((value for name, value in self.headers if long_name(name) == "content-type"), None)
        try:
            return "text/plain" if value is None else parse_media_type(value).name
        except SipMalformed:
            return ""


def parts(kind: MediaType, content: bytes) -> Iterator[Part]:
    """Yield the parts of a body of the multipart type *kind*. Raises ``SipMalformed`` without a boundary.

    The last part may lack its closing line, as pjsip has it too.
    """
    boundary = kind.parameter("boundary") or ""
    if _BOUNDARY.fullmatch(boundary) is None:
        raise SipMalformed("a multipart body has a boundary of 1 to 70 characters", field="Content-Type")
    line = re.compile(rb"(?:^|\r\n|\n)--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\r|\n|$)")
    found = list(line.finditer(content))
    for number, start in enumerate(found):
        if start.group(1):
            return
        end = found[number + 1].start() if number + 1 < len(found) else len(content)
        yield _part(content[start.end() : end])


def _part(octets: bytes) -> Part:
    # The line end behind the boundary is the start line's; a part without header fields has an empty line.
    head, body = split_head(octets)
    _, headers = read_headers(head)
    return Part(headers=headers, content=octets[body:])
