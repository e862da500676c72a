"""Finding MIKEY messages in what people have at hand: base64, hex, SDP, SIP, RTSP, HTTP, JSON or octets."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.decode.hexdump import read_octets
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.registry import MIKEY_VERSION, DataType
from sipmikey.sdp.attribute import parse_value
from sipmikey.sdp.errors import KeyMgmtMalformed
from sipmikey.sip import long_name, read_headers, split_head

MAX_ATTRIBUTE_OCTETS = 65_535

_ATTRIBUTE = re.compile(r"(?:a=)?key-mgmt:(?P<value>[^\r\n\\\"]*)", re.IGNORECASE)
_KEY_MGMT = re.compile(r"^\s*keymgmt\s*:(?P<value>.*)$", re.IGNORECASE)
_KEY_MGMT_SPECS = re.compile(r",\s*(?=prot\s*=)", re.IGNORECASE)
_KEY_MGMT_PROTOCOL = re.compile(r"\s*prot\s*=\s*\"?([^;,\"\s]+)", re.IGNORECASE)
_KEY_MGMT_DATA = re.compile(r"\bdata\s*=\s*\"([^\"]*)\"", re.IGNORECASE)
_M_LINE = re.compile(r"m=\S+ ")
_STATUS_LINE = rb"(?:SIP/2\.0|HTTP/1\.[01]|RTSP/[12]\.0) \d{3}[^\r\n]*"
_REQUEST_LINE = rb"[A-Z_]{1,32} [^\s]{1,4096} (?:SIP/2\.0|HTTP/1\.[01]|RTSP/[12]\.0)"
_START = re.compile(rb"(?:%b|(?<![A-Z_])%b)\r?\n" % (_STATUS_LINE, _REQUEST_LINE))
_START_HERE = re.compile(rb"(?:%b|%b)\r?\n" % (_STATUS_LINE, _REQUEST_LINE))
"""For the place where the message before ends, whose last octet may be a letter."""
_HEX = re.compile(r"(?:0x)?[0-9A-Fa-f]+")
_SEPARATORS = re.compile(r"[\s:,-]")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_CAPTURES = (
    b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a",
)  # fmt: skip
"""First octets of pcap, of either byte order, in micro- or nanoseconds, and of pcapng."""

_SHORTEST_GUESS = 32
"""Octets that do not begin as MIKEY are described from this length on."""

_MIKEY_TYPES = ("application/mikey",)
_OWN_TYPES = "application/vnd.sipmikey."
_FOLD = re.compile(r"\r?\n[ \t]+")
_MAX_PATH = 120
"""Characters of a path into JSON that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMessage:
    """A message and where it stood. ``problems`` are faults of what carried it."""

    data: bytes
    where: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMessage:
    """A SIP, RTSP or HTTP message: start line, headers (names in lower case and long form) and body.

    ``offset`` is where it began in the octets it was read from.
    """

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    offset: int = 0

    def header(self, *names: str) -> str:
        """Return the value of the first header of one of *names*, or an empty string."""
        return next((value for name, value in self.headers if name in names), "")


def is_capture(octets: bytes) -> bool:
    """Return whether octets begin as a capture file does."""
    return octets[:4] in _CAPTURES


def looks_like_mikey(octets: bytes) -> bool:
    """Return whether octets begin as a MIKEY message does."""
    return len(octets) >= 10 and octets[0] == MIKEY_VERSION and octets[1] in DataType._value2member_map_


def find(octets: bytes, where: str = "") -> list[FoundMessage]:
    """Return the messages in *octets*, none where there is nothing that could be one."""
    if octets.startswith(b"\x01") and looks_like_mikey(octets):
        return [FoundMessage(data=octets, where=where or "octets")]
    if _START.match(octets.lstrip()):
        return [item for message in split_text_messages(octets) for item in in_text_message(message, where)]
    text = octets.decode("utf-8", "replace").lstrip("\ufeff")
    for read in (_in_json, _in_lines_of_sdp, _in_dump, _line_by_line, _as_a_whole):
        if found := read(text, where):
            return found
    return []


def _in_json(text: str, where: str) -> list[FoundMessage]:
    """Return the messages in the strings of a JSON document, or of one document a line."""
    if text.lstrip()[:1] not in ("{", "["):
        return []
    try:
        documents = [json.loads(text)]
    except (ValueError, RecursionError):
        documents = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                documents.append(json.loads(line))
    return [
        item
        for document in documents
        for path, value in _strings(document)
        for item in find(value.encode("utf-8", "surrogatepass"), ", ".join(filter(None, (where, path))))
        if looks_like_mikey(item.data) or "key-mgmt" in value
    ]


