"""What pjsua2 says that it and the peer agreed on for a stream, in the words of the media in Python."""

from __future__ import annotations

from typing import Any

from sipmikey.agent.pjsua.library import pj
from sipmikey.agent.python_media.agreed_media import AgreedMedia


def agreed_on(info: Any) -> AgreedMedia:
    """Return the outcome of offer and answer for a stream. *info*: pjsua2's ``StreamInfo``."""
    sends = bool(info.dir & pj.PJMEDIA_DIR_ENCODING)
    return AgreedMedia(
        codec=str(info.codecName),
        types=(int(info.txPt), int(info.rxPt)),
        event_types=(_event_type(info.audTxEventPt), _event_type(info.audRxEventPt)),
        remote=_address(info.remoteRtpAddress) if sends else None,
        remote_rtcp=_address(info.remoteRtcpAddress) if sends else None,
        both_ways=sends and bool(info.dir & pj.PJMEDIA_DIR_DECODING),
    )


def _event_type(number: Any) -> int | None:
    """Return a payload type of telephone events; pjsua2 has -1, or 0, for none."""
    return int(number) if int(number) > 0 else None


def _address(text: str) -> tuple[str, int] | None:
    """Return (host, port) of pjsua2's ``host:port``, None for a port of 0."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() and int(port) else None
