"""The wire format of MIKEY (RFC 3830, 4563, 4567, 7714) and MIKEY-TICKET (RFC 6043). No I/O, no keys.

`Message.parse` reads a message and `Message.build` makes one; what parses encodes to the same octets.
Every fault of a peer raises a `PeerError` that names the field and its offset.
"""

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
