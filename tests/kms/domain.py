"""A KMS of a domain on a real SQLite store, its subscribers, and a clock that the test sets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.kms.audit import AuditEvent, AuditQuery, Exchange
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.policy.rules import Policy
from sipmikey.kms.service import KeyManagementService, KmsSettings, Outcome, run
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TicketFlags
from sipmikey.mikey.verification import V
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketGrant, TicketRequest
from sipmikey.ticket.resolve import ResolvedTicket, TicketResolve, make_initiator_data

KMS = "sip:kms@example.com"
EVERYBODY = """
[[rule]]
name = "everybody"
from = ["*"]
to = ["*"]
decision = "allow"
"""
FLAGS = TicketFlags.of("DEFGHINO")
NS = 1_000_000_000


@dataclass(slots=True)
class Clock:
    """Nanoseconds since 1970; each reading is one later than the last."""

    now: int = 1_800_000_000 * NS

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * NS)

    def seconds(self) -> int:
        return self.now // NS


def uri(name: str) -> str:
    return f"sip:{name}@example.com"


def psk_of(name: str) -> Secret:
    return Secret(hashlib.sha256(name.encode()).digest())


def credential(name: str) -> PreSharedKey:
    return PreSharedKey(key=psk_of(name), key_id=name.encode())


def subscriber(name: str, *more: str, groups: Iterable[str] = (), **fields: object) -> SubscriberRecord:
    """A subscriber ``sip:NAME@example.com`` with a key named after it."""
    return SubscriberRecord(
        name=name,
        identities=(uri(name), *more),
        psks=(PskRecord(key_id=name.encode(), key=psk_of(name)),),
        groups=tuple(groups),
        **fields,  # type: ignore[arg-type]
    )


def environment(clock: Clock) -> Environment:
    return Environment(now_ns=clock, random=os.urandom)


@dataclass(slots=True)
class Domain:
    """A KMS with its store; `ask` and `resolve` are whole exchanges of subscribers with it."""

    clock: Clock
    env: Environment
    store: Store
    service: KeyManagementService
    identity: str = KMS

    @classmethod
    def make(
        cls,
        directory: Path,
        policy: str = EVERYBODY,
        *,
        identity: str = KMS,
        settings: KmsSettings | None = None,
        clock: Clock | None = None,
        subscribers: Iterable[SubscriberRecord] | None = None,
    ) -> Domain:
        clock = clock or Clock()
        env = environment(clock)
        store = run(
            open_store(f"sqlite:{directory}/kms.sqlite", Secret(bytes(range(32))), create=True, now_ns=clock)
        )
        people = (subscriber("alice"), subscriber("bob")) if subscribers is None else subscribers
        run(store.subscribers.load(people))
        service = KeyManagementService(
            env, settings or KmsSettings(identity=identity), parse_policy(policy), store.lookups()
        )
        return cls(clock=clock, env=env, store=store, service=service, identity=identity)

    def use(self, policy: str) -> Policy:
        self.service.policy = parse_policy(policy)
        return self.service.policy

    def wanted(self, *responders: str, suite: Suite = SUITE_256, **fields: object) -> TicketPolicy:
        return replace(
            TicketPolicy(suite=suite, flags=FLAGS, responders=responders or (uri("bob"),)),
            **fields,  # type: ignore[arg-type]
        )

    def request(
        self, name: str = "alice", policy: TicketPolicy | None = None, *, identity: str | None = None
    ) -> TicketRequest:
        return TicketRequest.start(
            self.env,
            policy=policy or self.wanted(),
            credential=credential(name),
            identity=identity or uri(name),
            kms=self.identity,
        )

    def ask(
        self, name: str = "alice", policy: TicketPolicy | None = None, *, identity: str | None = None
    ) -> TicketGrant:
        """Ask for a ticket and return it; fails the test if it is refused."""
        request = self.request(name, policy, identity=identity)
        outcome = self.handle(request.message, Exchange.REQUEST)
        assert outcome.body is not None
        assert outcome.granted, (outcome.reason, outcome.event.detail)
        return request.receive(outcome.body)

    def resolving(self, ticket: TICKET, name: str = "bob", *, identity: str | None = None) -> TicketResolve:
        return TicketResolve.start(
            self.env,
            ticket=ticket,
            credential=credential(name),
            identity=identity or uri(name),
            kms=self.identity,
        )

    def resolve(self, ticket: TICKET, name: str = "bob", *, identity: str | None = None) -> ResolvedTicket:
        """Resolve a ticket and return its keys; fails the test if it is refused."""
        exchange = self.resolving(ticket, name, identity=identity)
        outcome = self.handle(exchange.message, Exchange.RESOLVE)
        assert outcome.body is not None
        assert outcome.granted, (outcome.reason, outcome.event.detail)
        return exchange.receive(outcome.body)

    def handle(self, message: bytes, expected: Exchange = Exchange.UNKNOWN) -> Outcome:
        return run(self.service.handle(message, expected=expected, source="192.0.2.1"))

    def audit(self, **conditions: object) -> list[AuditEvent]:
        return list(run(self.store.audit.query(AuditQuery(**conditions))))  # type: ignore[arg-type]

    def close(self) -> None:
        run(self.store.close())


def with_initiator_data(grant: TicketGrant) -> TICKET:
    """The ticket as TRANSFER_INIT carries it: with Initiator Data where keys are forked."""
    if grant.mpk_r is None:
        return grant.ticket
    suite = grant.policy.suite
    vi = V(auth_alg=suite.mac_alg, mac=bytes(suite.mac_alg.length))
    return replace(grant.ticket, initiator_data=make_initiator_data(suite, vi, grant.mpk_r))
