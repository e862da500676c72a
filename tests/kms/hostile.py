"""Hostile messages for a KMS: genuine ones mutated, truncated, replayed and used across users."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sipmikey.keys.derivation import initial_message_keys
from sipmikey.keys.mac import compute_mac
from sipmikey.keys.suite import SUITE_128, SUITE_256
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import RandRole
from sipmikey.mikey.ticket import TICKET
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve
from tests.kms.domain import Domain, credential, subscriber, uri, with_initiator_data

INTERESTING = (0, 1, 2, 4, 5, 9, 16, 17, 0x7F, 0x80, 0xFE, 0xFF)


@dataclass(frozen=True, slots=True)
class Hostile:
    """A message that must be refused, and what was done to it."""

    kind: str
    message: bytes


def domain(directory: Path) -> Domain:
    """A KMS with the people the messages are from."""
    return Domain.make(directory, subscribers=[subscriber(name) for name in ("alice", "bob", "mallory")])


def genuine(kms: Domain) -> list[bytes]:
    """Messages the KMS would answer: of both exchanges and suites. They are not sent."""
    found = []
    for suite in (SUITE_128, SUITE_256):
        wanted = kms.wanted(suite=suite)
        found.append(kms.request("alice", wanted).message)
        found.append(kms.resolving(with_initiator_data(kms.ask("alice", wanted))).message)
    return found


def mutated(message: bytes, draw: random.Random) -> Hostile:
    """One message with something changed in it."""
    octets = bytearray(message)
    kind = draw.choice(
        ("bit", "bit", "octet", "interesting", "truncated", "inserted", "cut", "doubled", "appended")
    )
    at = draw.randrange(len(octets))
    if kind == "bit":
        octets[at] ^= 1 << draw.randrange(8)
    elif kind == "octet":
        octets[at] = (octets[at] + draw.randrange(1, 256)) & 0xFF
    elif kind == "interesting":
        value = draw.choice(INTERESTING)
        octets[at] = value if octets[at] != value else value ^ 0xFF
    elif kind == "truncated":
        del octets[at:]
    elif kind == "inserted":
        octets[at:at] = draw.randbytes(draw.randrange(1, 9))
    elif kind == "cut":
        del octets[at : at + draw.randrange(1, 9)]
    elif kind == "doubled":
        octets[at:at] = octets[at : at + draw.randrange(1, 65)]
    else:
        octets += draw.randbytes(draw.randrange(1, 65))
    return Hostile(kind, bytes(octets))


def resigned(kms: Domain, ticket: TICKET, draw: random.Random) -> Hostile:
    """A RESOLVE_INIT of an authenticated subscriber with one bit of the ticket changed."""
    fields = ("ticket_data", "initiator_data")
    name = draw.choice([field for field in fields if getattr(ticket, field)])
    octets = bytearray(getattr(ticket, name))
    octets[draw.randrange(len(octets))] ^= 1 << draw.randrange(8)
    changed = replace(ticket, **{name: bytes(octets)})  # type: ignore[arg-type]
    return Hostile(f"{name} of an authentic sender", kms.resolving(changed).message)


def cross_user(kms: Domain, ticket: TICKET) -> Iterator[Hostile]:
    """Genuinely protected messages of somebody who may not send them."""
    for thief in ("mallory", "alice"):
        yield Hostile("another's ticket", kms.resolving(ticket, thief).message)
        yield Hostile("another's identity", kms.resolving(ticket, thief, identity=uri("bob")).message)
    yield Hostile("another's name", kms.request("mallory", identity=uri("alice")).message)
    foreign = TicketResolve.start(
        kms.env, ticket=ticket, credential=credential("bob"), identity=uri("bob"), kms="sip:kms@other.example"
    )
    yield Hostile("another KMS", foreign.message)
    wrong = TicketRequest.start(
        kms.env,
        policy=kms.wanted(),
        credential=replace(credential("bob"), key_id=b"alice"),
        identity=uri("alice"),
        kms=kms.identity,
    )
    yield Hostile("another's key name", wrong.message)


def campaign(kms: Domain, count: int, seed: int) -> Iterator[Hostile]:
    """Yield *count* hostile messages, reproducible from *seed* but for keys and nonces."""
    draw = random.Random(seed)
    originals = genuine(kms)
    tickets = [
        with_initiator_data(kms.ask("alice", kms.wanted(suite=suite))) for suite in (SUITE_128, SUITE_256)
    ]
    replayed = [kms.request().message for _ in range(4)]
    for message in replayed:
        assert kms.handle(message).granted
    made = 0
    while made < count:
        turn = made % 40
        if turn == 0:
            batch = list(cross_user(kms, draw.choice(tickets)))
        elif turn == 1:
            batch = [Hostile("replayed", draw.choice(replayed))]
        elif turn < 6:
            batch = [resigned(kms, draw.choice(tickets), draw)]
        elif turn == 6:
            one, other = draw.sample(originals, 2)
            at = draw.randrange(1, min(len(one), len(other)))
            batch = [Hostile("spliced", one[:at] + other[at:])]
        else:
            batch = [mutated(draw.choice(originals), draw)]
        for hostile in batch:
            if hostile.message not in originals:
                made += 1
                yield hostile


def attack(kms: Domain, count: int, seed: int) -> Counter[str]:
    """Send a campaign; return how often each kind met each reason. Raises on any that is not refused."""
    answers: Counter[str] = Counter()
    for hostile in campaign(kms, count, seed):
        outcome = kms.handle(hostile.message)
        if outcome.granted or not 400 <= outcome.status < 500:
            raise AssertionError(
                f"{hostile.kind}: {outcome.status} {outcome.reason}: {hostile.message.hex()}"
            )
        answers[f"{hostile.kind}: {outcome.reason}"] += 1
    return answers


def protected_again(kms: Domain, original: bytes, altered: bytes) -> bytes:
    """Bob's RESOLVE_INIT *altered*, with the MAC that bob would put on it."""
    parsed = Message.parse(original)
    rand = parsed.one(RANDR, RandRole.RESPONDER).rand
    keys = initial_message_keys(credential("bob").prf(SUITE_256.prf), parsed.header.csb_id, rand_r=rand)
    body = altered[: -SUITE_256.mac_alg.length]
    covered = body + uri("bob").encode() + kms.identity.encode()
    return body + compute_mac(SUITE_256.mac_alg, keys.auth_key(SUITE_256.mac_alg), covered)


def signed_by_alice(kms: Domain, original: bytes, altered: bytes) -> bytes:
    """Alice's REQUEST_INIT *altered*, with the MAC that alice would put on it."""
    parsed = Message.parse(original)
    rand = parsed.one(RANDR, RandRole.INITIATOR).rand
    keys = initial_message_keys(credential("alice").prf(SUITE_256.prf), parsed.header.csb_id, rand_i=rand)
    body = altered[: -SUITE_256.mac_alg.length]
    covered = body + uri("alice").encode() + kms.identity.encode()
    return body + compute_mac(SUITE_256.mac_alg, keys.auth_key(SUITE_256.mac_alg), covered)
