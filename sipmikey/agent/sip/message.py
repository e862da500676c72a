"""Reading the parts of a SIP message that keying depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.agent.sip.contact import Contact, parse_contacts
from sipmikey.call.reasons import AgentError, Reason

_COMPACT = {
    "f": "from", "t": "to", "i": "call-id", "v": "via", "c": "content-type", "l": "content-length",
    "m": "contact", "r": "refer-to", "x": "session-expires",
}  # fmt: skip
_TAG = re.compile(r";\s*tag\s*=\s*([^;,\s>]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """A SIP request or response as it went over the wire.

    ``status`` is 0 for a request. ``method`` is that of the CSeq. ``headers`` keeps order and repetition,
    names in lower case and long form. ``body`` is the text after the empty line, ``""`` for none.
    """

    start_line: str
    status: int
    method: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def parse(cls, text: str) -> SipMessage:
        """Read *text*; raises ``AgentError`` when it is no SIP message."""
        head, _, body = text.partition("\r\n\r\n")
        lines = _unfold(head)
        start = next(lines, "")
        headers: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                name = name.strip().lower()
                headers.append((_COMPACT.get(name, name), value.strip()))
        words = start.split(" ", 2)
        if len(words) < 2:
            raise AgentError(Reason.SIP_FAILURE, "not a SIP message")
        status = int(words[1]) if words[0].startswith("SIP/") and words[1].isdecimal() else 0
        cseq = next((value for name, value in headers if name == "cseq"), "")
        method = cseq.rpartition(" ")[2] if status else words[0]
        return cls(start_line=start, status=status, method=method.upper(), headers=tuple(headers), body=body)

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of header *name* (lower case, long form), in order."""
        return tuple(value for header, value in self.headers if header == name)

    def first(self, name: str) -> str | None:
        """Return the first value of header *name*, or None."""
        return next((value for header, value in self.headers if header == name), None)

    @property
    def to_tag(self) -> str:
        """Tag parameter of To, ``""`` when there is none yet."""
        return _tag(self.first("to") or "")

    @property
    def has_sdp(self) -> bool:
        """True when the body is a session description."""
        kind = (self.first("content-type") or "").partition(";")[0].strip().lower()
        return kind == "application/sdp" and bool(self.body.strip())

    @property
    def transport(self) -> str:
        """Transport of the topmost Via: ``udp``, ``tcp`` or ``tls``."""
        via = self.first("via") or ""
        protocol = via.split(None, 1)[0] if via else ""
        return protocol.rpartition("/")[2].lower() or "udp"

    @property
    def warning(self) -> str | None:
        """Text of the first Warning header (RFC 3261 section 20.43), without code, agent and quotes."""
        return _quoted(self.first("warning"))

    @property
    def reason(self) -> str | None:
        """Text of the first Reason header (RFC 3326), or None."""
        return _quoted(self.first("reason"))

    def uri(self, name: str) -> str | None:
        """Return the URI of an address header such as ``from``, ``to``, ``contact``; None when absent."""
        value = self.first(name)
        return None if value is None else address_uri(value)

    def contacts(self) -> tuple[Contact, ...]:
        """Return what all Contact header fields list, in order; raises ``AgentError`` if one is malformed."""
        return tuple(contact for value in self.all("contact") for contact in parse_contacts(value))

    def asserted_identity(self) -> str | None:
        """Return the SIP URI of P-Asserted-Identity (RFC 3325), None when there is none."""
        for value in self.all("p-asserted-identity"):
            for part in value.split(","):
                uri = address_uri(part)
                if uri.lower().startswith(("sip:", "sips:")):
                    return uri
        return None


def address_uri(value: str) -> str:
    """Return the URI of a name-addr or addr-spec (RFC 3261 section 25.1)."""
    opening = _outside_quotes(value).find("<")
    if opening >= 0:
        return value[opening + 1 :].partition(">")[0].strip()
    return value.partition(";")[0].strip()


def _outside_quotes(value: str) -> str:
    """Blank out quoted strings, so that a display name cannot pose as an address."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda match: " " * len(match.group()), value)


def _tag(value: str) -> str:
    text = _outside_quotes(value)
    found = _TAG.search(text.rpartition(">")[2] if ">" in text else text)
    return found.group(1) if found else ""


def _quoted(value: str | None) -> str | None:
    if value is None:
        return None
    found = re.search(r'"((?:[^"\\]|\\.)*)"', value)
    return found.group(1) if found else value


def _unfold(head: str) -> Iterator[str]:
    current: str | None = None
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t") and current is not None:
            current += " " + line.strip()
            continue
        if current is not None:
            yield current
        current = line
    if current is not None:
        yield current
