"""Modes 2 to 4 of RFC 6043 section 4.1.1, transfers without response, pre-encrypted content, groups."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey import GenericIdEntry, KeyData, Secret, SrtpSessionData, TicketFlags
from sipmikey.mikey.errors import (
    InvalidTicket,
    InvalidTicketPolicy,
    LocalError,
    MalformedMessage,
    NotAuthorized,
    PeerError,
    UnexpectedMessage,
)
from sipmikey.mikey.registry import KeyDataType
from sipmikey.ticket import (
    RequestedKey,
    TicketPolicy,
    TransferInitiator,
    TransferResponder,
    make_ticket,
    resolve_locally,
)
from tests.ticket.parties import (
    ALICE,
    BOB,
    CAROL,
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


@both_suites
def test_kerberos_like_mode_needs_no_resolve(suite: Suite) -> None:
    """Mode 2: the Responder shares the TPK."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"), suite)
    grant = request_ticket(environment(clock, "a"), kms, policy(suite, TicketFlags.of("DFGHNO")))
    transfer = start_transfer(environment(clock, "a2"), grant)
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_locally(env, responder.ticket, kms.tpk, identity=BOB))
    answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
    assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions


def test_a_local_resolve_obeys_the_policy() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    env = environment(clock, "b")
    local = request_ticket(environment(clock, "a"), kms, policy(flags=TicketFlags.of("DFGHNO")))
    with pytest.raises(NotAuthorized):
        resolve_locally(env, local.ticket, kms.tpk, identity=CAROL)
    mandatory = request_ticket(environment(clock, "a"), kms, policy(flags=TicketFlags.of("DEFGHNO")))
    with pytest.raises(InvalidTicketPolicy):
        resolve_locally(env, mandatory.ticket, kms.tpk, identity=BOB)


@both_suites
@pytest.mark.parametrize("flags", ["EFGHLNO", "EFGHILNO"])
def test_otway_rees_like_mode_needs_no_request(suite: Suite, flags: str) -> None:
    """Mode 3: the Initiator makes the ticket under a TPK it shares with the KMS."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"), suite)
    grant = make_ticket(environment(clock, "a"), policy(suite, TicketFlags.of(flags)), kms.tpk)
    transfer = start_transfer(environment(clock, "a2"), grant)
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
    assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions


@both_suites
def test_preshared_mode_needs_no_kms(suite: Suite) -> None:
    """Mode 4: Initiator and Responder share the TPK."""
    clock = Clock()
    tpk = Kms(environment(clock, "x"), suite).tpk
    grant = make_ticket(environment(clock, "a"), policy(suite, TicketFlags.of("FGHLNO")), tpk)
    transfer = start_transfer(environment(clock, "a2"), grant)
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_locally(env, responder.ticket, tpk, identity=BOB))
    answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
    assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions


def test_the_maker_of_a_ticket_follows_the_d_flag() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    with pytest.raises(LocalError):
        make_ticket(environment(clock, "a"), policy(), kms.tpk)
    with pytest.raises(LocalError):
        request_ticket(environment(clock, "a"), kms, policy(flags=TicketFlags.of("EFGHLNO")))


def one_way(flags: str, suite: Suite = SUITE_256) -> tuple[TransferInitiator, Kms, Clock]:
    """A transfer that describes its only session completely."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"), suite)
    grant = request_ticket(environment(clock, "a"), kms, policy(suite, TicketFlags.of(flags)))
    sessions, policies = offered_sessions(grant)
    transfer = TransferInitiator.start(
        environment(clock, "a2"),
        grant,
        crypto_sessions=sessions[:1],
        policies=policies,
        initiator=ALICE,
        responder=BOB,
    )
    return transfer, kms, clock


def test_a_transfer_without_response_is_described_by_its_initiator() -> None:
    """F = 0, G = 0, I = 0: what deferred delivery uses."""
    transfer, kms, clock = one_way("DEHJLNO")
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    assert responder.accept().crypto_sessions == transfer.established().crypto_sessions
    with pytest.raises(LocalError):
        responder.respond(crypto_sessions=responder.crypto_sessions)
    with pytest.raises(UnexpectedMessage):
        transfer.receive(transfer.message)


