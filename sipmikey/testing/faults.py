"""What a peer or a proxy may do wrong, on demand: applied by the switchboard to messages under way."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from sipmikey.sip import SipMessage

Fault = Callable[[SipMessage], SipMessage]
"""What becomes of a message on its way."""

LINE = re.compile(r"^a=key-mgmt:mikey ([A-Za-z0-9+/=]+)\r?\n", re.MULTILINE)


def strip_line(message: SipMessage) -> SipMessage:
    """Take `a=key-mgmt` out, as a proxy does that does not know it."""
    return message.with_sdp(lambda sdp: LINE.sub("", sdp))


def plain_rtp(message: SipMessage) -> SipMessage:
    """Offer plain RTP instead: no `a=key-mgmt`, RTP/AVP."""
    return strip_line(message).with_sdp(lambda sdp: re.sub(r"RTP/SAVP(F?)", r"RTP/AVP\1", sdp))


def double_line(message: SipMessage) -> SipMessage:
    """Give `a=key-mgmt` twice at the same level."""
    return message.with_sdp(lambda sdp: LINE.sub(lambda found: found[0] * 2, sdp))


def garble_line(message: SipMessage) -> SipMessage:
    """Put characters into the base64 that do not belong there."""
    return message.with_sdp(lambda sdp: LINE.sub("a=key-mgmt:mikey !not*base64!\r\n", sdp))


def alter_octet(place: int) -> Fault:
    """Return a fault that flips the lowest bit of one octet of the MIKEY message; negative from the end."""

    def altered(found: re.Match[str]) -> str:
        octets = bytearray(base64.b64decode(found[1]))
        octets[place] ^= 1
        return f"a=key-mgmt:mikey {base64.b64encode(octets).decode()}\r\n"

    return lambda message: message.with_sdp(lambda sdp: LINE.sub(altered, sdp))


bad_mac: Fault = alter_octet(-1)
"""The MAC is at the end of TRANSFER_INIT and TRANSFER_RESP: change its last bit."""


def replay() -> Fault:
    """Return a fault that puts the first MIKEY message it sees into every later message."""
    seen: list[str] = []

    def fault(message: SipMessage) -> SipMessage:
        found = LINE.search(message.sdp)
        if found is None:
            return message
        if not seen:
            seen.append(found[0])
            return message
        return message.with_sdp(lambda sdp: LINE.sub(lambda _: seen[0], sdp))

    return fault
