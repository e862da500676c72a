"""The wire format of MIKEY (RFC 3830, 4563, 4567, 7714) and MIKEY-TICKET (RFC 6043). No I/O, no keys.

`Message.parse` reads a message and `Message.build` makes one; what parses encodes to the same octets.
Every fault of a peer raises a `PeerError` that names the field and its offset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmikey.on_use import on_use

if TYPE_CHECKING:
    from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
    from sipmikey.mikey.dh import DH
    from sipmikey.mikey.errors import LocalError, MalformedMessage, PeerError, SipmikeyError
    from sipmikey.mikey.header import GenericIdEntry, Header, SrtpIdEntry, SrtpSessionData
    from sipmikey.mikey.identity import ID, IDR
    from sipmikey.mikey.kemac import KEMAC, Interval, KeyData
    from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
    from sipmikey.mikey.message import Message
    from sipmikey.mikey.payload import Payload
    from sipmikey.mikey.rand import RAND, RANDR
    from sipmikey.mikey.secret import Secret
    from sipmikey.mikey.security_policy import SP, SrtpPolicy
    from sipmikey.mikey.ticket import THDR, TICKET, TP, TicketFlag, TicketFlags
    from sipmikey.mikey.timestamp import TR, T, Timestamp
    from sipmikey.mikey.verification import ERR, EXT, V

__all__ = [
    "CERT",
    "CHASH",
    "DEFAULT_LIMITS",
    "DH",
    "ERR",
    "EXT",
    "ID",
    "IDR",
    "KEMAC",
    "PKE",
    "RAND",
    "RANDR",
    "SIGN",
    "SP",
    "THDR",
    "TICKET",
    "TP",
    "TR",
    "GenericIdEntry",
    "Header",
    "Interval",
    "KeyData",
    "Limits",
    "LocalError",
    "MalformedMessage",
    "Message",
    "Payload",
    "PeerError",
    "Secret",
    "SipmikeyError",
    "SrtpIdEntry",
    "SrtpPolicy",
    "SrtpSessionData",
    "T",
    "TicketFlag",
    "TicketFlags",
    "Timestamp",
    "V",
]

__getattr__ = on_use(
    __name__,
    {
        "CERT": "sipmikey.mikey.certificate",
        "CHASH": "sipmikey.mikey.certificate",
        "DEFAULT_LIMITS": "sipmikey.mikey.limits",
        "DH": "sipmikey.mikey.dh",
        "ERR": "sipmikey.mikey.verification",
        "EXT": "sipmikey.mikey.verification",
        "GenericIdEntry": "sipmikey.mikey.header",
        "Header": "sipmikey.mikey.header",
        "ID": "sipmikey.mikey.identity",
        "IDR": "sipmikey.mikey.identity",
        "Interval": "sipmikey.mikey.kemac",
        "KEMAC": "sipmikey.mikey.kemac",
        "KeyData": "sipmikey.mikey.kemac",
        "Limits": "sipmikey.mikey.limits",
        "LocalError": "sipmikey.mikey.errors",
        "MalformedMessage": "sipmikey.mikey.errors",
        "Message": "sipmikey.mikey.message",
        "PKE": "sipmikey.mikey.certificate",
        "Payload": "sipmikey.mikey.payload",
        "PeerError": "sipmikey.mikey.errors",
        "RAND": "sipmikey.mikey.rand",
        "RANDR": "sipmikey.mikey.rand",
        "SIGN": "sipmikey.mikey.certificate",
        "SP": "sipmikey.mikey.security_policy",
        "Secret": "sipmikey.mikey.secret",
        "SipmikeyError": "sipmikey.mikey.errors",
        "SrtpIdEntry": "sipmikey.mikey.header",
        "SrtpPolicy": "sipmikey.mikey.security_policy",
        "SrtpSessionData": "sipmikey.mikey.header",
        "T": "sipmikey.mikey.timestamp",
        "THDR": "sipmikey.mikey.ticket",
        "TICKET": "sipmikey.mikey.ticket",
        "TP": "sipmikey.mikey.ticket",
        "TR": "sipmikey.mikey.timestamp",
        "TicketFlag": "sipmikey.mikey.ticket",
        "TicketFlags": "sipmikey.mikey.ticket",
        "Timestamp": "sipmikey.mikey.timestamp",
        "V": "sipmikey.mikey.verification",
    },
)