def test_a_response_that_must_be_sent_cannot_be_left_out() -> None:
    transfer, kms, clock = one_way("DEFGHINO")
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    with pytest.raises(LocalError):
        responder.accept()
    with pytest.raises(LocalError):
        transfer.established()


def tek(spi: bytes, length: int = 32, salt: bytes = bytes(14)) -> KeyData:
    return KeyData(key_type=KeyDataType.TEK_SALT, key=Secret(b"T" * length), salt=Secret(salt), spi=spi)


def test_the_responder_supplies_the_tek_of_pre_encrypted_content() -> None:
    """RFC 6043 section 8: a ticket without session keys, the TEK in TRANSFER_RESP."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "a"), kms, policy(flags=TicketFlags.of("DEFGHIMNO"), keys=()))
    assert grant.keys == ()
    _, policies = offered_sessions(grant)
    transfer = TransferInitiator.start(
        environment(clock, "a2"),
        grant,
        crypto_sessions=[GenericIdEntry(cs_id=1, policies=(0,))],
        policies=policies,
        initiator=ALICE,
        responder=BOB,
    )
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    entry = GenericIdEntry(cs_id=1, policies=(0,), session_data=SrtpSessionData(ssrc=5).encode(), spi=b"film")
    answer, bundle = responder.respond(crypto_sessions=[entry], keys=[tek(b"film")])
    received = transfer.receive(answer)
    assert received.crypto_sessions == bundle.crypto_sessions
    assert received.crypto_sessions[0].master_key == Secret(b"T" * 32)


def test_the_initiator_supplies_the_tek_of_pre_encrypted_content() -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    wanted = policy(flags=TicketFlags.of("DEFGHILNO"), keys=())
    grant = request_ticket(environment(clock, "a"), kms, wanted)
    _, policies = offered_sessions(grant)
    entry = GenericIdEntry(cs_id=1, policies=(0,), session_data=SrtpSessionData(ssrc=5).encode(), spi=b"film")
    transfer = TransferInitiator.start(
        environment(clock, "a2"),
        grant,
        crypto_sessions=[entry],
        policies=policies,
        initiator=ALICE,
        responder=BOB,
        keys=[tek(b"film")],
    )
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    answer, bundle = responder.respond(crypto_sessions=[entry])
    assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions


def test_neither_side_supplies_keys_the_policy_forbids() -> None:
    transfer, kms, clock = one_way("DEFGHINO")
    with pytest.raises(LocalError):
        TransferInitiator.start(
            environment(clock, "a3"),
            transfer.grant,
            crypto_sessions=[],
            policies=[],
            initiator=ALICE,
            responder=BOB,
            keys=[tek(b"film")],
        )
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    with pytest.raises(LocalError):
        responder.respond(crypto_sessions=complete_sessions(responder), keys=[tek(b"film")])


def group_policy(suite: Suite = SUITE_256) -> TicketPolicy:
    """GTGK, RANDRi alone, key forking on: the members share a key that is not forked."""
    return policy(
        suite,
        TicketFlags.of("DEFHIJNO"),
        responders=(BOB, CAROL),
        keys=(RequestedKey(key_type=KeyDataType.GTGK, length=suite.key_length),),
    )


@both_suites
def test_a_group_shares_the_keys_of_a_gtgk(suite: Suite) -> None:
    """RFC 6043 section 9: centralised signalling, one ticket, the same RANDs in all transfers."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"), suite)
    grant = request_ticket(environment(clock, "a"), kms, group_policy(suite))
    sessions, policies = offered_sessions(grant)
    rand_i = None
    teks = set()
    for member in (BOB, CAROL):
        transfer = TransferInitiator.start(
            environment(clock, f"a-{member}"),
            grant,
            crypto_sessions=sessions[:1],
            policies=policies,
            initiator=ALICE,
            responder=member,
            rand_i=rand_i,
        )
        rand_i = transfer.rand_i
        env = environment(clock, member)
        responder = TransferResponder(env, transfer.message, identity=member)
        responder.verify(resolve_ticket(env, kms, responder, member))
        answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
        assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions
        teks.add(bundle.crypto_sessions[0].master_key)
    assert len(teks) == 1