def _strings(document: object) -> Iterator[tuple[str, str]]:
    """Yield every string of a JSON document that may hold a message, and where it stands."""
    waiting: list[tuple[str, object]] = [("$", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if len(value) >= _SHORTEST_GUESS // 2 and value.lstrip()[:1] not in ("{", "["):
                yield path, value
        elif isinstance(value, dict):
            waiting += [(f"{path}.{name}"[:_MAX_PATH], item) for name, item in reversed(value.items())]
        elif isinstance(value, list):
            numbered = reversed(list(enumerate(value)))
            waiting += [(f"{path}[{number}]"[:_MAX_PATH], item) for number, item in numbered]


def _in_lines_of_sdp(text: str, where: str) -> list[FoundMessage]:
    if _ATTRIBUTE.search(text) or "keymgmt" in text.lower():
        return [*in_sdp(text, where), *in_key_mgmt(text, where)]
    return []


def _in_dump(text: str, where: str) -> list[FoundMessage]:
    """Return what a hex dump holds: a message, text that carries some, or a frame with either."""
    octets = read_octets(text)
    if octets is None:
        return []
    if looks_like_mikey(octets):
        return [FoundMessage(data=octets, where=where)]
    from sipmikey.decode.packets import in_frame  # the packet parsers load slowly

    if (frame := in_frame(octets)) is not None and (found := find(frame.data, where)):
        return found
    if _START.search(octets) or _ATTRIBUTE.search(octets.decode("utf-8", "replace")):
        return find(octets, where)
    return [FoundMessage(data=octets, where=where)] if len(octets) >= _SHORTEST_GUESS else []


def _line_by_line(text: str, where: str) -> list[FoundMessage]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return []
    each = [decode_text(line) for line in lines]
    if not all(item is not None and looks_like_mikey(item.data) for item in each):
        return []
    return [
        FoundMessage(data=item.data, where=f"{where} line {number}".strip(), problems=item.problems)
        for number, item in enumerate(each, 1)
        if item is not None
    ]


def _as_a_whole(text: str, where: str) -> list[FoundMessage]:
    whole = decode_text(text)
    if whole is None or (whole.data[:1] != b"\x01" and len(whole.data) < _SHORTEST_GUESS):
        return []  # any short word is base64 of something
    return [FoundMessage(data=whole.data, where=where, problems=whole.problems)]


def decode_text(text: str) -> FoundMessage | None:
    """Return the octets a text stands for, in hexadecimal or base64, or None for neither."""
    text = text.strip().removeprefix("mikey ").strip().strip("\"'")
    bare = _SEPARATORS.sub("", text)
    as_hex = None
    if _HEX.fullmatch(bare) and len(bare.removeprefix("0x")) % 2 == 0:
        as_hex = bytes.fromhex(bare.removeprefix("0x"))
        if as_hex[:1] == b"\x01":
            return FoundMessage(data=as_hex, where="")
    as_base64 = _decode_base64("".join(text.splitlines()))
    if as_base64 is not None and (as_hex is None or as_base64.data[:1] == b"\x01"):
        return as_base64
    return None if as_hex is None else FoundMessage(data=as_hex, where="")


def _decode_base64(text: str) -> FoundMessage | None:
    if not _BASE64.fullmatch(text):
        return None
    problems = []
    if "-" in text or "_" in text:
        problems.append("base64 with the alphabet for URLs; a=key-mgmt uses + and /")
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1:
        return None
    padded = bare + "=" * (-len(bare) % 4)
    if len(text) != len(padded):
        problems.append("base64 without its padding")
    try:
        octets = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.b64encode(octets).decode().rstrip("=") != bare:
        problems.append("the unused bits of the last base64 character are not zero")
    return FoundMessage(data=octets, where="", problems=tuple(problems))


def in_sdp(text: str, where: str = "") -> Iterator[FoundMessage]:
    """Yield the message of every a=key-mgmt attribute, at session and media level."""
    media = 0
    for line in text.splitlines():
        if line.startswith("v="):
            media = 0
        elif _M_LINE.match(line):
            media += 1
        match = _ATTRIBUTE.search(line)
        if match is None:
            continue
        level = "session level" if not media else f"media level, m-line {media}"
        yield _attribute(match["value"], f"{where}, {level}" if where else level)


def _attribute(value: str, where: str) -> FoundMessage:
    """Decode an attribute strictly, and leniently where that fails, with what was wrong."""
    try:
        protocol, octets = parse_value(value, max_bytes=MAX_ATTRIBUTE_OCTETS)
    except KeyMgmtMalformed as error:
        protocol, _, data = value.strip().partition(" ")
        lenient = decode_text(data or protocol)
        problems = (f"a=key-mgmt: {error.detail}",)
        return FoundMessage(data=b"" if lenient is None else lenient.data, where=where, problems=problems)
    if protocol != "mikey":
        return FoundMessage(
            data=b"", where=where, problems=(f"the key management protocol is {protocol}, not mikey",)
        )
    return FoundMessage(data=octets, where=where)


def in_key_mgmt(text: str, where: str = "") -> Iterator[FoundMessage]:
    """Yield the message of every KeyMgmt header of RTSP (RFC 4567 section 3.2)."""
    for line in _FOLD.sub(" ", text).splitlines():
        match = _KEY_MGMT.match(line)
        if match is None:
            continue
        place = f"{where}, KeyMgmt" if where else "KeyMgmt"
        for spec in _KEY_MGMT_SPECS.split(match["value"]):
            protocol, data = _KEY_MGMT_PROTOCOL.match(spec), _KEY_MGMT_DATA.search(spec)
            if protocol is None or data is None:
                yield FoundMessage(data=b"", where=place, problems=('KeyMgmt: is not prot=...;data="..."',))
            else:
                yield _attribute(f"{protocol[1]} {data[1]}", place)


def split_text_messages(octets: bytes) -> list[TextMessage]:
    """Return the SIP, RTSP and HTTP messages that follow one another in *octets*."""
    messages = []
    position = 0
    while match := _START_HERE.match(octets, position) or _START.search(octets, position):
        head, body_start = split_head(octets, match.start())
        start, fields = read_headers(head)
        headers = tuple((long_name(name), value) for name, value in fields)
        following = _START.search(octets, body_start)
        end = len(octets) if following is None else following.start()
        length = next((value for name, value in headers if name == "content-length"), "")
        if length.isdecimal() and len(length) < 10:
            end = min(len(octets), body_start + int(length))
        body = octets[body_start:end]
        messages.append(TextMessage(start=start.strip(), headers=headers, body=body, offset=match.start()))
        position = max(end, match.end())
    return messages


def in_text_message(message: TextMessage, where: str = "") -> list[FoundMessage]:
    """Return the MIKEY messages in a SIP, RTSP or HTTP message: in its body, and in KeyMgmt headers.

    Bodies are SDP, MIKEY itself, a message left for somebody, or one about the session of a group.
    """
    kind = message.header("content-type").partition(";")[0].strip().lower()
    place = ", ".join(part for part in (where, message.start) if part)
    if kind in _MIKEY_TYPES:
        if looks_like_mikey(message.body):
            return [FoundMessage(data=message.body, where=place)]
        decoded = decode_text(message.body.decode("utf-8", "replace"))
        if decoded is None:
            return [FoundMessage(data=message.body, where=place)]
        return [FoundMessage(data=decoded.data, where=place, problems=decoded.problems)]
    if kind.startswith(_OWN_TYPES):
        return _in_own_body(kind, message.body, place)
    headers = "\n".join(f"{name}: {value}" for name, value in message.headers if name == "keymgmt")
    body = message.body.decode("utf-8", "replace")
    return [*in_key_mgmt(headers, place), *in_sdp(body, place)]


def _in_own_body(kind: str, body: bytes, place: str) -> list[FoundMessage]:
    """Return what is in a deposit (docs/deferred.md), or in a message about a group (docs/groups.md)."""
    from sipmikey.agent.group import wire
    from sipmikey.deferred.deposit import MEDIA_TYPE as DEPOSIT
    from sipmikey.deferred.deposit import transfer_init_of

    try:
        if kind == DEPOSIT:
            return [FoundMessage(data=transfer_init_of(body), where=place)]
        if kind == wire.MEDIA_TYPE:
            message = wire.GroupMessage.decode(body)
            return [FoundMessage(data=message.octets, where=place)] if message.carries_mikey else []
    except PeerError as error:
        return [FoundMessage(data=b"", where=place, problems=(str(error),))]
    return []
