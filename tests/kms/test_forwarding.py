"""Two KMSs: a ticket of the one is resolved through the other (RFC 6043 section 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sipmikey.kms.audit import Decision
from sipmikey.kms.service import Forward, KmsSettings, Outcome, PeerKms, run
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord
from sipmikey.mikey.errors import PeerReportedError
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve
from tests.kms.domain import (
    EVERYBODY,
    Clock,
    Domain,
    credential,
    psk_of,
    subscriber,
    uri,
    with_initiator_data,
)

KMS_A, KMS_B, KMS_C = "sip:kms@a.example", "sip:kms@b.example", "sip:kms@c.example"
LINK = psk_of("a and b")
BOB = "sip:bob@b.example"


def peer(identity: str) -> PeerKms:
    return PeerKms(identity=identity, url="https://x", key=LINK, key_id=b"link")


def linked(name: str, *vouches_for: str) -> SubscriberRecord:
    """Another KMS as this one's store knows it."""
    return SubscriberRecord(
        name=name,
        identities=(f"sip:kms@{name}",),
        psks=(PskRecord(key_id=b"link", key=LINK),),
        vouches_for=vouches_for,
    )


@dataclass
class Pair:
    a: Domain
    b: Domain

    def relay(self, outcome: Outcome) -> Outcome:
        """What the HTTP client between the KMSs does."""
        assert outcome.forward is not None
        answer = self.a.handle(outcome.forward.message)
        return self.finish(outcome.forward, answer.body or b"")

    def finish(self, forward: Forward, answer: bytes) -> Outcome:
        return run(self.b.service.forwarded(forward, answer))

    def resolving(self, *responders: str, flags: str = "DEFGHINO") -> TicketResolve:
        """Alice of A has a ticket for somebody of B, who asks B to resolve it."""
        wanted = replace(self.a.wanted(*responders), flags=TicketFlags.of(flags))
        grant = self.a.ask("alice", wanted)
        return TicketResolve.start(
            self.b.env,
            ticket=with_initiator_data(grant),
            credential=credential("bob"),
            identity=BOB,
            kms=KMS_B,
        )


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    clock = Clock()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    bob = SubscriberRecord(name="bob", identities=(BOB,), psks=(PskRecord(key_id=b"bob", key=psk_of("bob")),))
    a = Domain.make(
        tmp_path / "a",
        clock=clock,
        identity=KMS_A,
        subscribers=[subscriber("alice"), linked("b.example", "sip:*@b.example")],
    )
    b = Domain.make(
        tmp_path / "b",
        clock=clock,
        identity=KMS_B,
        settings=KmsSettings(identity=KMS_B, peers={KMS_A: peer(KMS_A)}),
        subscribers=[bob, linked("a.example", "sip:*@a.example")],
    )
    yield Pair(a, b)
    a.close()
    b.close()


@pytest.mark.parametrize("flags", ["DEFGHINO", "DEFGHNO"], ids=["forked", "not forked"])
def test_a_ticket_of_the_other_kms_is_resolved_there_and_the_keys_relayed(pair: Pair, flags: str) -> None:
    exchange = pair.resolving(BOB, flags=flags)
    first = pair.b.handle(exchange.message)
    assert (first.status, first.reason, first.body) == (202, "forwarded", None)
    assert first.forward is not None
    assert first.forward.kms == KMS_A
    outcome = pair.relay(first)
    assert outcome.granted, outcome.event.detail
    resolved = exchange.receive(outcome.body or b"")
    assert resolved.answerer is not None
    assert resolved.answerer.data == BOB.encode()
    assert [event.decision for event in pair.b.audit()] == [Decision.GRANTED, Decision.FORWARDED]
    at_a = pair.a.audit()[0]
    assert (at_a.subscriber, at_a.identity, at_a.decision) == ("b.example", BOB, Decision.GRANTED)


def test_a_group_of_the_responders_domain_is_checked_by_its_own_kms(pair: Pair) -> None:
    group = "sip:support@b.example"
    exchange = pair.resolving(group)
    refused = pair.b.handle(exchange.message)
    assert (refused.status, refused.reason) == (403, "not-authorized")
    run(pair.b.store.subscribers.add_group(group, [BOB]))
    exchange = pair.resolving(group)
    outcome = pair.relay(pair.b.handle(exchange.message))
    assert outcome.granted, outcome.event.detail
    answerer = exchange.receive(outcome.body or b"").answerer
    assert answerer is not None
    assert answerer.data == BOB.encode()


def test_a_kms_speaks_only_for_its_own_domain(pair: Pair) -> None:
    """B, or anyone with its key, asks A for the keys of a ticket for somebody of A."""
    grant = pair.a.ask("alice", pair.a.wanted(uri("carol")))
    stolen = TicketResolve.start(
        pair.b.env,
        ticket=with_initiator_data(grant),
        credential=peer(KMS_A).credential,
        identity=uri("carol"),
        kms=KMS_A,
    )
    assert pair.a.handle(stolen.message).reason == "identity-not-owned"


