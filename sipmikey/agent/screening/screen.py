"""The screen in front of a SIP stack: it refuses messages that are not SIP (RFC 3261).

Some of them would end pjsip's process by an assertion: its parser takes more than the grammar does, such as a
URI without a host, and code behind it relies on what the parser did not check. `examine` reads the few header
fields that code uses. It is strict where RFC 3261 is and lets merely unusual messages pass; it does no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a message is refused. ``field``: the header field, in lower case and long form, ``start-line`` or
    ``head``.

    ``answerable``: False for messages that SIP never answers (a response, an ACK), and where an answer would
    have to repeat the faulty field.
    """

    field: str
    detail: str
    answerable: bool


_COMPACT: Final = {
    b"c": b"content-type", b"f": b"from", b"i": b"call-id", b"l": b"content-length", b"m": b"contact",
    b"o": b"event", b"r": b"refer-to", b"b": b"referred-by", b"t": b"to", b"v": b"via",
}  # fmt: skip

_HOST = rb"(?:\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]|[A-Za-z0-9_.-]+)"
_TEXT = rb"[^\x00-\x20\x7f<>\"]"
_SIP_URI = re.compile(
    rb"sips?:(?:[^\x00-\x20\x7f<>\"@]+@)?" + _HOST + rb"(?::[0-9]{1,5})?(?:[;?]" + _TEXT + rb"*)?", re.I
)
_USUAL_ADDRESS = re.compile(b"<" + _SIP_URI.pattern + rb">(?:;[^\x00-\x1f\x7f<>\",]*)?", re.I)
"""One SIP URI in brackets and parameters: fit for any field of addresses, without looking further."""

_TEL_URI = re.compile(rb"tel:" + _TEXT + rb"+", re.I)
_ABSOLUTE_URI = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:" + _TEXT + rb"+")
_SIP_SCHEME = re.compile(rb"sips?:", re.I)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.S)
_QUOTED_OR_URI = re.compile(rb'"(?:[^"\\]|\\.)*"|<[^>]*>', re.S)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_VIA = re.compile(
    rb"\s*SIP\s*/\s*2\.0\s*/\s*[\w!%*+.~-]+\s+" + _HOST + rb"\s*(?::\s*[0-9]{1,5}\s*)?(?:;.*)?", re.I | re.S
)
_TO_TAG = re.compile(rb";\s*tag\s*=\s*[^\s;]", re.I)
_DTMF_SIGNAL = re.compile(rb"(?im)^[ \t]*signal[ \t]*=[ \t]*[0-9A-D*#]")
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"[^"]+"|[^\s;"]+)', re.I)
_REPLACES_TAGS = (
    re.compile(rb";\s*to-tag\s*=\s*[^\s;]", re.I),
    re.compile(rb";\s*from-tag\s*=\s*[^\s;]", re.I),
)
_TOKEN = re.compile(rb"[\w!%*+.`'~-]+")
_START = re.compile(rb"([\w!%*+.`'~-]+) ([^\s]+) SIP/2\.0|SIP/2\.0 ([1-6][0-9][0-9])(?: .*)?", re.I)
_CSEQ = re.compile(rb"\s*([0-9]{1,10})\s+([\w!%*+.`'~-]+)\s*")

_ROUTES = frozenset((b"route", b"record-route", b"path", b"service-route"))
_SINGLE_URI = frozenset((b"from", b"to", b"refer-to", b"referred-by"))
_ASSERTED = frozenset((b"p-asserted-identity", b"p-preferred-identity"))
_ONCE = frozenset(
    (b"from", b"to", b"call-id", b"cseq", b"replaces", b"event", b"refer-to", b"content-length")
)
_ADDRESSES = frozenset((*_SINGLE_URI, *_ROUTES, *_ASSERTED, b"contact"))
_CHECKED = frozenset((*_ADDRESSES, b"via", b"replaces", b"event", b"content-length"))
_NEEDED = (b"via", b"from", b"to", b"call-id", b"cseq")
_DIALOG_METHODS = frozenset((b"INVITE", b"UPDATE", b"SUBSCRIBE", b"NOTIFY", b"REFER"))
_METHODS = frozenset((*_DIALOG_METHODS, b"ACK", b"BYE", b"CANCEL", b"INFO", b"MESSAGE", b"OPTIONS", b"PRACK"))
"""Methods that pjsip accepts in lower case too, although case matters (RFC 3261 section 7.1)."""
_REPEATED_IN_ANSWERS = (*_NEEDED, b"record-route")
_UNANSWERED = frozenset((*_REPEATED_IN_ANSWERS, b"start-line", b"head"))
_NAMES_A_CALL = (b"via", b"from", b"call-id", b"cseq")
_SHOWN = 60


