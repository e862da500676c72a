"""m-lines: which are secured, under which profile, by which crypto sessions (RFC 4567 section 7.1)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sdp_transform

from sipmikey.mikey.errors import LocalError
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import MediaMismatch, MediaNotSecured, SdpMalformed

SECURE_PROFILES: Mapping[str, str] = {"RTP/AVP": "RTP/SAVP", "RTP/AVPF": "RTP/SAVPF"}
"""Plain RTP profiles and the SRTP profile of each (RFC 3711, RFC 5124)."""

PLAIN_PROFILES: Mapping[str, str] = {secure: plain for plain, secure in SECURE_PROFILES.items()}

MAX_MEDIA = 127
"""CS IDs are one octet and an m-line has two."""


class Direction(enum.Enum):
    """What the side that wrote a description does with a stream (RFC 4566 section 6)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """True where the writer sends."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """True where the writer receives."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)


_NOWHERE = frozenset({"0.0.0.0", "::"})

_DIRECTIONS = frozenset(direction.value for direction in Direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStream:
    """An m-line as keying needs it.

    ``index`` counts from 0. ``mid`` is its a=mid value, if any; ``ssrc`` the first SSRC of its a=ssrc lines,
    if any. ``active`` is false for port 0.
    """

    index: int
    media: str
    protocol: str
    active: bool
    mid: str | None
    direction: Direction
    ssrc: int | None

    @property
    def secure(self) -> bool:
        """True for the profiles RTP/SAVP and RTP/SAVPF."""
        return self.protocol in PLAIN_PROFILES

    @property
    def plain(self) -> bool:
        """True for the profiles RTP/AVP and RTP/AVPF."""
        return self.protocol in SECURE_PROFILES

    @property
    def name(self) -> str:
        """The name of the m-line in errors: counted from 1, with its media type."""
        return f"m-line {self.index + 1} ({self.media})"


def crypto_session_ids(index: int) -> tuple[int, int]:
    """Return the CS IDs of an m-line: what the MIKEY Initiator sends, and what it receives.

    Every m-line counts, secured or not, because its place never changes during a session
    (RFC 3264 section 8): 1 and 2 for index 0, 3 and 4 for index 1.
    """
    if not 0 <= index < MAX_MEDIA:
        raise LocalError(f"m-line {index + 1}: crypto session identifiers reach to m-line {MAX_MEDIA}")
    return 2 * index + 1, 2 * index + 2


def streams(document: Document) -> tuple[MediaStream, ...]:
    """Return the m-lines of a description in order. Raises `SdpMalformed`."""
    if len(document.media) > MAX_MEDIA:
        raise SdpMalformed(f"{len(document.media)} m-lines, at most {MAX_MEDIA} can be keyed", field="m=")
    session = _direction(_understood(document, None), Direction.SENDRECV)
    return tuple(_stream(document, index, session) for index in range(len(document.media)))


def _understood(document: Document, level: int | None) -> dict[str, Any]:
    # Only the two lines that are needed are shown to the library: it cuts lines at more characters than CR
    # and LF, matches prefixes, and tries dozens of expressions on every line.
    texts: dict[bool, str] = {}
    for number, name, _ in document.attributes(level):
        text = document.lines[number].text
        if name in _DIRECTIONS and _plain_text(text):
            texts[True] = text
        elif name == "ssrc" and _plain_text(text):
            texts.setdefault(False, text)
    parsed: dict[str, Any] = sdp_transform.parse("\r\n".join(texts.values()))
    return parsed


def _plain_text(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _direction(parsed: dict[str, Any], inherited: Direction) -> Direction:
    value = parsed.get("direction")
    return inherited if value is None else Direction(value)


def _held(document: Document, index: int, direction: Direction) -> Direction:
    """Remove receiving where the address is 0.0.0.0.

    That is hold as in RFC 2543, which RFC 3264 section 8.4 still allows.
    """
    level = next((level for level in (index, None) if _connections(document, level)), None)
    addresses = _connections(document, level)
    if not addresses or any(address not in _NOWHERE for address in addresses):
        return direction
    return Direction.SENDONLY if direction.sends else Direction.INACTIVE


def _connections(document: Document, level: int | None) -> list[str]:
    """Return the addresses of the c= lines of a level."""
    section = document.section(level)
    texts = (document.lines[number].text for number in range(section.start, section.stop))
    return [
        text.split()[-1].partition("/")[0] for text in texts if text.startswith("c=") and text[2:].split()
    ]


def _stream(document: Document, index: int, session: Direction) -> MediaStream:
    line = document.media_line(index)
    parsed = _understood(document, index)
    return MediaStream(
        index=index,
        media=line.media,
        protocol=line.protocol,
        active=line.port != 0,
        mid=next((value for _, name, value in document.attributes(index) if name == "mid"), None),
        direction=_held(document, index, _direction(parsed, session)),
        ssrc=_ssrc(parsed, index),
    )


def _ssrc(parsed: dict[str, Any], index: int) -> int | None:
    sources = parsed.get("ssrcs")
    if not sources:
        return None
    ssrc = sources[0]["id"]
    if not isinstance(ssrc, int) or not 0 <= ssrc < 1 << 32:
        raise SdpMalformed(
            f"m-line {index + 1}: is not a number below 2^32", field="a=ssrc", section="RFC 5576 section 4.1"
        )
    return ssrc


def secured(document: Document) -> Document:
    """Return the document with RTP/AVP made RTP/SAVP and RTP/AVPF made RTP/SAVPF on active m-lines."""
    for index in range(len(document.media)):
        line = document.media_line(index)
        if line.port and (protocol := SECURE_PROFILES.get(line.protocol)) is not None:
            document = document.with_protocol(index, protocol)
    return document


def secured_like(document: Document, offer: Document) -> Document:
    """Return an answer whose m-lines, rejected ones too, have the SRTP profiles of the offer."""
    pairs = zip(document.media, offer.media, strict=False)
    for index, (_, offered) in enumerate(pairs):
        assert offered.media is not None
        line = document.media_line(index)
        if SECURE_PROFILES.get(line.protocol) == offered.media.protocol:
            document = document.with_protocol(index, offered.media.protocol)
    return document


def keyed_streams(all_streams: tuple[MediaStream, ...], *, allow_other: bool) -> tuple[MediaStream, ...]:
    """Return the active SRTP m-lines of a received description: at least one.

    Raises `MediaNotSecured` when none is, when an active m-line is plain RTP, and, unless *allow_other*, when
    one is not RTP at all.
    """
    for stream in all_streams:
        if stream.active and stream.plain:
            raise MediaNotSecured(f"{stream.name} is {stream.protocol}", field="m=")
        if stream.active and not stream.secure and not allow_other:
            raise MediaNotSecured(f"{stream.name} is {stream.protocol}, not SRTP", field="m=")
    keyed = tuple(stream for stream in all_streams if stream.active and stream.secure)
    if not keyed:
        raise MediaNotSecured("no active m-line is RTP/SAVP or RTP/SAVPF", field="m=")
    return keyed


def check_answer(offer: tuple[MediaStream, ...], answer: tuple[MediaStream, ...]) -> None:
    """Raise `MediaMismatch` or `MediaNotSecured` unless an answer's m-lines fit the offer's.

    As many m-lines, of the same media; the profile unchanged unless the m-line is disabled.
    """
    if len(offer) != len(answer):
        raise MediaMismatch(
            f"the offer has {len(offer)} m-lines, the answer {len(answer)}",
            field="m=",
            section="RFC 3264 section 6",
        )
    for ours, theirs in zip(offer, answer, strict=True):
        if ours.media != theirs.media:
            raise MediaMismatch(f"{ours.name} was answered as {theirs.media}", field="m=")
        if not theirs.active:
            continue
        if not ours.active:
            raise MediaMismatch(f"{ours.name} is disabled in the offer and active in the answer", field="m=")
        if ours.protocol != theirs.protocol:
            raise MediaNotSecured(
                f"{ours.name} was offered as {ours.protocol} and answered as {theirs.protocol}", field="m="
            )


def pair_sessions(cs_ids: tuple[int, ...], indexes: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """Return the two CS IDs of each m-line in *indexes*, found in the *cs_ids* of a received message.

    By the place of the m-line among all (`crypto_session_ids`); where a peer counts only the m-lines its
    message covers, 1 and 2 for the first of those and so on. Raises `MediaMismatch` when neither fits.
    """
    present = frozenset(cs_ids)
    by_place = {index: crypto_session_ids(index) for index in indexes}
    if all(present.issuperset(pair) for pair in by_place.values()):
        return by_place
    by_order = {index: crypto_session_ids(order) for order, index in enumerate(indexes)}
    if present == {cs_id for pair in by_order.values() for cs_id in pair}:
        return by_order
    places = ", ".join(str(index + 1) for index in indexes)
    raise MediaMismatch(
        f"crypto sessions {sorted(present)} do not cover the secured m-lines ({places})",
        field="CS ID map info",
        section="RFC 4567 section 7.1",
    )
