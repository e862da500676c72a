"""A second reader of MIKEY-TICKET messages: every octet has a name.

Written from RFC 3830 and RFC 6043 for the tests that change messages on their way; it shares nothing with
the codec and knows only what a TRANSFER_INIT or TRANSFER_RESP of a full-mode call holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

GENERIC_ID_MAP = 2
T, SP, V, RAND = 5, 10, 9, 11
KEMAC, ID, TR, IDR, RANDR, TP, TICKET, EXT = 1, 6, 13, 14, 15, 16, 17, 21
TIMESTAMP_LENGTHS = {0: 8, 1: 8, 2: 4, 3: 4}
MAC_LENGTHS = {0: 0, 1: 20, 2: 32}
NAMES = {T: "T", SP: "SP", V: "V", RAND: "RAND", KEMAC: "KEMAC", TR: "TR", IDR: "IDR", RANDR: "RANDR"}
NAMES |= {TP: "TP", TICKET: "TICKET", EXT: "EXT"}
ROLE_NAMES = {1: "i", 2: "r", 3: "kms", 4: "psk", 5: "app"}
TS_ROLE_NAMES = {1: "i", 2: "s", 3: "e", 4: "rekey"}


@dataclass(frozen=True, slots=True)
class Field:
    """Octets *start* to *end* of a message."""

    name: str
    start: int
    end: int


class _Walk:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.found: list[Field] = []

    def take(self, name: str, length: int) -> bytes:
        start, self.at = self.at, self.at + length
        assert self.at <= len(self.data), f"{name} reaches beyond the message"
        if length:
            self.found.append(Field(name, start, self.at))
        return self.data[start : self.at]

    def number(self, name: str, length: int = 1) -> int:
        return int.from_bytes(self.take(name, length), "big")


def fields(message: bytes) -> list[Field]:
    """The fields of a whole message, in order, without gaps."""
    walk = _Walk(message)
    walk.take("HDR version", 1)
    walk.take("HDR data type", 1)
    following = walk.number("HDR next payload")
    walk.take("HDR V and PRF func", 1)
    walk.take("HDR CSB ID", 4)
    count = walk.number("HDR #CS")
    kind = walk.number("HDR CS ID map type")
    if count:
        assert kind == GENERIC_ID_MAP
    for number in range(1, count + 1):
        _crypto_session(walk, f"CS {number}")
    _chain(walk, following, "")
    assert walk.at == len(message)
    assert b"".join(message[field.start : field.end] for field in walk.found) == message
    return walk.found


def _crypto_session(walk: _Walk, name: str) -> None:
    walk.take(f"{name} CS ID", 1)
    walk.take(f"{name} Prot type", 1)
    policies = walk.number(f"{name} S and #P") & 0x7F
    walk.take(f"{name} Ps", policies)
    walk.take(f"{name} Session Data", walk.number(f"{name} Session Data length", 2))
    walk.take(f"{name} SPI", walk.number(f"{name} SPI length"))


def _chain(walk: _Walk, following: int, prefix: str) -> None:
    while following:
        following = _payload(walk, following, prefix)


def _payload(walk: _Walk, kind: int, prefix: str) -> int:
    name = prefix + _name(walk, kind)
    following = walk.number(f"{name} next payload")
    match kind:
        case 5:
            _timestamp(walk, name)
        case 13:
            walk.take(f"{name} role", 1)
            _timestamp(walk, name)
        case 11:
            walk.take(f"{name} value", walk.number(f"{name} length"))
        case 15:
            walk.take(f"{name} role", 1)
            walk.take(f"{name} value", walk.number(f"{name} length"))
        case 14:
            walk.take(f"{name} role", 1)
            walk.take(f"{name} type", 1)
            walk.take(f"{name} data", walk.number(f"{name} length", 2))
        case 10:
            _security_policy(walk, name)
        case 9:
            _mac(walk, name, "auth alg")
        case 1:
            walk.take(f"{name} encr alg", 1)
            walk.take(f"{name} encr data", walk.number(f"{name} encr data length", 2))
            _mac(walk, name, "MAC alg")
        case 21:
            walk.take(f"{name} type", 1)
            walk.take(f"{name} data", walk.number(f"{name} length", 2))
        case 17:
            _ticket(walk, name)
        case _:
            raise AssertionError(f"payload {kind} has no place here")
    return following


def _name(walk: _Walk, kind: int) -> str:
    name = NAMES[kind]
    if kind in (IDR, RANDR):
        return name + ROLE_NAMES[walk.data[walk.at + 1]]
    if kind == TR:
        return name + TS_ROLE_NAMES[walk.data[walk.at + 1]]
    return name


def _timestamp(walk: _Walk, name: str) -> None:
    kind = walk.number(f"{name} TS type")
    length = TIMESTAMP_LENGTHS[kind]
    walk.take(f"{name} value", length)


def _mac(walk: _Walk, name: str, algorithm: str) -> None:
    kind = walk.number(f"{name} {algorithm}")
    walk.take(f"{name} MAC", MAC_LENGTHS[kind])


def _security_policy(walk: _Walk, name: str) -> None:
    walk.take(f"{name} policy no", 1)
    walk.take(f"{name} Prot type", 1)
    end = walk.number(f"{name} Param length", 2) + walk.at
    while walk.at < end:
        kind = walk.number(f"{name} param type")
        walk.take(f"{name} param {kind} value", walk.number(f"{name} param {kind} length"))


def _ticket(walk: _Walk, name: str) -> None:
    walk.take(f"{name} Ticket Type", 2)
    walk.take(f"{name} Subtype", 1)
    walk.take(f"{name} Version", 1)
    walk.take(f"{name} PRF func and flags", 3)
    walk.take(f"{name} TP Data length", 2)
    _chain(walk, walk.number(f"{name} TP Data first payload"), f"{name} ")
    length = walk.number(f"{name} Ticket Data length", 2)
    walk.take(f"{name} Ticket Data", length)
    if walk.number(f"{name} Initiator Data length", 2):
        first = walk.number(f"{name} Initiator Data first payload")
        for which in ("Vi", "Vr"):
            assert first == V
            first = walk.number(f"{name} {which} next payload")
            _mac(walk, f"{name} {which}", "auth alg")


def changed(message: bytes, field: Field) -> Iterator[tuple[str, bytes]]:
    """Every way in which a field is changed on the way: (what, message).

    Each octet has its lowest and its highest bit inverted; a number becomes 0, its successor and its
    greatest value; the field is left out.
    """
    seen = {message}

    def variant(what: str, octets: bytes) -> Iterator[tuple[str, bytes]]:
        made = message[: field.start] + octets + message[field.end :]
        if made not in seen:
            seen.add(made)
            yield f"{field.name}: {what}", made

    old = message[field.start : field.end]
    for index in range(len(old)):
        for bit in (0x01, 0x80):
            flipped = bytes((*old[:index], old[index] ^ bit, *old[index + 1 :]))
            yield from variant(f"octet {index} xor {bit:#04x}", flipped)
    if len(old) <= 4:
        successor = (int.from_bytes(old, "big") + 1) % (1 << 8 * len(old))
        yield from variant("successor", successor.to_bytes(len(old), "big"))
    yield from variant("zero", bytes(len(old)))
    yield from variant("all ones", b"\xff" * len(old))
    yield from variant("left out", b"")