class _Unfit(Exception):
    def __init__(self, field: bytes, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


class Judgement(NamedTuple):
    """What the screen found. ``fault``: why the message is refused, None where it is fit.

    ``method``: of a request, ``b""`` for a response. ``new_call``: the name of the call that a fit INVITE
    outside of any dialog (without a To-tag, RFC 3261 section 12.2) starts, None for any other message;
    retransmissions have the same name.
    """

    fault: Fault | None
    method: bytes = b""
    new_call: bytes | None = None


def examine(message: bytes) -> Judgement:
    """Judge a SIP message (start line, header fields, body).

    Keep-alives, which are only line ends (RFC 5626 section 3.5.1), are fit. Rules are those of RFC 3261
    section 25.1 for the fields looked at; RFC 3515, 3891, 3327, 3608, 3325 and 6665 for theirs.
    """
    if not message.strip(b"\r\n\x00"):
        return Judgement(None)
    head, _, body = message.partition(b"\r\n\r\n")
    lines = _lines(head)
    start = _START.fullmatch(lines[0].rstrip())
    method = b"" if start is None else (start[1] or b"")
    fields = {} if start is None else _fields(lines)
    try:
        if start is None:
            raise _Unfit(b"start-line", "neither a request line nor a status line of SIP/2.0")
        _check_line_ends(head)
        _check_presence(fields)
        _check_fields(start, method, fields)
        outside = method in (b"INVITE", b"ACK") and not _has_tag(fields[b"to"][0])
        if outside and method == b"ACK":
            raise _Unfit(b"to", "an ACK without a To-tag belongs to no transaction")
        _check_body(fields, body)
    except _Unfit as unfit:
        faulty = unfit.field in _UNANSWERED or not _has_fit_answer(fields)
        answerable = method not in (b"", b"ACK") and not faulty
        fault = Fault(field=unfit.field.decode("latin-1"), detail=unfit.detail, answerable=answerable)
        return Judgement(fault, method)
    if not outside:
        return Judgement(None, method)
    return Judgement(None, method, b"\n".join([fields[name][0] for name in _NAMES_A_CALL]))


def _check_line_ends(head: bytes) -> None:
    """Refuse lines that end with CR or LF alone: pjsip sees header fields behind these, and we do not."""
    lines = head.strip(b"\r\n")
    if not lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n"):
        raise _Unfit(b"head", "a line ends with CR or LF alone")


def _has_tag(to: bytes) -> bool:
    plain = _QUOTED_OR_URI.sub(b"", to)
    return _TO_TAG.search(plain) is not None


def _check_fields(start: re.Match[bytes], method: bytes, fields: dict[bytes, list[bytes]]) -> None:
    if method:
        _check_uri(b"start-line", start[2])
    if method != method.upper() and method.upper() in _METHODS:
        raise _Unfit(b"start-line", f"{_shown(method)} is in lower case, but methods are in upper case")
    cseq = _cseq_method(fields[b"cseq"][0])
    if method and cseq != method:
        raise _Unfit(b"cseq", f"the method is {_shown(cseq)}, and that of the request {_shown(method)}")
    status = int(start[3] or 0)
    for name, values in fields.items():
        if name in _CHECKED:
            for value in values:
                _check_field(name, value, cseq, status)


def _lines(head: bytes) -> list[bytes]:
    """Return the lines of a head, unfolded."""
    head = head.lstrip(b"\r\n")
    if b"\n " in head or b"\n\t" in head:
        head = _FOLD.sub(b" ", head)
    return head.split(b"\r\n")


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Return the values of the header fields below the first line."""
    fields: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            name, value = _long_name(name), value.strip()
            if name in fields:
                fields[name].append(value)
            else:
                fields[name] = [value]
    return fields


@lru_cache(maxsize=64)
def _long_name(name: bytes) -> bytes:
    name = name.strip().lower()
    return _COMPACT.get(name, name)


def _check_presence(fields: dict[bytes, list[bytes]]) -> None:
    for name in _NEEDED:
        if name not in fields:
            raise _Unfit(name, "the header field is missing")
    for name, values in fields.items():
        if len(values) > 1 and name in _ONCE:
            raise _Unfit(name, "the header field is there more than once")
    if not fields[b"call-id"][0]:
        raise _Unfit(b"call-id", "the header field is empty")


def _has_fit_answer(fields: dict[bytes, list[bytes]]) -> bool:
    """Return True where the fields that an answer repeats are good, even if others are not."""
    try:
        _check_presence({name: values[:1] for name, values in fields.items()})
        cseq = _cseq_method(fields[b"cseq"][0])
        for name in _REPEATED_IN_ANSWERS:
            values = fields.get(name, [])
            if name in _ONCE and len(values) > 1:
                return False
            for value in values:
                _check_field(name, value, cseq, 0)
    except _Unfit:
        return False
    return True


def _cseq_method(value: bytes) -> bytes:
    found = _CSEQ.fullmatch(value)
    if found is None or int(found[1]) > 0xFFFFFFFF:
        raise _Unfit(b"cseq", f"{_shown(value)} is not a number of 32 bits and a method")
    return found[2]


def _check_field(name: bytes, value: bytes, method: bytes, status: int) -> None:
    if name in _ADDRESSES and _USUAL_ADDRESS.fullmatch(value):
        return
    if name in _SINGLE_URI:
        for uri in _uris(name, value, several=False):
            _check_uri(name, uri)
    elif name == b"contact":
        _check_contact(value, method, status)
    elif name in _ROUTES:
        for uri in _uris(name, value, bracketed=True):
            if _SIP_URI.fullmatch(uri) is None:
                raise _Unfit(name, f"{_shown(uri)} is not a SIP URI with a host")
    elif name in _ASSERTED:
        for uri in _uris(name, value):
            if _SIP_URI.fullmatch(uri) is None and _TEL_URI.fullmatch(uri) is None:
                raise _Unfit(name, f"{_shown(uri)} is not a SIP or tel URI")
    elif name == b"via":
        for one in _split(name, value):
            if _VIA.fullmatch(one) is None:
                raise _Unfit(name, f"{_shown(one)} is not a protocol and the host that sent the message")
    elif name == b"replaces":
        if not value.partition(b";")[0].strip() or not all(tag.search(value) for tag in _REPLACES_TAGS):
            raise _Unfit(name, "a Call-ID with to-tag and from-tag is needed (RFC 3891 section 6.1)")
    elif name == b"event":
        if _TOKEN.fullmatch(value.partition(b";")[0].strip()) is None:
            raise _Unfit(name, f"{_shown(value)} is not the name of an event package (RFC 6665 section 8.4)")
    elif name == b"content-length" and not (value.isdigit() and len(value) <= 9):
        raise _Unfit(name, f"{_shown(value)} is not a length")


def _check_contact(value: bytes, method: bytes, status: int) -> None:
    if value == b"*":
        return
    # A redirection or a registrar may list other schemes; a dialog needs somewhere to send requests to
    # (RFC 3261 section 8.1.1.8 and section 12.1).
    dialog = method in _DIALOG_METHODS and status < 300
    for uri in _uris(b"contact", value):
        if dialog and _SIP_URI.fullmatch(uri) is None:
            raise _Unfit(b"contact", f"{_shown(uri)} is not a SIP URI with a host")
        _check_uri(b"contact", uri)


def _check_uri(name: bytes, uri: bytes) -> None:
    """Any absolute URI is legal, but a SIP URI has a host."""
    form = _SIP_URI if _SIP_SCHEME.match(uri) else _ABSOLUTE_URI
    if form.fullmatch(uri) is None:
        raise _Unfit(name, f"{_shown(uri)} is not a URI")


def _uris(name: bytes, value: bytes, *, several: bool = True, bracketed: bool = False) -> list[bytes]:
    """Return the URIs of name-addr or addr-spec in *value*; *bracketed*: name-addr only."""
    found: list[bytes] = []
    for item in _split(name, value) if several else [value]:
        plain = _QUOTED.sub(b"", item) if b'"' in item else item
        before, opening, rest = plain.partition(b"<")
        if opening:
            uri, closing, _ = rest.partition(b">")
            if not closing or b'"' in before:
                raise _Unfit(name, f"{_shown(item)} has a quote or bracket that is not closed")
            found.append(uri)
        elif bracketed:
            raise _Unfit(name, f"{_shown(item)} has no brackets around its URI")
        else:
            found.append(plain.partition(b";")[0].strip())
    return found


def _split(name: bytes, value: bytes) -> list[bytes]:
    """Split a list at the commas that are neither in quotes nor in angle brackets."""
    if b"," not in value:
        return [value]
    items: list[bytes] = []
    begin = last = 0
    for part in _QUOTED_OR_URI.finditer(value):
        begin = _cut(value, begin, last, part.start(), items)
        last = part.end()
    begin = _cut(value, begin, last, len(value), items)
    items.append(value[begin:])
    if name == b"via":
        return items
    return [item for item in items if item.strip()] or [b""]


def _cut(value: bytes, begin: int, start: int, end: int, items: list[bytes]) -> int:
    while (comma := value.find(b",", start, end)) >= 0:
        items.append(value[begin:comma])
        begin = start = comma + 1
    return begin


def _check_body(fields: dict[bytes, list[bytes]], body: bytes) -> None:
    for value in fields.get(b"content-length", ()):
        if int(value) > len(body):
            raise _Unfit(b"content-length", f"{int(value)} octets are announced, but {len(body)} are there")
    for value in fields.get(b"content-type", ()):
        kind = value.partition(b";")[0].strip().lower()
        if kind.startswith(b"multipart/") and _BOUNDARY.search(value) is None:
            raise _Unfit(b"content-type", "a multipart body needs a boundary (RFC 2046 section 5.1.1)")
        if kind == b"application/dtmf-relay" and _DTMF_SIGNAL.search(body) is None:
            raise _Unfit(b"content-type", "the body names no digit")


def _shown(text: bytes) -> str:
    return ascii(text[:_SHOWN].decode("latin-1"))
