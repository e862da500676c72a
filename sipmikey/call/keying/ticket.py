"""Keys by MIKEY-TICKET (RFC 6043). `ticket_keying` does it."""

from __future__ import annotations

from sipmikey.call.keying.keying import KeyingKind, Words
from sipmikey.call.keying.lane import Lane
from sipmikey.on_use import on_call

_HOME = "sipmikey.call.keying.ticket_keying"

TICKET = KeyingKind(
    name="mikey-ticket",
    lane=Lane.SECURED,
    place=0,
    words=Words(short="MIKEY-TICKET", label="MIKEY-TICKET (RFC 6043)"),
    recognises=on_call(_HOME, "recognises"),
    unfit=on_call(_HOME, "unfit"),
    calling=on_call(_HOME, "calling"),
    called=on_call(_HOME, "called"),
    needs_ticket=True,
    vouches=True,
    end_to_end=True,
    renews=True,
    may_transfer=True,
)
