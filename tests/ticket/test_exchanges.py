"""The three exchanges together, for both suites."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey import KeyData, Secret, TicketFlags, Timestamp
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    InvalidIdentity,
    InvalidTicketPolicy,
    InvalidTimestamp,
    PeerError,
    ReplayedMessage,
    TicketNotValid,
)
from sipmikey.mikey.registry import KeyDataType
from sipmikey.ticket import (
    CryptoSessionBundle,
    ReplayCache,
    TicketGrant,
    TransferInitiator,
    TransferResponder,
    UpdateInitiator,
    UpdateResponder,
)
from sipmikey.ticket.request import check_acceptable
from tests.ticket.parties import (
    ALICE,
    BOB,
    CAROL,
    START_NS,
    Clock,
    Kms,
    complete_sessions,
    environment,
    offered_sessions,
    policy,
    request_ticket,
    resolve_ticket,
    start_transfer,
)

both_suites = pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=["128", "256"])


def answered(
    clock: Clock, kms: Kms, transfer: TransferInitiator, identity: str = BOB
) -> tuple[CryptoSessionBundle, CryptoSessionBundle]:
    """Let *identity* answer a transfer; return the bundles of the Initiator and of the Responder."""
    env = environment(clock, identity)
    responder = TransferResponder(env, transfer.message, identity=identity)
    responder.verify(resolve_ticket(env, kms, responder, identity))
    answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
    return transfer.receive(answer), bundle


@both_suites
@pytest.mark.parametrize("flags", ["DEFGHINO", "DEFGHNO", "DEFGNO", "DEFHJNO", "DEFGHILMNO"])
def test_both_sides_get_the_same_sessions(suite: Suite, flags: str) -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"), suite)
    grant = request_ticket(environment(clock, "alice"), kms, policy(suite, TicketFlags.of(flags)))
    initiator, responder = answered(clock, kms, start_transfer(environment(clock, "alice2"), grant))
    assert initiator.crypto_sessions == responder.crypto_sessions
    assert [item.cs_id for item in initiator.crypto_sessions] == [1, 2]
    assert initiator.crypto_sessions[0].master_key != initiator.crypto_sessions[1].master_key
    assert len(initiator.crypto_sessions[0].master_key) == suite.key_length
    assert (initiator.peer, responder.peer) == (BOB, ALICE)


@both_suites
def test_every_branch_has_keys_of_its_own(suite: Suite) -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"), suite)
    wanted = policy(suite, responders=(BOB, CAROL))
    grant = request_ticket(environment(clock, "alice"), kms, wanted)
    transfer = start_transfer(environment(clock, "alice2"), grant)
    at_bob = answered(clock, kms, transfer, BOB)
    at_carol = answered(clock, kms, transfer, CAROL)
    assert at_bob[0].crypto_sessions == at_bob[1].crypto_sessions
    assert at_carol[0].crypto_sessions == at_carol[1].crypto_sessions
    keys = {item.master_key for bundle in (at_bob[0], at_carol[0]) for item in bundle.crypto_sessions}
    assert len(keys) == 4
    assert (at_bob[0].peer, at_carol[0].peer) == (BOB, CAROL)


def test_the_kms_names_who_answered() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"), aliases={CAROL: "sip:it-support@example.com"})
    wanted = policy(responders=("sip:it-support@example.com",))
    grant = request_ticket(environment(clock, "alice"), kms, wanted)
    transfer = start_transfer(environment(clock, "alice2"), grant, "sip:it-support@example.com")
    initiator, _ = answered(clock, kms, transfer, CAROL)
    assert initiator.peer == "sip:it-support@example.com"


def test_a_replayed_transfer_init_is_refused() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "alice"), kms, policy())
    transfer = start_transfer(environment(clock, "alice2"), grant)
    env = environment(clock, "bob")
    cache = ReplayCache(clock_skew_s=env.clock_skew_s)
    first = TransferResponder(env, transfer.message, identity=BOB)
    first.verify(resolve_ticket(env, kms, first), cache)
    second = TransferResponder(env, transfer.message, identity=BOB)
    with pytest.raises(ReplayedMessage):
        second.verify(resolve_ticket(env, kms, second), cache)


@pytest.mark.parametrize("seconds", [-301, 301, 86400])
def test_a_message_outside_the_clock_skew_is_refused(seconds: int) -> None:
    clock, other = Clock(), Clock()
    other.advance(seconds)
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "alice"), kms, policy())
    transfer = start_transfer(environment(clock, "alice2"), grant)
    with pytest.raises(InvalidTimestamp):
        TransferResponder(environment(other, "bob"), transfer.message, identity=BOB)


def test_an_expired_ticket_is_refused_by_everybody() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    until = Timestamp.ntp_utc_32(clock.ns // 10**9 + 60)
    grant = request_ticket(environment(clock, "alice"), kms, replace(policy(), valid_until=until))
    transfer = start_transfer(environment(clock, "alice2"), grant)
    env = environment(clock, "bob")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    clock.advance(61)
    with pytest.raises(TicketNotValid):
        resolve_ticket(env, kms, responder)
    with pytest.raises(TicketNotValid):
        TransferResponder(env, transfer.message, identity=BOB)
    with pytest.raises(TicketNotValid):
        start_transfer(environment(clock, "alice3"), grant)


def test_another_initiator_cannot_use_a_stolen_ticket() -> None:
    """RFC 6043 section 12.4: Mallory inserts Alice's ticket into a message of her own."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    flags = TicketFlags.of("DEFGHNO")
    grant = request_ticket(environment(clock, "alice"), kms, policy(flags=flags))
    sessions, policies = offered_sessions(grant)
    transfer = TransferInitiator.start(
        environment(clock, "mallory"),
        grant,
        crypto_sessions=sessions,
        policies=policies,
        initiator="sip:mallory@example.com",
        responder=BOB,
    )
    env = environment(clock, "bob")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    resolved = resolve_ticket(env, kms, responder)
    with pytest.raises(InvalidIdentity):
        responder.verify(resolved)


