"""Codecs: an offer or answer must have one in common with this agent, or no stream can run."""

from __future__ import annotations

import re
from collections.abc import Collection

from sipmikey.sdp.errors import NoCommonCodec

_AUDIO = re.compile(r"m=audio (\d+)(?:/\d+)? \S+ ?([^\r\n]*)", re.IGNORECASE)
_RTPMAP = re.compile(r"^a=rtpmap:(\d+) ([^/\s]+)", re.MULTILINE | re.IGNORECASE)

_STATIC = {
    "0": "PCMU", "3": "GSM", "4": "G723", "5": "DVI4", "6": "DVI4", "7": "LPC", "8": "PCMA", "9": "G722",
    "10": "L16", "11": "L16", "12": "QCELP", "15": "G728", "18": "G729",
}  # fmt: skip
"""Payload types that need no a=rtpmap (RFC 3551 section 6)."""

_NO_SPEECH = frozenset({"TELEPHONE-EVENT", "CN"})
_SHOWN = 8


def check_codecs(sdp: str, names: Collection[str]) -> None:
    """Raise ``NoCommonCodec`` where no audio stream in use has a codec of *names* (upper case; empty: any).

    A description without an audio stream in use passes: other checks refuse it.
    """
    if not names:
        return
    seen: dict[str, None] = {}
    for section in re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)[1:]:
        line = _AUDIO.match(section)
        if line is None or int(line[1]) == 0:
            continue
        mapped = {number: name.upper() for number, name in _RTPMAP.findall(section)}
        found = [mapped.get(number) or _STATIC.get(number, number) for number in line[2].split()]
        if not set(names).isdisjoint(found):
            return
        seen.update(dict.fromkeys(name for name in found if name not in _NO_SPEECH))
    if seen:
        theirs = ", ".join(list(seen)[:_SHOWN]) + (", ..." if len(seen) > _SHOWN else "")
        raise NoCommonCodec(f"no codec in common: the peer has {theirs}, and this agent {', '.join(names)}")
