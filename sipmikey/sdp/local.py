"""This side's own description, prepared to carry a MIKEY message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sdp.attribute import find, insert, protocol_ids, strip
from sipmikey.sdp.document import Document
from sipmikey.sdp.mapping import MediaStream, keyed_streams, secured, secured_like, streams
from sipmikey.ticket.environment import Environment

_PLACEHOLDER = b"\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDescription:
    """A description with SRTP profiles and without a MIKEY attribute.

    ``streams`` are all its m-lines, ``keyed`` those that need keys, ``protocols`` the key management
    protocols it will list once a MIKEY attribute is at session level.
    """

    document: Document
    streams: tuple[MediaStream, ...]
    keyed: tuple[MediaStream, ...]
    protocols: tuple[str, ...]

    def carrying(self, messages: Iterable[tuple[int | None, bytes]]) -> str:
        """Return the text with MIKEY messages at their levels (None: session, else an m-line index)."""
        document = self.document
        for level, message in messages:
            document = insert(document, level, message)
        return str(document)


def local_offer(sdp: str, *, allow_other_media: bool, max_bytes: int) -> LocalDescription:
    """Prepare an offer: RTP/AVP becomes RTP/SAVP, an old MIKEY attribute goes. Raises `LocalError`."""
    try:
        document = strip(secured(Document.parse(sdp)))
        return _own(document, allow_other_media=allow_other_media, max_bytes=max_bytes)
    except PeerError as error:
        raise LocalError(f"this side's description: {error}") from error


def local_answer(sdp: str, offer: Document, *, allow_other_media: bool, max_bytes: int) -> LocalDescription:
    """Prepare an answer: it gets the SRTP profiles of the offer. Raises `LocalError`."""
    try:
        document = strip(secured(secured_like(Document.parse(sdp), offer)))
        return _own(document, allow_other_media=allow_other_media, max_bytes=max_bytes)
    except PeerError as error:
        raise LocalError(f"this side's description: {error}") from error


def _own(document: Document, *, allow_other_media: bool, max_bytes: int) -> LocalDescription:
    all_streams = streams(document)
    return LocalDescription(
        document=document,
        streams=all_streams,
        keyed=keyed_streams(all_streams, allow_other=allow_other_media),
        protocols=protocol_ids(find(insert(document, None, _PLACEHOLDER), max_bytes=max_bytes)),
    )


def known_ssrcs(keyed: Iterable[MediaStream], given: Mapping[int, int] | None) -> dict[int, int]:
    """Return the SSRCs this side is known to send with, by m-line: the one given, else that of a=ssrc.

    Raises `LocalError` for one given that has more than 32 bits.
    """
    found: dict[int, int] = {}
    for stream in keyed:
        ssrc = (given or {}).get(stream.index, stream.ssrc)
        if ssrc is None:
            continue
        if not 0 <= ssrc < 1 << 32:
            raise LocalError(f"{stream.name}: an SSRC has 32 bits")
        found[stream.index] = ssrc
    return found


def choose_ssrcs(
    env: Environment, keyed: Sequence[MediaStream], given: Mapping[int, int] | None
) -> dict[int, int]:
    """Return the SSRC this side sends with on each m-line: the known one, else a random one."""
    known = known_ssrcs(keyed, given)
    return {stream.index: known.get(stream.index, random_ssrc(env)) for stream in keyed}


def random_ssrc(env: Environment) -> int:
    """Draw an SSRC of 32 bits."""
    return int.from_bytes(env.random(4), "big")