def test_decentralised_signalling_sends_the_group_key_in_a_kemac() -> None:
    """RFC 6043 section 9.1: with key forking B needs a ticket of its own to pass the group key on."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    wanted = replace(policy(flags=TicketFlags.of("DEFHILNO"), responders=(CAROL,), keys=()), initiator=ALICE)
    grant = request_ticket(environment(clock, "b"), kms, wanted)
    group_key = KeyData(key_type=KeyDataType.GTGK, key=Secret(b"G" * 32), spi=b"grp1")
    entry = GenericIdEntry(cs_id=1, policies=(0,), session_data=SrtpSessionData(ssrc=9).encode(), spi=b"grp1")
    transfer = TransferInitiator.start(
        environment(clock, "b2"),
        grant,
        crypto_sessions=[entry],
        policies=offered_sessions(grant)[1],
        initiator=ALICE,
        responder=CAROL,
        keys=[group_key],
    )
    env = environment(clock, "c")
    responder = TransferResponder(env, transfer.message, identity=CAROL)
    responder.verify(resolve_ticket(env, kms, responder, CAROL))
    answer, bundle = responder.respond(crypto_sessions=[entry])
    assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions


def test_a_reused_ticket_gives_new_keys() -> None:
    """RFC 6043 section 5.3: new CSB ID and RANDs; the Responder resolves once and keeps the modifier."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "a"), kms, policy(flags=TicketFlags.of("DEFGHIJNO")))
    env = environment(clock, "b")
    resolved = None
    keys = set()
    for turn in range(2):
        transfer = start_transfer(environment(clock, f"a{turn}"), grant)
        responder = TransferResponder(env, transfer.message, identity=BOB)
        resolved = resolved or resolve_ticket(env, kms, responder)
        responder.verify(resolved)
        answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
        assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions
        keys |= {item.master_key for item in bundle.crypto_sessions}
    assert len(keys) == 4


def test_a_kept_ticket_is_not_given_another_initiator() -> None:
    """A party that may use a ticket again knows its keys, and could write another name into its policy."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "a"), kms, policy(flags=TicketFlags.of("DEFGHIJNO")))
    env = environment(clock, "b")
    first = TransferResponder(env, start_transfer(environment(clock, "a0"), grant).message, identity=BOB)
    resolved = resolve_ticket(env, kms, first)
    first.verify(resolved)
    claimed = replace(grant.policy, initiator=CAROL)
    forged = replace(grant, policy=claimed, ticket=claimed.ticket(grant.ticket.ticket_data))
    sessions, policies = offered_sessions(forged)
    transfer = TransferInitiator.start(
        environment(clock, "a1"), forged, crypto_sessions=sessions, policies=policies, initiator=CAROL,
        responder=BOB,
    )  # fmt: skip
    second = TransferResponder(env, transfer.message, identity=BOB)
    with pytest.raises(InvalidTicket, match="IDRi"):
        second.verify(resolved)


def test_crypto_sessions_of_a_response_are_complete() -> None:
    transfer, kms, clock = one_way("DEFGHINO")
    env = environment(clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    responder.verify(resolve_ticket(env, kms, responder))
    (entry,) = complete_sessions(responder)
    mpk_spi = next(key.spi for key in kms.grants[0].keys)
    assert entry.spi == mpk_spi
    for broken in (
        replace(entry, policies=()),
        replace(entry, policies=(0, 0)),
        replace(entry, policies=(9,)),
        replace(entry, spi=b""),
        replace(entry, spi=b"none"),
        replace(entry, session_data=b""),
        replace(entry, session_data=bytes(5)),
        replace(entry, s=True),
    ):
        with pytest.raises(PeerError):
            responder.respond(crypto_sessions=[broken])
    answer, _ = responder.respond(crypto_sessions=[entry, entry])
    with pytest.raises(MalformedMessage):
        transfer.receive(answer)
