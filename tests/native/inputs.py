"""Octets to try on both cores: valid messages put together at random, mutated ones, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from sipmikey.mikey.limits import Limits

IDENTITIES = (
    b"sip:alice@example.com",
    b"sip:bob@example.com",
    b"sip:kms@example.com",
    b"tel:+4912345",
    b"",
    b"\xff\xfe",
)
HDR_LENGTH = 10
LENGTHS = (0, 1, 2, 4, 7, 8, 16, 20, 32, 40)

LIMITS = (
    Limits(),
    Limits(),
    Limits(),
    Limits(message_bytes=300, payloads=5, crypto_sessions=2, certificates=1, policy_parameters=3, nesting=1),
)
"""Those by default, mostly."""


def _octets(rng: Random, longest: int = 40) -> bytes:
    return rng.randbytes(rng.choice(LENGTHS) if rng.random() < 0.8 else rng.randint(0, longest))


def _short(octets: bytes) -> bytes:
    return bytes((len(octets),)) + octets


def _long(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "big") + octets


def _registered(rng: Random, values: Sequence[int], all_of: int = 256) -> int:
    return rng.choice(values) if rng.random() < 0.97 else rng.randrange(all_of)


def _timestamp(rng: Random) -> bytes:
    kind = _registered(rng, (0, 0, 1, 2, 3))
    return bytes((kind,)) + rng.randbytes({0: 8, 1: 8, 2: 4, 3: 4}.get(kind, 5))


def _validity(rng: Random, kind: int) -> bytes:
    if kind == 1:
        return _short(_octets(rng))
    return _short(_octets(rng)) + _short(_octets(rng)) if kind == 2 else b""


def _key_data(rng: Random) -> bytes:
    kind, validity = _registered(rng, range(7), 16), _registered(rng, (0, 1, 1, 2), 16)
    salt = _long(_octets(rng)) if kind in (1, 3, 5) else b""
    return bytes((kind << 4 | validity,)) + _long(_octets(rng)) + salt + _validity(rng, validity)


def _sp(rng: Random) -> bytes:
    kinds = [_registered(rng, (*range(13), 20)) for _ in range(rng.randrange(8))]
    params = b"".join(bytes((kind,)) + _short(rng.randbytes(rng.choice((1, 1, 1, 2, 0)))) for kind in kinds)
    return bytes((rng.randrange(4), _registered(rng, (0,)))) + _long(params)


def _policy(rng: Random, depth: int) -> bytes:
    # D and H without G, or with G and F, and whatever else comes up: half of these break a rule.
    flags = rng.choice((0b100010000000, 0b111111010011, 0b011111101011, rng.randrange(1 << 12)))
    word = _registered(rng, (0, 1, 1), 128) << 17 | flags << 5 | rng.choice((0, 0, rng.randrange(32)))
    names = (14, 14, 13, 1) if depth else (14, 14, 14, 13, 13, 1, 1, 16)
    chosen = [rng.choice(names) for _ in range(rng.randrange(6))]
    first, chain = link([(kind, body(rng, kind, depth + 1)) for kind in chosen])
    head = rng.choice((1, 1, 1, 2, rng.randrange(1 << 16))).to_bytes(2, "big") + bytes((1, 1))
    return head + word.to_bytes(3, "big") + _long(bytes((first,)) + chain)


def ticket_data(rng: Random) -> bytes:
    """Return Ticket Data: THDR and a chain, as of Appendix A or not."""
    kinds = (5, 11, 1, 14, 9) if rng.random() < 0.7 else [rng.choice((1, 5, 9, 11, 14)) for _ in range(4)]
    first, chain = link([(kind, body(rng, kind, 1)) for kind in kinds])
    return bytes((first,)) + _long(_octets(rng) if rng.random() < 0.1 else b"") + chain


def initiator_data(rng: Random) -> bytes:
    """Return Initiator Data, mostly Vi and Vr."""
    kinds = (9, 9) if rng.random() < 0.7 else [rng.choice((9, 14, 1)) for _ in range(rng.randrange(4))]
    first, chain = link([(kind, body(rng, kind, 1)) for kind in kinds])
    return bytes((first,)) + chain if rng.random() < 0.95 else b""


def key_data(rng: Random) -> bytes:
    """Return the plaintext of a KEMAC."""
    kinds = [20 if rng.random() < 0.97 else rng.choice((5, 14, 21)) for _ in range(rng.randrange(1, 5))]
    return link([(kind, body(rng, kind, 1)) for kind in kinds])[1]


def body(rng: Random, number: int, depth: int = 0) -> bytes:
    """Return the octets of payload *number* after its Next Payload."""
    if number == 1:
        mac = _registered(rng, (0, 0, 1, 2))
        head = bytes((_registered(rng, range(4)),))
        plain = key_data(rng) if depth < 3 and rng.random() < 0.5 else _octets(rng)
        return head + _long(plain) + bytes((mac,)) + rng.randbytes({1: 20, 2: 32}.get(mac, 0))
    if number == 2:
        data = _octets(rng)
        return (rng.randrange(4) << 14 | len(data)).to_bytes(2, "big") + data
    if number == 3:
        group, kv = _registered(rng, range(3)), _registered(rng, range(3), 16)
        value = rng.randbytes({0: 192, 1: 96, 2: 128}.get(group, 9))
        return bytes((group,)) + value + bytes((rng.randrange(16) << 4 | kv,)) + _validity(rng, kv)
    if number == 4:
        data = _octets(rng)
        return (_registered(rng, (0, 1), 16) << 12 | len(data)).to_bytes(2, "big") + data
    if number == 5:
        return _timestamp(rng)
    if number in (6, 7, 21):
        return bytes((_registered(rng, range(4)),)) + _long(rng.choice((*IDENTITIES, _octets(rng))))
    if number == 8:
        func = _registered(rng, range(3))
        return bytes((func,)) + rng.randbytes({0: 20, 1: 16, 2: 32}.get(func, 3))
    if number == 9:
        mac = _registered(rng, (1, 2, 2, 0))
        return bytes((mac,)) + rng.randbytes({1: 20, 2: 32}.get(mac, 0))
    if number == 10:
        return _sp(rng)
    if number == 11:
        return _short(_octets(rng, 255))
    if number == 12:
        return bytes((_registered(rng, range(16)),)) + rng.choice((b"\0\0", rng.randbytes(2)))
    if number == 13:
        return bytes((_registered(rng, range(1, 5)),)) + _timestamp(rng)
    if number == 14:
        head = bytes((_registered(rng, range(1, 6)), _registered(rng, range(3))))
        return head + _long(rng.choice((*IDENTITIES, *IDENTITIES, _octets(rng))))
    if number == 15:
        return bytes((_registered(rng, range(1, 4)),)) + _short(_octets(rng, 255))
    if number == 16:
        return _policy(rng, depth)
    if number == 17:
        return _policy(rng, depth) + _long(ticket_data(rng)) + _long(initiator_data(rng))
    return _key_data(rng)


NUMBERS = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 21)


def link(payloads: Sequence[tuple[int, bytes]]) -> tuple[int, bytes]:
    """Return the first number and the octets of a chain."""
    octets = []
    for index, (number, octets_of) in enumerate(payloads):
        following = payloads[index + 1][0] if index + 1 < len(payloads) else 0
        octets.append(octets_of if number == 4 else bytes((following,)) + octets_of)
    return (payloads[0][0] if payloads else 0), b"".join(octets)


def _header(rng: Random, first: int) -> bytes:
    kind = _registered(rng, (1, 1, 2, 2, 0), 4)
    count = 0 if kind == 1 and rng.random() < 0.8 else rng.randrange(4)
    data_type = _registered(rng, (*range(7), *range(11, 19)))
    head = bytes(
        (_registered(rng, (1,)), data_type, first, rng.randrange(2) << 7 | _registered(rng, (0, 1), 128))
    )
    entries = b""
    for _ in range(count):
        if kind == 2:
            policies = rng.randbytes(rng.randrange(3))
            octet = rng.randrange(2) << 7 | len(policies)
            data = rng.randbytes(rng.choice((0, 4, 10, 3)))
            entries += bytes((rng.randrange(4), _registered(rng, (0,)), octet)) + policies
            entries += _long(data) + _short(_octets(rng))
        elif kind == 0:
            entries += rng.randbytes(9)
    return head + rng.randbytes(4) + bytes((count, kind)) + entries


def message(rng: Random, pool: Sequence[tuple[int, bytes]]) -> bytes:
    """Return a whole message of payloads of *pool*."""
    chosen = [rng.choice(pool) for _ in range(rng.choice((0, 1, 2, 3, 4, 5, 7, 9)))]
    if rng.random() < 0.1:
        chosen.append((4, body(rng, 4)))
    first, chain = link(chosen)
    return _header(rng, first) + chain


def payload_pool(rng: Random, count: int) -> list[tuple[int, bytes]]:
    """Return payloads to choose from, as (number, octets after Next Payload)."""
    return [(number, body(rng, number)) for number in (rng.choice(NUMBERS) for _ in range(count))]


def mutated(rng: Random, octets: bytes, other: bytes) -> bytes:
    """Return *octets* changed in one or a few places."""
    data = bytearray(octets)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at] = rng.choice((0, 1, 2, 4, 9, 14, 16, 17, 20, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + rng.randrange(1, 9)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 5:
            data += rng.randbytes(rng.randrange(1, 5))
        elif other:
            start = rng.randrange(len(other))
            data[at : at + rng.randrange(1, 40)] = other[start : start + rng.randrange(1, 40)]
    return bytes(data)
