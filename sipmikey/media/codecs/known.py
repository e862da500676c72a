"""The codecs of the media in Python by their names, and which of them can be had here."""

from __future__ import annotations

from functools import cache

from sipmikey.media.codecs.codec import Codec
from sipmikey.mikey.errors import LocalError

NAMES = ("G722", "OPUS", "PCMA", "PCMU")
"""In upper case, best first."""

OPUS_PARAMETERS = "useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000"
"""What a description says of Opus in a=fmtp (RFC 7587 section 6.1)."""


def codec_named(name: str) -> Codec:
    """Return the codec with the encoding name *name*, in any case.

    Raises ``LocalError`` that says how to get it, or which there are.
    """
    match name.upper():
        case "PCMA" | "PCMU" as law:
            return _g711(law)
        case "G722":
            return _g722()
        case "OPUS":
            return _opus()
    raise LocalError(f"media in Python has no codec {name}; it has {', '.join(NAMES)}")


def _g711(law: str) -> Codec:
    try:
        from sipmikey.media.g711 import PCMA, PCMU
    except ImportError as error:  # audioop, from Python 3.13 on
        raise _missing(law, error, extra="media") from None
    return PCMA if law == "PCMA" else PCMU


def _g722() -> Codec:
    try:
        from sipmikey.media.codecs.g722 import G722
    except ImportError as error:
        raise _missing("G722", error) from None
    return G722()


def _opus() -> Codec:
    try:
        from sipmikey.media.codecs.opus import Opus
    except ImportError as error:
        raise _missing("opus", error) from None
    return Opus()


def _missing(name: str, error: ImportError, *, extra: str = "codecs") -> LocalError:
    return LocalError(f"codec {name} needs the package {error.name}: pip install 'sipmikey[{extra}]'")


@cache
def codecs_here() -> tuple[str, ...]:
    """Return those of ``NAMES`` that can be had, best first; found out once in a process."""
    return tuple(name for name in NAMES if _can_be_had(name))


def _can_be_had(name: str) -> bool:
    try:
        codec_named(name)
    except LocalError:
        return False
    return True
