"""A message left for somebody offline: only the addressee plays it, and only through the KMS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.deferred.claims import facts_of
from sipmikey.deferred.deposit import Deposit, parse_deposit
from sipmikey.deferred.errors import DisorderedDeposit, ForgedPacket, IncompleteDeposit
from sipmikey.deferred.leaving import DEFERRED_FLAGS, leave_message
from sipmikey.deferred.opened_before import OpenedBefore, parse_opened
from sipmikey.deferred.opening import OpenedMessage, open_message, read_transfer
from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.kms.audit import Exchange
from sipmikey.media.g711 import PCMA
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    InvalidTicketPolicy,
    InvalidTimestamp,
    LocalError,
    PeerError,
    ReplayedMessage,
    TicketNotValid,
)
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.ticket.transfer import TransferInitiator
from tests.deferred.parties import ALICE, BOB, FRAMES, HOUR, domain, left, ticket
from tests.kms.domain import KMS, NS, Domain

KEPT_FOR_S = 24 * HOUR


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Domain]:
    made = domain(tmp_path)
    yield made
    made.close()


def play(kms: Domain, deposit: Deposit) -> OpenedMessage:
    transfer = read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=KEPT_FOR_S)
    transfer.verify(kms.resolve(transfer.ticket))
    return open_message(transfer, deposit)


def test_the_flags_are_those_of_a_transfer_that_nobody_answers() -> None:
    flags = DEFERRED_FLAGS
    assert not flags.response_sent
    assert not flags.randr_r
    assert flags.randr_i
    assert not flags.key_forking
    assert flags.resolve_mandatory


@pytest.mark.parametrize(
    ("suite", "srtp"),
    [
        (SUITE_128, SrtpPolicy.aes_cm(16)),
        (SUITE_128, SrtpPolicy.aes_cm(16, auth_tag_length=4)),
        (SUITE_256, SrtpPolicy.aes_gcm(32)),
    ],
    ids=["aes-80", "aes-32", "gcm"],
)
def test_the_addressee_plays_it_hours_later(kms: Domain, suite: Suite, srtp: SrtpPolicy) -> None:
    deposit = parse_deposit(left(kms, ticket(kms, suite=suite), srtp=srtp).encode())
    kms.clock.advance(15 * HOUR)
    found = play(kms, deposit)
    assert (found.sender, found.codec, found.frames) == (ALICE, PCMA, FRAMES)
    assert found.duration_s == deposit.duration_s == 0.6


def test_the_deposit_holds_no_sound_and_no_key(kms: Domain) -> None:
    grant = ticket(kms)
    kept = left(kms, grant).encode()
    for secret in (grant.mpk_i.reveal(), *(key.key.reveal() for key in grant.keys), *FRAMES):
        assert secret[:16] not in kept


def test_what_the_keeper_can_read(kms: Domain) -> None:
    facts = facts_of(left(kms).transfer_init)
    assert (facts.sender, facts.addressee, facts.kms) == (ALICE, BOB, KMS)
    assert facts.valid_until - facts.sent == pytest.approx(20 * HOUR, abs=2)


def test_the_kms_does_not_open_it_for_the_keeper(kms: Domain) -> None:
    deposit = left(kms)
    transfer = read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=KEPT_FOR_S)
    exchange = kms.resolving(transfer.ticket, "voicemail")
    outcome = kms.handle(exchange.message, Exchange.RESOLVE)
    assert not outcome.granted
    assert outcome.body is None or outcome.body != b""
    with pytest.raises(PeerError):
        exchange.receive(outcome.body or b"")
    with pytest.raises(LocalError, match="not been verified"):
        open_message(transfer, deposit)


def test_after_the_ticket_has_expired_nobody_plays_it(kms: Domain) -> None:
    deposit = left(kms)
    kms.clock.advance(21 * HOUR)
    with pytest.raises(TicketNotValid):
        play(kms, deposit)


def test_a_message_kept_too_long_or_from_the_future_is_refused(kms: Domain) -> None:
    deposit = left(kms)
    kms.clock.advance(2 * HOUR)
    with pytest.raises(InvalidTimestamp, match="behind"):
        read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=HOUR)
    kms.clock.now -= 3 * HOUR * NS
    with pytest.raises(InvalidTimestamp, match="future"):
        read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=KEPT_FOR_S)


def test_a_message_left_again_is_noticed_by_who_remembers(kms: Domain) -> None:
    deposit = left(kms)
    now = float(kms.clock.seconds())
    until = now + 20 * HOUR
    known = OpenedBefore().add(deposit.transfer_init, "one", until=until, now=now)
    known = parse_opened(known.encode()).add(deposit.transfer_init, "one", until=until, now=now)
    with pytest.raises(ReplayedMessage, match="opened before, as one"):
        known.add(deposit.transfer_init, "two", until=until, now=until - 1)
    later = known.add(b"another", "three", until=until + HOUR, now=until + 1)
    assert [name for name, _ in later.known.values()] == ["three"]


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', '{"a": ["b", "c"]}', "null"])
def test_a_memory_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(LocalError, match="list of messages"):
        parse_opened(text)


def test_a_changed_transfer_is_refused(kms: Domain) -> None:
    deposit = left(kms)
    broken = bytearray(deposit.transfer_init)
    broken[-1] ^= 1
    with pytest.raises(AuthenticationFailure):
        play(kms, replace(deposit, transfer_init=bytes(broken)))


@pytest.mark.parametrize("octet", [1, 4, 8, 12, 40, -1])
def test_a_changed_packet_is_refused_with_its_number(kms: Domain, octet: int) -> None:
    deposit = left(kms)
    packets = list(deposit.packets)
    changed = bytearray(packets[3])
    changed[octet] ^= 1
    packets[3] = bytes(changed)
    with pytest.raises(ForgedPacket, match="packet 4"):
        play(kms, replace(deposit, packets=tuple(packets)))


def test_a_beginning_cut_off_is_refused(kms: Domain) -> None:
    deposit = left(kms)
    with pytest.raises(DisorderedDeposit, match="5 before it are missing"):
        play(kms, replace(deposit, packets=deposit.packets[5:]))


def test_an_end_cut_off_is_refused(kms: Domain) -> None:
    deposit = left(kms)
    with pytest.raises(IncompleteDeposit, match="30 packets, and 20 are there"):
        play(kms, replace(deposit, packets=deposit.packets[:20]))


@pytest.mark.parametrize(
    "change",
    [lambda p: p[:10] + p[11:], lambda p: p[:10] + p[9:], lambda p: (*p[:5], p[6], p[5], *p[7:])],
    ids=["taken out", "doubled", "moved"],
)
def test_packets_out_of_order_are_refused_by_who_keeps_them_too(kms: Domain, change) -> None:
    deposit = left(kms)
    disordered = replace(deposit, packets=change(deposit.packets))
    with pytest.raises(DisorderedDeposit, match="sequence number"):
        parse_deposit(disordered.encode())
    with pytest.raises(DisorderedDeposit, match="sequence number"):
        play(kms, disordered)


def test_packets_of_another_message_are_not_played(kms: Domain) -> None:
    one, other = left(kms), left(kms)
    with pytest.raises((ForgedPacket, DisorderedDeposit)):
        play(kms, replace(one, packets=other.packets, closing=other.closing))
    with pytest.raises(ForgedPacket, match="packet 31"):
        play(kms, replace(one, closing=other.closing))


def test_a_ticket_that_wants_an_answer_is_no_use(kms: Domain) -> None:
    grant = kms.ask()
    with pytest.raises(LocalError, match="F is 1"):
        leave_message(
            kms.env, grant, FRAMES, codec=PCMA, srtp=SrtpPolicy.aes_gcm(), initiator=ALICE, addressee=BOB
        )
    transfer = TransferInitiator.start(
        kms.env, grant, crypto_sessions=(), policies=(), initiator=ALICE, responder=BOB
    )
    with pytest.raises(InvalidTicketPolicy, match="F is 1"):
        read_transfer(kms.env, transfer.message, identity=BOB, kept_for_s=KEPT_FOR_S)
