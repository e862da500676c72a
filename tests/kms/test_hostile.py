"""Nothing hostile is granted, nothing is answered with a 5xx, nothing breaks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.registry import DataType
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.policy import RequestedKey
from tests.kms.domain import Domain, with_initiator_data
from tests.kms.hostile import attack, domain, genuine, mutated, protected_again, signed_by_alice


def test_a_campaign_of_mutated_replayed_and_crossed_messages(tmp_path: Path) -> None:
    kms = domain(tmp_path)
    answers = attack(kms, 4000, seed=6043)
    assert sum(answers.values()) >= 4000
    assert all(kms.handle(message).granted for message in genuine(kms)), "it still answers"
    kms.close()


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
def test_a_ticket_altered_in_any_octet_is_refused(kms: Domain, suite: Suite) -> None:
    """Every octet of the TICKET payload that its issuer or initiator protects, resolved by its responder."""
    grant = kms.ask(policy=kms.wanted(suite=suite))
    ticket = with_initiator_data(grant)
    kms.resolve(ticket)
    for field in ("ticket_data", "initiator_data"):
        octets = getattr(ticket, field)
        for at in range(len(octets)):
            changed = octets[:at] + bytes((octets[at] ^ 1 << at % 8,)) + octets[at + 1 :]
            outcome = kms.handle(kms.resolving(replace(ticket, **{field: changed})).message)
            assert 400 <= outcome.status < 500, (field, at, outcome.reason)


def test_a_ticket_policy_altered_in_any_bit_is_refused(kms: Domain) -> None:
    """Also where the sender, who holds a key of its own, makes the message's MAC verify again."""
    ticket = with_initiator_data(kms.ask())
    whole = kms.resolving(ticket).message
    start = whole.index(ticket.policy_octets)
    assert kms.handle(protected_again(kms, whole, whole)).granted, "the MAC made here is the right one"
    for bit in range(8 * len(ticket.policy_octets)):
        altered = bytearray(whole)
        altered[start + bit // 8] ^= 1 << bit % 8
        outcome = kms.handle(protected_again(kms, whole, bytes(altered)))
        assert 400 <= outcome.status < 500, (bit, outcome.reason)
        assert outcome.reason not in {"auth-failure", "replayed-message"}, bit


@given(st.binary(max_size=400))
def test_random_octets_are_refused(hostile_kms: Domain, octets: bytes) -> None:
    outcome = hostile_kms.handle(octets)
    assert outcome.status in {400, 404, 413}


@given(st.binary(max_size=300), st.sampled_from(DataType))
def test_random_octets_after_a_plausible_header_are_refused(
    hostile_kms: Domain, octets: bytes, kind: DataType
) -> None:
    outcome = hostile_kms.handle(bytes((1, kind, 5, 0x81)) + b"csb!" + b"\0\1" + octets)
    assert 400 <= outcome.status < 500


@pytest.fixture(scope="module")
def hostile_kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Domain]:
    kms = domain(tmp_path_factory.mktemp("hostile"))
    yield kms
    kms.close()


def test_what_an_authentic_sender_asks_is_granted_within_policy_or_refused(kms: Domain) -> None:
    """A subscriber with a hostile client: any alteration of its request, correctly protected."""
    draw = random.Random(1)
    wanted = kms.wanted(
        valid_until=Timestamp.ntp_utc_32(kms.clock.seconds() + 600),
        rekeying_interval_s=60,
        applications=("sip:app@example.com",),
        requested_keys=(RequestedKey(length=32), RequestedKey(length=16)),
    )
    answers: Counter[str] = Counter()
    for _ in range(3000):
        original = kms.request("alice", wanted).message
        altered = mutated(original, draw).message
        outcome = kms.handle(signed_by_alice(kms, original, altered))
        assert outcome.granted or 400 <= outcome.status < 500, (outcome.reason, altered.hex())
        answers[outcome.reason] += 1
    assert answers["granted"] > 100, "alterations of random values and identities are still valid requests"
    assert answers["invalid-ticket-policy"] > 10
