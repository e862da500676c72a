"""What the SIP stack is told of a keying: the account that takes the call, and the keys of its streams."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sipmikey.media.keying import StreamKey
from sipmikey.mikey.secret import Secret


class Lane(StrEnum):
    """Which of the stack's accounts takes a call.

    ``SECURED``: SRTP that drops everything until it is given keys. ``SDES``: SRTP that the stack keys by
    itself in the descriptions (RFC 4568); there is none unless policy names it. ``CLEAR``: plain RTP.
    ``REFUSED``: no media at all; such a call is answered with a failure.
    """

    SECURED = "secured"
    SDES = "sdes"
    CLEAR = "clear"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKeys:
    """Keys of one stream. ``suite``: pjmedia's name of the profile. ``send``, ``receive``: key || salt.

    ``directions``: the same with SSRC and packet index, (sending, receiving), for media in Python.
    """

    suite: str
    send: Secret
    receive: Secret
    directions: tuple[StreamKey, StreamKey] | None = None
