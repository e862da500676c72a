"""Which source (SSRC) pjmedia hears on a stream.

libsrtp takes any SSRC under the right key, and pjmedia follows a change silently. It keeps the SSRC in its
RTP session, whose layout differs between releases: a test packet at the start shows where it is.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable

from sipmikey.agent.pjsua.native.functions import RtpSessions, c_function
from sipmikey.agent.stack import StackError

_SIZE = 1024
"""More than a ``pjmedia_rtp_session`` and a ``pjmedia_rtp_status`` have in any release."""

_OWN, _PEER = 0x5A01_C3E7, 0x7E3C_10A5
_PAYLOAD_TYPE = 8


class PeerSource:
    """Streams are addresses of a ``pjmedia_stream``."""

    def __init__(self) -> None:
        self._sessions: Callable[..., int] | None = None
        self._offset: int | None = None
        try:
            begin, update = c_function("pjmedia_rtp_session_init"), c_function("pjmedia_rtp_session_update")
            self._sessions = c_function("pjmedia_stream_get_rtp_session_info")
        except StackError:
            return
        session, status = ctypes.create_string_buffer(_SIZE), ctypes.create_string_buffer(_SIZE)
        begin(session, _PAYLOAD_TYPE, _OWN)
        update(session, struct.pack("!BBHII", 0x80, _PAYLOAD_TYPE, 1, 160, _PEER), status)
        at = session.raw.find(struct.pack("=I", _PEER))
        self._offset = at if at >= 0 else None

    @property
    def known(self) -> bool:
        """True where this build of pjmedia tells."""
        return self._offset is not None

    def of(self, stream: int) -> int:
        """Return the SSRC of the last packet that verified, 0 where there was none, or it is unknown."""
        found = RtpSessions()
        if self._sessions is None or self._offset is None:
            return 0
        if self._sessions(stream, ctypes.byref(found)) != 0 or not found.rx_rtp:
            return 0
        return ctypes.c_uint32.from_address(found.rx_rtp + self._offset).value
