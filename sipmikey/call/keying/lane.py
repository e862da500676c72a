"""Which account of the SIP stack takes a call."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """Which of the stack's accounts takes a call, by who gives the keys.

    ``SECURED``: this side; SRTP that drops everything until then. ``BY_STACK``: the stack, in the
    descriptions (``StackKeys``). ``CLEAR``: nobody; plain RTP. ``REFUSED``: no media at all; such a call is
    answered with a failure.
    """

    SECURED = "secured"
    BY_STACK = "by-stack"
    CLEAR = "clear"
    REFUSED = "refused"
