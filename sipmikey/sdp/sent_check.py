"""The check that the SIP stack sent the description that was made for it.

A stack may rewrite addresses, ports and the order of attributes. It may not lose or change what keys the
media: pjsua2, for one, sends the unedited description when it cannot parse the edited one.
"""

from __future__ import annotations

from sipmikey.mikey.errors import PeerError
from sipmikey.sdp.attribute import find
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import SentSdpAltered
from sipmikey.sdp.mapping import streams

_Keying = tuple[
    tuple[tuple[str, int | None, bytes], ...],
    tuple[tuple[str, str, bool], ...],
    tuple[tuple[int | None, str], ...],
]


def _keying(sdp: str, max_bytes: int) -> _Keying:
    document = Document.parse(sdp)
    attributes = tuple(
        (item.protocol, item.level, item.message) for item in find(document, max_bytes=max_bytes)
    )
    media = tuple((stream.media, stream.protocol, stream.active) for stream in streams(document))
    other_keys = tuple(
        (level, name)
        for level in document.levels()
        for _, name, _ in document.attributes(level)
        if name in ("crypto", "fingerprint")
    )
    return attributes, media, other_keys


def check_sent(made: str, sent: str, *, max_bytes: int) -> None:
    """Raise `SentSdpAltered` unless *sent* has the a=key-mgmt attributes and m-lines of *made*.

    Compared are protocol, level and octets of the attributes; number, media, profile and port 0 or not of the
    m-lines; and that no other keying (a=crypto, a=fingerprint) has come in.
    """
    try:
        attributes, media, other_keys = _keying(sent, max_bytes)
    except PeerError as error:
        raise SentSdpAltered(f"what was sent cannot be read: {error}", field="SDP") from None
    wanted_attributes, wanted_media, wanted_other_keys = _keying(made, max_bytes)
    if attributes != wanted_attributes:
        what = "another" if attributes else "no"
        raise SentSdpAltered(f"{what} key-mgmt attribute went out than was made", field="key-mgmt")
    if media != wanted_media:
        raise SentSdpAltered("other m-lines went out than were made", field="m=")
    if other_keys != wanted_other_keys:
        raise SentSdpAltered("keying other than key-mgmt went out", field="a=crypto")
