"""What the SIP stack is told of a keying: the account that takes the call, and the keys of its streams."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.call.keying.lane import Lane as Lane
from sipmikey.media.keying import StreamKey
from sipmikey.mikey.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKeys:
    """Keys of one stream. ``suite``: pjmedia's name of the profile. ``send``, ``receive``: key || salt.

    ``directions``: the same with SSRC and packet index, (sending, receiving), for media in Python.
    """

    suite: str
    send: Secret
    receive: Secret
    directions: tuple[StreamKey, StreamKey] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackKeys:
    """What the stack may put into descriptions of lane ``BY_STACK``, as a=crypto lines (RFC 4568).

    ``suites``: names of crypto suites, best first. ``over``: the SIP transports that such a description may
    leave over (``tls``); empty for any.
    """

    suites: tuple[str, ...]
    over: tuple[str, ...] = ()

    @property
    def only(self) -> str | None:
        """The transport that such a description leaves over, where there is but one."""
        return self.over[0] if len(self.over) == 1 else None

    def may_go_over(self, transport: str) -> bool:
        """Return whether such a description may leave over a SIP *transport*."""
        return not self.over or transport in self.over
