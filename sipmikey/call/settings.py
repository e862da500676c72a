"""What the calls of one identity have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sipmikey.call.outputs import Headers
from sipmikey.call.policy import CallPolicy


def _reachable(sdp: str) -> None:
    """Accept any address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds. ``setup``: from INVITE to final response. ``decision``: for the user to say whether another
    identity will do. ``media``: after establishment, for the first packet that proves the keys. ``silence``:
    without a packet that verifies, until a proven stream is told to be stalled. ``gone``: the same on every
    stream, until the peer is taken to be gone and the call ends; 0 for never."""

    setup: float = 60.0
    decision: float = 30.0
    media: float = 5.0
    silence: float = 5.0
    gone: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """``identity``: our SIP URI. ``headers``: for each INVITE. ``redirects``: how many INVITEs of one call
    may follow redirections. ``check_description``: raises a ``PeerError`` for a description of the peer whose
    addresses cannot be reached.

    ``many_dialogs``: True where the SIP stack can hold a dialog for each 2xx of a forked INVITE, so that a
    good answer after a bad one still gets the call; pjsua cannot. ``preconditions``: describe and obey those
    of RFC 3312; our own resources are always there.
    """

    identity: str
    policy: CallPolicy = field(default_factory=CallPolicy)
    patience: Patience = field(default_factory=Patience)
    headers: Headers = ()
    redirects: int = 5
    check_description: Callable[[str], None] = _reachable
    many_dialogs: bool = True
    preconditions: bool = False
