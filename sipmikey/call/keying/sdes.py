"""Keys by SDES (RFC 4568), made by the stack. `sdes_keying` does it."""

from __future__ import annotations

from types import MappingProxyType

from sipmikey.call.keying.keying import KeyingKind, Words
from sipmikey.call.keying.lane import Lane
from sipmikey.on_use import on_call

_HOME = "sipmikey.call.keying.sdes_keying"

# The stack would make the call of a transfer as it made this one: without a ticket.
SDES = KeyingKind(
    name="sdes",
    lane=Lane.BY_STACK,
    place=10,
    words=Words(
        short="SDES",
        label="SDES: the servers on the way know the keys",
        exposed="keys readable by every proxy",
        warning="The keys went through every server on the way. Anyone who runs one can listen.",
        offered="the offer has a=crypto and no key management",
    ),
    recognises=on_call(_HOME, "recognises"),
    unfit=on_call(_HOME, "unfit"),
    calling=on_call(_HOME, "calling"),
    called=on_call(_HOME, "called"),
    alternatives=MappingProxyType({"sdes": ("tls",), "sdes-without-tls": ()}),
)
