"""Descriptions that pjsua2 does not hand over: it prints them into 1 kB, and gives an empty text beyond."""

from __future__ import annotations

import ctypes

from sipmikey.call.reasons import AgentError, Reason

_ROOM = 4096
"""More than fits into a message of pjsip."""


class SdpPrinter:
    """pjmedia's own printing of a description. *library*: path of pjsua2's extension module."""

    def __init__(self, library: str) -> None:
        self._print = ctypes.CDLL(library).pjmedia_sdp_print
        self._print.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
        self._print.restype = ctypes.c_int

    def text(self, session: int) -> str:
        """Return the ``pjmedia_sdp_session`` at an address as text. Raises ``AgentError``."""
        room = ctypes.create_string_buffer(_ROOM)
        length = self._print(session, room, _ROOM)
        if length <= 0:
            raise AgentError(
                Reason.MESSAGE_TOO_LARGE,
                f"the description is longer than {_ROOM} octets: offer fewer streams or codecs",
                side="local",
            )
        return room.raw[:length].decode()