def _established(clock: Clock) -> tuple[CryptoSessionBundle, CryptoSessionBundle]:
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "alice"), kms, policy())
    return answered(clock, kms, start_transfer(environment(clock, "alice2"), grant))


@pytest.mark.parametrize("by_initiator", [True, False], ids=["by-initiator", "by-responder"])
def test_a_csb_update_brings_new_keys_to_both_sides(by_initiator: bool) -> None:
    clock = Clock()
    bundles = _established(clock)
    starter, other = bundles if by_initiator else bundles[::-1]
    env = environment(clock, "update")
    tgk = KeyData(key_type=KeyDataType.TGK, key=Secret(env.random(32)), spi=b"new1")
    entries = tuple(replace(entry, spi=b"new1") for entry in starter.entries)
    update = UpdateInitiator.start(env, starter, crypto_sessions=entries, keys=[tgk])
    received = UpdateResponder(env, other, update.message)
    answer, other_after = received.respond(crypto_sessions=received.crypto_sessions)
    starter_after = update.receive(answer)
    assert starter_after.crypto_sessions == other_after.crypto_sessions
    before = {item.master_key for item in starter.crypto_sessions}
    assert before.isdisjoint({item.master_key for item in starter_after.crypto_sessions})
    with pytest.raises(PeerError):
        UpdateResponder(env, other_after, update.message)


def test_a_response_to_another_transfer_is_refused() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant: TicketGrant = request_ticket(environment(clock, "alice"), kms, policy())
    one = start_transfer(environment(clock, "alice2"), grant)
    two = start_transfer(environment(clock, "alice2"), grant)
    assert one.csb_id == two.csb_id
    env = environment(clock, "bob")
    responder = TransferResponder(env, one.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    answer, _ = responder.respond(crypto_sessions=complete_sessions(responder))
    with pytest.raises(AuthenticationFailure):
        two.receive(answer)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"flags": TicketFlags.of("DEFGHNO")}, "flags I were dropped"),
        ({"flags": TicketFlags.of("DEFHILMNO")}, "flags G were dropped"),
        ({"responders": (BOB, CAROL)}, "may resolve it too"),
        ({"initiator": CAROL}, "the Initiator is"),
        ({"suite": SUITE_128}, "the suite is"),
    ],
)
def test_a_granted_policy_that_protects_less_is_not_acceptable(changed: dict[str, object], why: str) -> None:
    desired = policy()
    with pytest.raises(InvalidTicketPolicy, match=why):
        check_acceptable(desired, replace(desired, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("letters", ["DEFGHIKNO", "DEFGHIKLMNO", "DEFGHIJLMNO"])
def test_a_granted_policy_may_be_narrower(letters: str) -> None:
    until = Timestamp.ntp_utc_32(START_NS // 10**9 + 60)
    desired = policy()
    check_acceptable(desired, replace(desired, flags=TicketFlags.of(letters), valid_until=until))
    later = Timestamp.ntp_utc_32(START_NS // 10**9 + 61)
    with pytest.raises(InvalidTicketPolicy, match="valid for longer"):
        check_acceptable(replace(desired, valid_until=until), replace(desired, valid_until=later))
