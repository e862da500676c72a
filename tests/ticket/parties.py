"""Parties of a MIKEY-TICKET call for tests: a clock that moves, seeded randomness, a KMS in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.mikey import SP, GenericIdEntry, Secret, SrtpPolicy, SrtpSessionData, TicketFlags
from sipmikey.ticket import (
    FULL_MODE,
    Environment,
    KmsInit,
    PreSharedKey,
    RequestAtKms,
    RequestedKey,
    ResolveAtKms,
    ResolvedTicket,
    TicketGrant,
    TicketPolicy,
    TicketProtectionKey,
    TicketRequest,
    TicketResolve,
    TransferInitiator,
    TransferResponder,
)
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST

ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"
KMS = "sip:kms@example.com"
START_NS = 1_772_366_400 * 10**9


@dataclass
class Clock:
    """A clock in nanoseconds that moves by a microsecond each time it is read."""

    ns: int = START_NS

    def __call__(self) -> int:
        self.ns += 1000
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


@dataclass
class Randomness:
    """A reproducible stream of octets."""

    seed: bytes = b"seed"
    count: int = 0

    def __call__(self, length: int) -> bytes:
        self.count += 1
        return hashlib.shake_256(self.seed + self.count.to_bytes(4, "big")).digest(length)


def environment(clock: Clock | None = None, seed: str = "seed") -> Environment:
    return Environment(now_ns=clock or Clock(), random=Randomness(seed.encode()))


def psk(name: str, suite: Suite = SUITE_256) -> PreSharedKey:
    key = hashlib.sha256(name.encode()).digest()[: suite.key_length]
    return PreSharedKey(key=Secret(key), key_id=name.encode())


@dataclass
class Kms:
    """A KMS that knows everybody's PSK and answers every request as asked."""

    env: Environment
    suite: Suite = SUITE_256
    aliases: dict[str, str] = field(default_factory=dict)
    grants: list[TicketGrant] = field(default_factory=list)

    @property
    def tpk(self) -> TicketProtectionKey:
        key = hashlib.sha256(b"tpk").digest()[: self.suite.key_length]
        return TicketProtectionKey(key=Secret(key), key_id=b"tpk-1")

    def answer(self, data: bytes) -> bytes:
        init = KmsInit(self.env, data)
        owner = init.identity or ""
        authenticated = init.verify_psk(psk(owner, self.suite), owner=owner, kms=KMS)
        if init.kind is TICKET_REQUEST:
            request = RequestAtKms(self.env, authenticated)
            response, grant = request.grant(request.policy, self.tpk, kms=KMS)
            self.grants.append(grant)
            return response
        resolve = ResolveAtKms(self.env, authenticated)
        contents = resolve.open(self.tpk)
        return resolve.respond(contents, answerer=self.aliases.get(owner, owner), kms=KMS)


def policy(
    suite: Suite = SUITE_256,
    flags: TicketFlags = FULL_MODE,
    *,
    responders: tuple[str, ...] = (BOB,),
    keys: tuple[RequestedKey, ...] | None = None,
) -> TicketPolicy:
    wanted = (RequestedKey(length=suite.key_length),) if keys is None else keys
    return TicketPolicy(
        suite=suite, flags=flags, responders=responders, kms=KMS, initiator=ALICE, requested_keys=wanted
    )


def request_ticket(env: Environment, kms: Kms, wanted: TicketPolicy) -> TicketGrant:
    request = TicketRequest.start(
        env, policy=wanted, credential=psk(ALICE, kms.suite), identity=ALICE, kms=KMS
    )
    return request.receive(kms.answer(request.message))


def offered_sessions(grant: TicketGrant) -> tuple[tuple[GenericIdEntry, ...], tuple[SP, ...]]:
    """One stream: CS ID 1 from the Initiator, CS ID 2 from the Responder."""
    spi = grant.keys[0].spi or b"" if grant.keys else b""
    sessions = (
        GenericIdEntry(
            cs_id=1, policies=(0,), session_data=SrtpSessionData(ssrc=0x11111111).encode(), spi=spi
        ),
        GenericIdEntry(cs_id=2, policies=(0,)),
    )
    return sessions, (SrtpPolicy.aes_cm(grant.policy.suite.key_length).payload(0),)


def complete_sessions(responder: TransferResponder, ssrc: int = 0x22222222) -> tuple[GenericIdEntry, ...]:
    """The offered sessions with what they still lack."""
    spi = responder.session_keys()[0].spi or b""
    return tuple(
        GenericIdEntry(
            cs_id=entry.cs_id,
            policies=entry.policies[:1],
            session_data=entry.session_data or SrtpSessionData(ssrc=ssrc).encode(),
            s=entry.s,
            spi=entry.spi or spi,
        )
        for entry in responder.crypto_sessions
    )


def start_transfer(env: Environment, grant: TicketGrant, responder: str = BOB) -> TransferInitiator:
    sessions, policies = offered_sessions(grant)
    return TransferInitiator.start(
        env, grant, crypto_sessions=sessions, policies=policies, initiator=ALICE, responder=responder
    )


def resolve_ticket(
    env: Environment, kms: Kms, responder: TransferResponder, identity: str = BOB
) -> ResolvedTicket:
    resolve = TicketResolve.start(
        env, ticket=responder.ticket, credential=psk(identity, kms.suite), identity=identity, kms=KMS
    )
    return resolve.receive(kms.answer(resolve.message))
