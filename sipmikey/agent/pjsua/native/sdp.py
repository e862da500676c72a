"""Descriptions over 1 kB, which pjsua2 hands over as empty texts."""

from __future__ import annotations

import ctypes

from sipmikey.agent.pjsua.native.functions import c_function
from sipmikey.call.reasons import AgentError, Reason

_ROOM = 4096
"""More than fits into a message of pjsip."""


class SdpPrinter:
    """pjmedia's own printing of a description."""

    def __init__(self) -> None:
        self._print = c_function("pjmedia_sdp_print")

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
