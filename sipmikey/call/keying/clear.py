"""No keys: media in clear, where policy explicitly allows it. `clear_keying` does it."""

from __future__ import annotations

from sipmikey.call.keying.keying import KeyingKind, Words
from sipmikey.call.keying.lane import Lane
from sipmikey.on_use import on_call

_HOME = "sipmikey.call.keying.clear_keying"

CLEAR = KeyingKind(
    name=None,
    lane=Lane.CLEAR,
    place=100,
    words=Words(short="nothing", label="none", exposed="everybody on the way can listen"),
    recognises=on_call(_HOME, "recognises"),
    calling=on_call(_HOME, "calling"),
    called=on_call(_HOME, "called"),
    may_transfer=True,
)
