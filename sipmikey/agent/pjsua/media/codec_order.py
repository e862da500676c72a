"""The codecs that pjsua2 offers, and their order."""

from __future__ import annotations

from sipmikey.agent.pjsua.library import pj
from sipmikey.mikey.errors import LocalError

UNUSABLE = frozenset({"L16"})
"""Codecs with which an assertion of pjmedia ends the process as soon as a call has agreed on them."""


def _codec_name(codec: str) -> str:
    """Return the encoding name of pjsua's ``name/rate/channels``."""
    return codec.partition("/")[0].upper()


def order_codecs(endpoint: pj.Endpoint, wanted: tuple[str, ...]) -> None:
    """Offer the codecs *wanted*, best first, and no others; an empty *wanted* means all.

    Raises ``LocalError`` for one that this build of pjsua2 does not have, or that ends its process.
    """
    codecs = [str(codec.codecId) for codec in endpoint.codecEnum2()]
    usable = list(dict.fromkeys(name for codec in codecs if (name := _codec_name(codec)) not in UNUSABLE))
    names = [name.upper() for name in wanted] or usable
    for name in names:
        if name not in usable:
            raise LocalError(f"media.codecs: no codec {name} in this pjsua2; it has {', '.join(usable)}")
    for codec in codecs:
        name = _codec_name(codec)
        if wanted or name in UNUSABLE:
            priority = 255 - names.index(name) if name in names else 0
            endpoint.codecSetPriority(codec, priority)
