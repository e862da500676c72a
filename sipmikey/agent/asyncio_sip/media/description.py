"""The descriptions this stack makes and reads: plain RTP, one codec a stream in an answer (RFC 3264)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.agent.python_media.agreed_media import AgreedMedia
from sipmikey.nat.candidates import PeerIce, peer_ice
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import SdpMalformed

_KNOWN = {
    "PCMU": (0, "PCMU/8000"), "PCMA": (8, "PCMA/8000"),
    "G722": (9, "G722/8000"), "OPUS": (96, "opus/48000/2"),
}  # fmt: skip
_STATIC = {0: "PCMU", 8: "PCMA", 9: "G722"}
_CLOCK_RATES = {name: int(mapped.split("/")[1]) for name, (_, mapped) in _KNOWN.items()}
_EVENT = "TELEPHONE-EVENT"
_EVENT_TYPES = {8000: 101, 48000: 102}
"""Payload types of telephone events by the clock rate, which is that of the audio (RFC 4733 section 2.1)."""

_DIRECTIONS = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_RTPMAP = re.compile(r"(\d{1,3}) ([^/\s]+)/(\d{1,9})", re.ASCII)
_TIME = re.compile(r"t=[0-9]+ [0-9]+ *", re.ASCII)
_ADDRESS = re.compile(r"c=IN IP[46] ([^\s/]+)")
_RTCP = re.compile(r"(\d{1,5})(?: IN IP[46] (\S+))?", re.ASCII)
_RTP = frozenset(("RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF"))

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One m-line of a description. ``formats``: payload types of codecs we know, by their names, in order.

    ``events``: payload types of telephone events, by their clock rates. ``port`` 0: it is not used.
    ``rtcp``: None where it is the usual one. ``shared``: RTCP may go on the port of RTP (a=rtcp-mux).
    """

    media: str
    protocol: str
    port: int
    address: str
    direction: str
    formats: tuple[tuple[str, int], ...]
    events: tuple[tuple[int, int], ...]
    rtcp: Address | None
    line: str
    shared: bool = False
    ice: PeerIce | None = None

    def event_type(self, codec: str) -> int | None:
        """Return the payload type of telephone events with a codec's clock rate, None where there is none."""
        return dict(self.events).get(_CLOCK_RATES[codec])

    @property
    def sends(self) -> bool:
        """True where the side that made the description sends."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def hears(self) -> bool:
        """True where the side that made the description listens."""
        return self.direction in ("sendrecv", "recvonly") and self.address not in ("0.0.0.0", "::")


def read(sdp: str) -> tuple[Stream, ...]:
    """Return the streams of a description. Raises ``SdpMalformed``."""
    document = Document.parse(sdp)
    _check_session(document)
    common = _address(document, None)
    session = _direction(document, None) or "sendrecv"
    above = [(name, value or "") for _, name, value in document.attributes(None)]
    return tuple(_stream(document, index, common, session, above) for index in range(len(document.media)))


def _check_session(document: Document) -> None:
    """Raise ``SdpMalformed`` for a name or a time that RFC 4566 (sections 5.3 and 5.9) does not allow."""
    for line in document.lines[document.session.start : document.session.stop]:
        if line.text == "s=":
            raise SdpMalformed("the name of the session is empty", field="s=")
        if line.text.startswith("t=") and _TIME.fullmatch(line.text) is None:
            raise SdpMalformed(f"{line.text[:80]!r} does not name two times", field="t=")


def _stream(
    document: Document, index: int, common: str, session: str, above: Sequence[tuple[str, str]]
) -> Stream:
    line = document.media_line(index)
    attributes = [(name, value or "") for _, name, value in document.attributes(index)]
    mapped, events = dict(_STATIC), dict[int, int]()
    rtcp: Address | None = None
    address = _address(document, index) or common
    for name, value in attributes:
        if name == "rtpmap" and (found := _RTPMAP.match(value)):
            mapped[int(found[1])] = found[2].upper()
            if found[2].upper() == _EVENT:
                events[int(found[3])] = int(found[1])
        elif name == "rtcp" and (found := _RTCP.fullmatch(value.strip())) and int(found[1]) < 65536:
            rtcp = (found[2] or address, int(found[1]))
    numbers = [int(word) for word in line.formats.split() if word.isdecimal() and len(word) < 4]
    return Stream(
        media=line.media,
        protocol=line.protocol,
        port=line.port,
        address=address,
        direction=_direction(document, index) or session,
        events=tuple(events.items()),
        formats=tuple((mapped[number], number) for number in numbers if mapped.get(number) in _KNOWN),
        rtcp=rtcp,
        line=line.text(),
        shared=any(name == "rtcp-mux" for name, _ in attributes),
        ice=peer_ice((*above, *attributes), (address, line.port)),
    )


def _address(document: Document, level: int | None) -> str:
    section = document.section(level)
    for line in document.lines[section.start : section.stop]:
        if found := _ADDRESS.match(line.text):
            return found[1]
    return ""


def _direction(document: Document, level: int | None) -> str | None:
    return next((name for _, name, _ in document.attributes(level) if name in _DIRECTIONS), None)


def offer(
    host: str,
    session_id: int,
    streams: Sequence[str],
    codecs: Sequence[str],
    *,
    held: bool,
    shared: bool = False,
) -> str:
    """Return an offer with an m-line for each of *streams*: its profile, ``""`` for one that is not used.

    *shared*: offer RTCP on the port of RTP.
    """
    lines = _head(host, session_id)
    direction = "sendonly" if held else "sendrecv"
    rates = {_CLOCK_RATES[name] for name in codecs}
    events = {rate: number for rate, number in _EVENT_TYPES.items() if rate in rates}
    for profile in streams:
        if not profile:
            lines.append("m=audio 0 RTP/AVP 0")
            continue
        lines += _section(codecs, direction, events=events, profile=profile, shared=shared)
    return "\r\n".join([*lines, ""])


def answer(
    theirs: Sequence[Stream],
    host: str,
    session_id: int,
    codecs: Sequence[str],
    *,
    held: bool,
    shared: bool = False,
) -> str:
    """Return the answer to an offer with streams *theirs*: their first codec that is one of *codecs*.

    *shared*: RTCP may go on the port of RTP, where the peer offers that.
    """
    lines = _head(host, session_id)
    for stream in theirs:
        codec = next((name for name, _ in stream.formats if name in codecs), None)
        fits = stream.media == "audio" and stream.port and stream.protocol in _RTP
        if codec is None or not fits:
            lines.append(re.sub(r"^m=(\S+) \d+(?:/\d+)?", r"m=\1 0", stream.line))
            continue
        sends, hears = stream.hears, stream.sends and not held
        direction = {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
            (sends, hears), "inactive"
        )
        number, rate = stream.event_type(codec), _CLOCK_RATES[codec]
        events = {} if number is None else {rate: number}
        lines += _section(
            [codec],
            direction,
            dict(stream.formats),
            events=events,
            profile=plain_profile(stream.protocol),
            shared=shared and stream.shared,
        )
    return "\r\n".join([*lines, ""])


def plain_profile(protocol: str) -> str:
    """Return the profile of an m-line as it is without keys: an answer keeps that of its offer (RFC 3264)."""
    return protocol.replace("/SAVP", "/AVP")


def _head(host: str, session_id: int) -> list[str]:
    address = f"IN IP{6 if ':' in host else 4} {host}"
    return ["v=0", f"o=- {session_id} 1 {address}", "s=-", f"c={address}", "t=0 0"]


def _section(
    codecs: Sequence[str],
    direction: str,
    numbers: dict[str, int] | None = None,
    *,
    events: dict[int, int],
    profile: str,
    shared: bool,
) -> list[str]:
    given = numbers or {}
    named = [(given.get(name, _KNOWN[name][0]), _KNOWN[name][1]) for name in codecs]
    named += [(number, f"telephone-event/{rate}") for rate, number in events.items()]
    lines = [f"m=audio 9 {profile} {' '.join(str(number) for number, _ in named)}"]
    lines += [f"a=rtpmap:{number} {name}" for number, name in named]
    lines += [f"a=fmtp:{number} 0-16" for number in events.values()]
    return [*lines, f"a={direction}", *(["a=rtcp-mux"] if shared else [])]


def agreed(ours: str, theirs: str, *, ours_offered: bool = True) -> dict[int, AgreedMedia]:
    """Return what an offer and its answer agree on, by m-lines. *ours_offered*: the offer is *ours*."""
    found = {}
    for index, (mine, other) in enumerate(zip(read(ours), read(theirs), strict=False)):
        common = [name for name, _ in other.formats if name in dict(mine.formats)]
        if not mine.port or not other.port or not common:
            continue
        goes = mine.sends and other.hears
        codec = common[0]
        sent, heard = other.event_type(codec), mine.event_type(codec)
        found[index] = AgreedMedia(
            codec=codec,
            types=(dict(other.formats)[codec], dict(mine.formats)[codec]),
            event_types=(None, None) if sent is None or heard is None else (sent, heard),
            remote=(other.address, other.port) if goes else None,
            remote_rtcp=other.rtcp if goes else None,
            both_ways=goes and other.sends and mine.hears,
            shared=mine.shared and other.shared,
            ice=other.ice,
            offered=ours_offered,
        )
    return found
