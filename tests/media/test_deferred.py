"""A message left for somebody offline: only the addressee plays it, and only through the KMS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.kms.audit import Exchange
from sipmikey.media.deferred import (
    DEFERRED_FLAGS,
    Played,
    deferred_ticket_policy,
    leave_message,
    play_message,
    read_transfer,
)
from sipmikey.media.g711 import PCMA
from sipmikey.media.rtpdump import RtpDump, RtpDumpPacket, parse_rtpdump
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
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.transfer import TransferInitiator
from tests.kms.domain import KMS, NS, Domain, subscriber, uri
from tests.media.keys import noise_frames

ALICE, BOB = uri("alice"), uri("bob")
FRAMES = noise_frames(30, seed=5)
HOUR = 3600
KEPT_FOR_S = 24 * HOUR


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Domain]:
    domain = Domain.make(
        tmp_path, subscribers=[subscriber("alice"), subscriber("bob"), subscriber("voicemail")]
    )
    yield domain
    domain.close()


@dataclass(frozen=True, kw_only=True)
class Deposit:
    """All that the keeper of the message has."""

    transfer_init: bytes
    rtpdump: bytes


def leave(kms: Domain, suite: Suite = SUITE_256, srtp: SrtpPolicy | None = None) -> Deposit:
    until = Timestamp.ntp_utc_32(kms.clock.seconds() + 20 * HOUR)
    wanted = deferred_ticket_policy(suite, initiator=ALICE, addressee=BOB, kms=KMS, valid_until=until)
    message, recording = leave_message(
        kms.env,
        kms.ask(policy=wanted),
        FRAMES,
        codec=PCMA,
        srtp=srtp or SrtpPolicy.aes_gcm(suite.key_length),
        initiator=ALICE,
        addressee=BOB,
    )
    return Deposit(transfer_init=message, rtpdump=recording.encode())


def play(kms: Domain, deposit: Deposit, replay: ReplayCache | None = None) -> Played:
    transfer = read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=KEPT_FOR_S)
    transfer.verify(kms.resolve(transfer.ticket), replay)
    return play_message(transfer, parse_rtpdump(deposit.rtpdump))


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
    deposit = leave(kms, suite, srtp)
    kms.clock.advance(15 * HOUR)
    found = play(kms, deposit)
    assert [payload for _, payload in found.frames] == list(FRAMES)
    assert (found.refused, found.missing) == (0, 0)
    first = found.frames[0][0]
    assert [(timestamp - first) % 2**32 for timestamp, _ in found.frames] == [n * 160 for n in range(30)]


def test_the_deposit_holds_no_sound_and_no_key(kms: Domain) -> None:
    until = Timestamp.ntp_utc_32(kms.clock.seconds() + HOUR)
    grant = kms.ask(
        policy=deferred_ticket_policy(SUITE_256, initiator=ALICE, addressee=BOB, kms=KMS, valid_until=until)
    )
    message, recording = leave_message(
        kms.env, grant, FRAMES, codec=PCMA, srtp=SrtpPolicy.aes_gcm(), initiator=ALICE, addressee=BOB
    )
    kept = message + recording.encode()
    for secret in (grant.mpk_i.reveal(), *(key.key.reveal() for key in grant.keys), *FRAMES):
        assert secret[:16] not in kept


def test_the_kms_does_not_open_it_for_the_keeper(kms: Domain) -> None:
    deposit = leave(kms)
    transfer = read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=KEPT_FOR_S)
    exchange = kms.resolving(transfer.ticket, "voicemail")
    outcome = kms.handle(exchange.message, Exchange.RESOLVE)
    assert not outcome.granted
    assert outcome.body is None or outcome.body != b""
    with pytest.raises(PeerError):
        exchange.receive(outcome.body or b"")
    with pytest.raises(LocalError, match="not been verified"):
        play_message(transfer, parse_rtpdump(deposit.rtpdump))


def test_after_the_ticket_has_expired_nobody_plays_it(kms: Domain) -> None:
    deposit = leave(kms)
    kms.clock.advance(21 * HOUR)
    with pytest.raises(TicketNotValid):
        play(kms, deposit)


def test_a_message_kept_too_long_or_from_the_future_is_refused(kms: Domain) -> None:
    deposit = leave(kms)
    kms.clock.advance(2 * HOUR)
    with pytest.raises(InvalidTimestamp, match="behind"):
        read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=HOUR)
    kms.clock.now -= 3 * HOUR * NS
    with pytest.raises(InvalidTimestamp, match="future"):
        read_transfer(kms.env, deposit.transfer_init, identity=BOB, kept_for_s=KEPT_FOR_S)


def test_a_message_left_again_is_noticed_by_who_remembers(kms: Domain) -> None:
    deposit = leave(kms)
    cache = ReplayCache(clock_skew_s=KEPT_FOR_S)
    play(kms, deposit, cache)
    kms.clock.advance(10 * HOUR)
    with pytest.raises(ReplayedMessage):
        play(kms, deposit, cache)


def test_a_changed_deposit_is_noticed(kms: Domain) -> None:
    deposit = leave(kms)
    broken = bytearray(deposit.transfer_init)
    broken[-1] ^= 1
    with pytest.raises(AuthenticationFailure):
        play(kms, replace(deposit, transfer_init=bytes(broken)))
    recording = parse_rtpdump(deposit.rtpdump)
    packets = list(recording.packets)
    changed = bytearray(packets[3].packet)
    changed[40] ^= 1
    packets[3] = RtpDumpPacket(offset_ms=60, packet=bytes(changed))
    packets[10:12] = []
    packets.append(packets[20])
    found = play(kms, replace(deposit, rtpdump=RtpDump(packets=tuple(packets)).encode()))
    assert len(found.frames) == 27
    assert (found.refused, found.missing) == (2, 3)
    cut = play(kms, replace(deposit, rtpdump=RtpDump(packets=recording.packets[5:20]).encode()))
    assert (len(cut.frames), cut.missing) == (15, 5)  # the end cut off is not noticed


def test_packets_of_another_message_are_not_played(kms: Domain) -> None:
    one, other = leave(kms), leave(kms)
    found = play(kms, replace(one, rtpdump=other.rtpdump))
    assert (found.frames, found.refused) == ((), 30)


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
