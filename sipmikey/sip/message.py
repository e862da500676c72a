"""A SIP message: read, looked into, changed and written again, without I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from sipmikey.sip.address import Address, parse_address, parse_addresses
from sipmikey.sip.errors import SipMalformed
from sipmikey.sip.grammar import cut, list_items, readable, shown
from sipmikey.sip.head import Headers, long_name, read_headers, split_head
from sipmikey.sip.multipart import parts
from sipmikey.sip.values import (
    MediaType,
    ReasonValue,
    Via,
    parse_media_type,
    parse_reason,
    parse_via,
    parse_warning,
    via_transport,
)

_REQUEST = re.compile(r"([^\s]+) ([^\s]+) SIP/2\.0[ \t]*", re.IGNORECASE)
_RESPONSE = re.compile(r"SIP/2\.0 ([1-6]\d\d)(?: (.*))?", re.IGNORECASE | re.ASCII | re.DOTALL)
_SDP = "application/sdp"

T = TypeVar("T")


class _ReadOnce(Generic[T]):
    """A property that is read once, as `functools.cached_property` is, which takes a lock to do so."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self.__doc__ = read.__doc__
        self._read = read
        self._name = read.__name__

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        value = vars(instance)[self._name] = self._read(instance)
        return value


@dataclass(frozen=True, kw_only=True)
class SipMessage:
    """A SIP request or response.

    ``headers``: names as written and values without folding, in their order; what is not UTF-8 reads as
    Latin-1, so that every text can be encoded. ``content``: the octets behind the empty line, all of them:
    pjsip as well takes what is longer than Content-Length says.

    What was read of it once is kept: a call looks at each of its messages many times.
    """

    start_line: str
    headers: Headers = ()
    content: bytes = b""

    @classmethod
    def parse(cls, data: bytes | str) -> Self:
        """Read a message; raises ``SipMalformed`` when its first line is of no SIP message.

        A text may hold octets that are not UTF-8 as surrogates, as pjsua2 gives them.
        """
        octets = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        octets = octets.lstrip(b"\r\n")
        head, body = split_head(octets)
        start, headers = read_headers(head)
        response = _RESPONSE.fullmatch(start)
        if response is None and _REQUEST.fullmatch(start) is None:
            raise SipMalformed(f"not a SIP message: {shown(start)}")
        message = cls(start_line=start, headers=headers, content=octets[body:])
        vars(message)["status"] = 0 if response is None else int(response[1])
        return message

    def encode(self) -> bytes:
        """Return the message for the wire, its Content-Length set to the length of ``content``."""
        sized = self.with_header("Content-Length", str(len(self.content)))
        lines = [sized.start_line, *(f"{name}: {value}" for name, value in sized.headers), "", ""]
        return "\r\n".join(lines).encode() + self.content

    # The start line

    @_ReadOnce
    def status(self) -> int:
        """Status of a response, 0 for a request."""
        found = _RESPONSE.fullmatch(self.start_line)
        return 0 if found is None else int(found[1])

    @property
    def reason_phrase(self) -> str:
        """Reason phrase of a response, ``""`` for a request."""
        found = _RESPONSE.fullmatch(self.start_line)
        return "" if found is None else found[2] or ""

    @_ReadOnce
    def method(self) -> str:
        """Method of a request, or of the request that a response answers (CSeq)."""
        if not self.status:
            return self.start_line.partition(" ")[0]
        return (self.first("cseq") or "").rpartition(" ")[2]

    @property
    def request_uri(self) -> str:
        """Request-URI, ``""`` for a response."""
        found = None if self.status else _REQUEST.fullmatch(self.start_line)
        return "" if found is None else found[2]

    # Header fields

    @_ReadOnce
    def _values(self) -> dict[str, list[str]]:
        """Values by the long names of their header fields."""
        found: dict[str, list[str]] = {}
        for written, value in self.headers:
            name = long_name(written)
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
        return found

    def all(self, name: str) -> tuple[str, ...]:
        """Return the value of every header field *name*, compact forms included, in their order."""
        values = self._values.get(name) or self._values.get(long_name(name))
        return tuple(values) if values else ()

    def first(self, name: str) -> str | None:
        """Return the value of the first header field *name*, or None."""
        values = self._values.get(name) or self._values.get(long_name(name))
        return values[0] if values else None

    def one(self, name: str) -> str:
        """Return the value of a header field that appears once; raises ``SipMalformed`` for none or two."""
        values = self.all(name)
        if len(values) != 1:
            raise SipMalformed(f"{len(values)} header fields, not 1", field=name)
        return values[0]

    def items(self, name: str) -> Iterator[str]:
        """Yield the items of all the lists in header fields *name*; raises ``SipMalformed``."""
        for value in self.all(name):
            yield from list_items(value)

    def address(self, name: str) -> Address | None:
        """Return the address in From, To, Refer-To or the like, None when absent.

        Raises ``SipMalformed`` for a malformed one, and where the field appears twice.
        """
        values = self.all(name)
        if not values:
            return None
        return parse_address(values[0] if len(values) == 1 else self.one(name))

    def uri(self, name: str) -> str | None:
        """Return the URI in From, To, Contact or the like, None when absent; raises ``SipMalformed``."""
        if long_name(name) != "contact":
            return None if (found := self.address(name)) is None else found.uri
        value = self.first(name)
        return None if value is None else parse_addresses(value)[0].uri

    def tag(self, name: str) -> str:
        """Return the tag of From or To, ``""`` when there is none; raises ``SipMalformed``."""
        found = self.address(name)
        return "" if found is None else found.tag

    @property
    def to_tag(self) -> str:
        """Tag of To, ``""`` when there is none yet."""
        return self.tag("to")

    def contacts(self) -> tuple[Address, ...]:
        """Return what all Contact header fields list, in order; raises ``SipMalformed``."""
        return tuple(contact for value in self.all("contact") for contact in parse_addresses(value))

    def asserted_identity(self) -> str | None:
        """Return the SIP URI of P-Asserted-Identity, or its tel URI where it has no other; None without it.

        Raises ``SipMalformed`` for what is not one of each at most (RFC 3325 section 9.1): who wrote a field
        that cannot be read, or that names two, has asserted nothing.
        """
        values = self.all("p-asserted-identity")
        found = dict.fromkeys(one.uri for value in values for one in parse_addresses(value))
        sip = [uri for uri in found if uri.lower().startswith(("sip:", "sips:"))]
        tel = [uri for uri in found if uri.lower().startswith("tel:")]
        if values and (len(sip) > 1 or len(tel) > 1 or not sip + tel):
            raise SipMalformed("not one SIP URI, one tel URI or both", field="p-asserted-identity")
        return next(iter(sip + tel), None)

    @_ReadOnce
    def top_via(self) -> Via | None:
        """The topmost Via, None when there is none that can be read."""
        value = self.first("via")
        try:
            return None if value is None else parse_via(cut(value, ",")[0])
        except SipMalformed:
            return None

    @property
    def transport(self) -> str:
        """Transport of the topmost Via: ``udp``, ``tcp`` or ``tls``."""
        return via_transport(self.first("via") or "") or "udp"

    @property
    def warning(self) -> str | None:
        """Text of the first warning, or None."""
        return next(iter(self.warnings), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Texts of all warnings (RFC 3261 section 20.43), malformed ones as they are."""
        if "warning" not in self._values:
            return ()
        return tuple(self._read("warning", lambda item: parse_warning(item).text, lambda item: item))

    @property
    def reason(self) -> str | None:
        """Text of the Reason (RFC 3326); one without a text or malformed as it is; or None.

        Where there are several, the one of SIP counts, else the first.
        """
        found = self._reason
        return None if found is None else found.text

    @property
    def cause(self) -> int:
        """Cause of that Reason, 0 where there is none, or it is malformed."""
        found = self._reason
        return 0 if found is None else found.cause or 0

    @property
    def _reason(self) -> ReasonValue | None:
        if "reason" not in self._values:
            return None
        found = list(self._read("reason", _reason_value, _unread_reason))
        return next((one for one in found if one.protocol.upper() == "SIP"), found[0] if found else None)

    def _read(self, name: str, read: Callable[[str], T], unread: Callable[[str], T]) -> Iterator[T]:
        """Yield each item of a list, by *unread* where it is malformed; text that is not a list is one."""
        for value in self.all(name):
            try:
                items = list(list_items(value))
            except SipMalformed:
                items = [value]
            for item in items:
                try:
                    yield read(item)
                except SipMalformed:
                    yield unread(item)

    # The body

    @property
    def media_type(self) -> MediaType | None:
        """Content-Type, None when absent or malformed."""
        value = self.first("content-type")
        try:
            return None if value is None else parse_media_type(value)
        except SipMalformed:
            return None

    @_ReadOnce
    def sdp(self) -> str:
        """The session description, ``""`` when there is none.

        In a body of several parts it is the first part that is one; the stack chooses the same.
        """
        found = self._description
        return "" if found is None else readable(found)

    @property
    def has_sdp(self) -> bool:
        """True when there is a session description."""
        return bool(self.sdp.strip())

    @property
    def _description(self) -> bytes | None:
        kind = self.media_type
        if kind is None:
            return None
        if kind.name == _SDP:
            return self.content
        if not kind.name.startswith("multipart/"):
            return None
        try:
            return next((part.content for part in parts(kind, self.content) if part.kind == _SDP), None)
        except SipMalformed:
            return None

    # Changes

    def with_header(self, name: str, value: str | None) -> Self:
        """Return the message with one header field *name*, at the place of the first; None: with none."""
        wanted = long_name(name)
        kept: list[tuple[str, str]] = []
        placed = value is None
        for written, old in self.headers:
            if long_name(written) != wanted:
                kept.append((written, old))
            elif not placed and value is not None:
                kept.append((name, value))
                placed = True
        if not placed and value is not None:
            kept.append((name, value))
        return replace(self, headers=tuple(kept))

    def with_content(self, content: bytes) -> Self:
        """Return the message with another body."""
        return replace(self, content=content)

    def with_sdp(self, edit: Callable[[str], str]) -> Self:
        """Return the message with *edit* applied to its session description, if it has one."""
        found = self._description
        if found is None:
            return self
        place = self.content.rindex(found) if found else len(self.content)
        edited = edit(readable(found)).encode()
        return self.with_content(self.content[:place] + edited + self.content[place + len(found) :])


def _reason_value(item: str) -> ReasonValue:
    found = parse_reason(item)
    return found if found.text else replace(found, text=item)


def _unread_reason(item: str) -> ReasonValue:
    return ReasonValue(protocol="", cause=None, text=item)
