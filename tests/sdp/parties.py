"""A KMS in memory, and two parties that ask it: nothing of this touches a socket, a clock or the system."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.mikey.errors import NotAuthorized, UnknownKey
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.sdp import Answerer, Offerer, SessionKeys
from sipmikey.ticket import (
    FULL_MODE,
    Environment,
    KmsInit,
    PreSharedKey,
    RequestAtKms,
    RequestedKey,
    ResolveAtKms,
    TicketGrant,
    TicketPolicy,
    TicketProtectionKey,
    TicketRequest,
)
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST
from tests.sdp.descriptions import AUDIO

ALICE, BOB, CAROL, MALLORY = (f"sip:{name}@example.com" for name in ("alice", "bob", "carol", "mallory"))
KMS = "sip:kms.example.com"
_NS = 1_000_000_000


class World:
    """A clock that moves with every reading, and randomness from a seed."""

    def __init__(self, seed: str = "seed") -> None:
        self.now = 1_780_000_000 * _NS
        self._drawn = 0
        self._seed = seed

    def _now_ns(self) -> int:
        self.now += 1_000_000
        return self.now

    def _random(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed} {self._drawn}".encode()).digest(count)

    def env(self) -> Environment:
        return Environment(now_ns=self._now_ns, random=self._random)


def credential(identity: str) -> PreSharedKey:
    """The key a user shares with the KMS."""
    key = hashlib.sha256(identity.encode()).digest()
    return PreSharedKey(key=Secret(key), key_id=identity.encode())


@dataclass
class Kms:
    """Grants what is asked and resolves for whom the ticket allows; ``groups`` maps members to groups."""

    env: Environment
    groups: dict[str, str] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    tpk: TicketProtectionKey = field(
        default_factory=lambda: TicketProtectionKey(key=Secret(bytes(range(32))), key_id=b"tpk")
    )

    def request(self, message: bytes) -> bytes:
        """Answer REQUEST_INIT or RESOLVE_INIT."""
        self.asked.append(message)
        init = KmsInit(self.env, message)
        if init.identity is None:
            raise UnknownKey("no identity is claimed")
        init_by = init.verify_psk(credential(init.identity), owner=init.identity, kms=KMS)
        if init.kind is TICKET_REQUEST:
            request = RequestAtKms(self.env, init_by)
            response, _ = request.grant(request.policy, self.tpk, kms=KMS)
            return response
        resolve = ResolveAtKms(self.env, init_by)
        contents = resolve.open(self.tpk)
        answerer = self.groups.get(resolve.identity, resolve.identity)
        if not resolve.policy.allows_responder(answerer):
            raise NotAuthorized(f"{answerer} is not a responder of the ticket")
        return resolve.respond(contents, answerer=resolve.identity, kms=KMS)


def grant(
    world: World,
    kms: Kms,
    *,
    suite: Suite = SUITE_256,
    flags: TicketFlags = FULL_MODE,
    responders: Sequence[str] = (BOB,),
    valid_s: int = 3600,
    rekeying_interval_s: int | None = None,
    key_length: int | None = None,
) -> TicketGrant:
    """Alice's ticket."""
    env = world.env()
    policy = TicketPolicy(
        suite=suite,
        flags=flags,
        responders=tuple(responders),
        kms=KMS,
        initiator=ALICE,
        valid_until=Timestamp.ntp_utc(world.now + valid_s * _NS),
        rekeying_interval_s=rekeying_interval_s,
        requested_keys=(RequestedKey(length=key_length or suite.key_length),),
    )
    request = TicketRequest.start(env, policy=policy, credential=credential(ALICE), identity=ALICE, kms=KMS)
    return request.receive(kms.request(request.message))


@dataclass
class Parties:
    """Alice, who calls, a KMS, and the party that answers."""

    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.env = self.world.env()
        self.kms = Kms(self.env)

    def offerer(self, ticket: TicketGrant | None = None, **options: object) -> Offerer:
        used = grant(self.world, self.kms) if ticket is None else ticket
        return Offerer(self.env, **{"grant": used, "called": BOB} | options)  # type: ignore[arg-type]

    def answerer(self, identity: str = BOB, **options: object) -> Answerer:
        return Answerer(self.env, **{"identities": [identity]} | options)  # type: ignore[arg-type]

    def take(self, answerer: Answerer, offer: str, identity: str = BOB, caller: str = ALICE) -> None:
        """Let the answerer check the offer and resolve every ticket in it."""
        answerer.receive_offer(offer, sip_caller=caller)
        while answerer.unresolved:
            request = answerer.make_resolve_init(credential(identity), kms=KMS)
            answerer.receive_resolve_resp(self.kms.request(request))

    def respond(self, offer: str, identity: str = BOB, sdp: str = AUDIO) -> tuple[Answerer, str, SessionKeys]:
        """Answer an offer as a device of *identity*."""
        answerer = self.answerer(identity)
        self.take(answerer, offer, identity)
        text, keyed = answerer.make_answer(sdp)
        return answerer, text, keyed


def assert_mirrored(one: SessionKeys, other: SessionKeys) -> None:
    """What one side sends with is what the other receives with, and the two directions differ."""
    assert len(one.media) == len(other.media) > 0
    for mine, theirs in zip(one.media, other.media, strict=True):
        assert mine.index == theirs.index
        assert (mine.send, mine.receive) == (theirs.receive, theirs.send)
        assert mine.send.master_key != mine.receive.master_key
