"""The names and meanings of registered numbers, as the RFCs' tables give them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from sipmikey.mikey.registry import (
    CertType,
    CsIdMapType,
    DataType,
    DhGroup,
    EncrAlg,
    ErrorNo,
    ExtensionType,
    HashFunc,
    IdRole,
    IdType,
    KeyDataType,
    KeyIdType,
    KeyValidityType,
    MacAlg,
    PayloadType,
    PkeCache,
    PrfFunc,
    ProtType,
    RandRole,
    SignatureType,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
    TicketType,
    TsRole,
    TsType,
)

_WORDS: Mapping[type[IntEnum], Mapping[int, str]] = {
    DataType: {
        0: "PSK I_MESSAGE of RFC 3830", 1: "PSK verification message", 2: "PK I_MESSAGE of RFC 3830",
        3: "PK verification message", 4: "Diffie-Hellman initial message", 5: "Diffie-Hellman response",
        6: "Error message", 11: "REQUEST_INIT_PSK: asks the KMS for keys and a ticket",
        12: "REQUEST_INIT_PK: asks the KMS for keys and a ticket",
        13: "REQUEST_RESP: the KMS gives keys and a ticket",
        14: "TRANSFER_INIT: the Initiator sends the ticket, or a CSB update",
        15: "TRANSFER_RESP: the Responder confirms",
        16: "RESOLVE_INIT_PSK: asks the KMS for the keys in a ticket",
        17: "RESOLVE_INIT_PK: asks the KMS for the keys in a ticket",
        18: "RESOLVE_RESP: the KMS gives the keys in a ticket",
    },
    PayloadType: {0: "last payload", 20: "key data sub-payload", 21: "General Extension"},
    PrfFunc: {0: "MIKEY-1 (HMAC-SHA-1)", 1: "PRF-HMAC-SHA-256"},
    CsIdMapType: {0: "SRTP-ID", 1: "Empty map", 2: "GENERIC-ID"},
    ProtType: {0: "SRTP"},
    EncrAlg: {0: "NULL: no encryption", 1: "AES-CM-128", 2: "AES-KW-128", 3: "AES-CM-256"},
    MacAlg: {0: "NULL: no MAC", 1: "HMAC-SHA-1-160", 2: "HMAC-SHA-256-256"},
    KeyDataType: {
        0: "TGK", 1: "TGK+SALT", 2: "TEK", 3: "TEK+SALT", 4: "GTGK (group TGK)", 5: "GTGK+SALT",
        6: "MPK (MIKEY protection key)",
    },
    KeyValidityType: {0: "no validity given", 1: "SPI or MKI", 2: "interval"},
    TsType: {0: "NTP-UTC", 1: "NTP", 2: "COUNTER", 3: "NTP-UTC-32"},
    TsRole: {
        1: "TRi, time of issue", 2: "TRs, start of validity", 3: "TRe, end of validity",
        4: "TRr, rekeying interval",
    },
    IdType: {0: "network access identifier", 1: "URI", 2: "byte string"},
    IdRole: {
        1: "IDRi, Initiator", 2: "IDRr, Responder", 3: "IDRkms, KMS", 4: "IDRpsk, names a pre-shared key",
        5: "IDRapp, authorized application",
    },
    CertType: {
        0: "X.509v3", 1: "URL of an X.509v3", 2: "X.509v3 for signatures", 3: "X.509v3 for encryption",
    },
    HashFunc: {0: "SHA-1", 1: "MD5", 2: "SHA-256"},
    SignatureType: {0: "RSA/PKCS#1/1.5", 1: "RSA/PSS"},
    PkeCache: {0: "do not cache", 1: "cache", 2: "cache for this CSB"},
    DhGroup: {0: "OAKLEY 5", 1: "OAKLEY 1", 2: "OAKLEY 2"},
    RandRole: {1: "RANDRi, Initiator", 2: "RANDRr, Responder", 3: "RANDRkms, KMS"},
    ErrorNo: {
        0: "authentication failure", 1: "invalid timestamp", 2: "PRF not supported",
        3: "MAC algorithm not supported", 4: "encryption algorithm not supported",
        5: "hash function not supported", 6: "DH group not supported", 7: "ID not supported",
        8: "certificate not supported", 9: "SP type not supported", 10: "SP parameters not supported",
        11: "data type not supported", 12: "unspecified error", 14: "Ticket Type not supported",
        15: "TP parameters not supported",
    },
    ExtensionType: {0: "vendor ID", 1: "SDP IDs", 3: "Key ID"},
    KeyIdType: {0: "MBMS key domain", 1: "MBMS service key", 2: "MBMS traffic key"},
    TicketType: {1: "MIKEY base ticket", 2: "3GPP base ticket"},
    SrtpParam: {
        0: "encryption algorithm", 1: "session encryption key length, bytes", 2: "authentication algorithm",
        3: "session authentication key length, bytes", 4: "session salt length, bytes",
        5: "pseudo-random function", 6: "key derivation rate", 7: "SRTP encryption", 8: "SRTCP encryption",
        9: "sender's FEC order", 10: "SRTP authentication", 11: "authentication tag length, bytes",
        12: "SRTP prefix length, bytes", 20: "AEAD tag length, bytes",
    },
    SrtpEncrAlg: {0: "NULL", 1: "AES-CM", 2: "AES-F8", 6: "AES-GCM"},
    SrtpAuthAlg: {0: "NULL", 1: "HMAC-SHA-1"},
    SrtpPrf: {0: "AES-CM"},
}  # fmt: skip

FLAGS = {
    "D": ("the KMS made the ticket", "the Initiator made the ticket"),
    "E": ("the ticket must be resolved at the KMS", "the Responder may open the ticket"),
    "F": ("TRANSFER_RESP shall be sent", "TRANSFER_RESP shall not be sent"),
    "G": ("the Responder generates RANDRr", "no RANDRr"),
    "H": ("RANDRi goes into session keys", "RANDRi does not go into session keys"),
    "I": ("key forking", "no key forking"),
    "J": ("the ticket may be reused", "the ticket must not be reused"),
    "K": ("the KMS changed the policy asked for", "the KMS did not change the policy"),
    "L": ("the Initiator may supply session keys", "the Initiator may not supply session keys"),
    "M": ("the Responder may supply session keys", "the Responder may not supply session keys"),
    "N": ("a standard Initiator can use it", "the Initiator needs additional processing"),
    "O": ("a standard Responder can process it", "the Responder needs additional processing"),
}
"""Ticket Policy flag -> (meaning of 1, meaning of 0), RFC 6043 section 6.10."""


def meaning(enum: type[IntEnum], value: int) -> str:
    """Return the name and meaning of a registered number, or that it is not registered."""
    found = _WORDS[enum].get(value)
    if found is not None:
        return found
    try:
        return enum(value).name
    except ValueError:
        return "not a registered value"


def is_registered(enum: type[IntEnum], value: int) -> bool:
    """Return whether *value* is in the registry."""
    return value in enum._value2member_map_