def test_the_link_key_is_not_found_by_identity(pair: Pair) -> None:
    nameless = TicketResolve.start(
        pair.b.env,
        ticket=with_initiator_data(pair.a.ask("alice", pair.a.wanted(BOB))),
        credential=replace(peer(KMS_A).credential, key_id=None),
        identity="sip:kms@b.example",
        kms=KMS_A,
    )
    assert pair.a.handle(nameless.message).reason == "unknown-key"


def test_what_was_passed_on_is_not_passed_on_again(pair: Pair) -> None:
    """B gets from A a ticket that is A's: sent round, it would never end."""
    grant = pair.a.ask("alice", pair.a.wanted(BOB))
    circling = TicketResolve.start(
        pair.a.env,
        ticket=with_initiator_data(grant),
        credential=peer(KMS_B).credential,
        identity="sip:dora@a.example",
        kms=KMS_B,
    )
    outcome = pair.b.handle(circling.message)
    assert (outcome.status, outcome.reason, outcome.forward) == (403, "forwarding-loop", None)


def test_a_ticket_of_a_stranger_is_refused(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    stranger = Domain.make(
        tmp_path / "c", clock=pair.a.clock, identity=KMS_C, subscribers=[subscriber("alice")]
    )
    grant = stranger.ask("alice", stranger.wanted(BOB))
    exchange = TicketResolve.start(
        pair.b.env, ticket=with_initiator_data(grant), credential=credential("bob"), identity=BOB, kms=KMS_B
    )
    outcome = pair.b.handle(exchange.message)
    assert (outcome.status, outcome.reason, outcome.forward) == (403, "untrusted-kms", None)
    stranger.close()


def test_a_kms_asks_for_no_tickets(pair: Pair) -> None:
    asking = TicketRequest.start(
        pair.b.env,
        policy=pair.a.wanted(BOB),
        credential=peer(KMS_A).credential,
        identity="sip:bob@b.example",
        kms=KMS_A,
    )
    assert pair.a.handle(asking.message).status == 403


def test_a_refusal_of_the_other_kms_is_passed_on(pair: Pair) -> None:
    exchange = pair.resolving(BOB)
    first = pair.b.handle(exchange.message)
    pair.a.use("")
    outcome = pair.relay(first)
    assert (outcome.status, outcome.reason) == (403, "not-authorized")
    with pytest.raises(PeerReportedError) as caught:
        exchange.receive(outcome.body or b"")
    assert caught.value.authenticated


@pytest.mark.parametrize("answer", [b"", b"\x01", bytes(100)])
def test_an_answer_that_cannot_be_used_is_502(pair: Pair, answer: bytes) -> None:
    first = pair.b.handle(pair.resolving(BOB).message)
    assert first.forward is not None
    outcome = pair.finish(first.forward, answer)
    assert (outcome.status, outcome.reason, outcome.body) == (502, "bad-gateway", None)


def test_an_altered_answer_is_502(pair: Pair) -> None:
    first = pair.b.handle(pair.resolving(BOB).message)
    assert first.forward is not None
    answer = bytearray(pair.a.handle(first.forward.message).body or b"")
    answer[len(answer) // 2] ^= 1
    assert pair.finish(first.forward, bytes(answer)).status == 502


@pytest.mark.parametrize(("timed_out", "status"), [(True, 504), (False, 502)])
def test_no_answer_ends_the_resolve(pair: Pair, timed_out: bool, status: int) -> None:
    first = pair.b.handle(pair.resolving(BOB).message)
    assert first.forward is not None
    outcome = run(pair.b.service.not_forwarded(first.forward, timed_out=timed_out, detail="gone"))
    assert (outcome.status, outcome.body) == (status, None)
    assert pair.b.audit()[0].decision is Decision.REFUSED


def test_the_responders_kms_asks_its_own_policy_too(pair: Pair) -> None:
    pair.b.use(EVERYBODY.replace('from = ["*"]', 'from = ["sip:*@elsewhere.example"]'))
    outcome = pair.b.handle(pair.resolving(BOB).message)
    assert (outcome.status, outcome.reason, outcome.forward) == (403, "not-authorized", None)


def test_the_responders_kms_judges_the_keys_it_relays(pair: Pair) -> None:
    pair.b.use(EVERYBODY + '[limits.default]\nkey_types = ["TEK"]')
    outcome = pair.relay(pair.b.handle(pair.resolving(BOB).message))
    assert (outcome.status, outcome.reason) == (403, "invalid-ticket-policy")
