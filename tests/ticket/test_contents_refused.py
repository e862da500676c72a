"""Tickets and transfers whose MACs are right and whose contents are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sipmikey.keys.derivation import ticket_keys
from sipmikey.keys.mac import compute_mac
from sipmikey.keys.suite import SUITE_256
from sipmikey.keys.transport import NO_CSB_ID, seal_keys
from sipmikey.mikey import GenericIdEntry, KeyData, Message, Secret, SrtpPolicy, SrtpSessionData, TicketFlags
from sipmikey.mikey.errors import (
    InvalidIdentity,
    InvalidSecurityPolicy,
    InvalidTicket,
    InvalidTicketPolicy,
    InvalidTimestamp,
    LocalError,
    MalformedMessage,
    UnexpectedMessage,
    UnsupportedSecurityPolicy,
)
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.rand import RAND
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.ticket import THDR, TICKET, TicketFlag, encode_ticket_data
from sipmikey.mikey.timestamp import T
from sipmikey.ticket import (
    KmsInit,
    RequestAtKms,
    RequestedKey,
    TicketPolicy,
    TicketProtectionKey,
    TicketRequest,
    TransferInitiator,
    TransferResponder,
    UpdateInitiator,
    UpdateResponder,
)
from sipmikey.ticket.base_ticket import make_session_keys, open_ticket, seal_ticket
from sipmikey.ticket.bundle import SessionRands, derive_crypto_session
from sipmikey.ticket.identity import aliases
from sipmikey.ticket.policy import FULL_MODE
from sipmikey.ticket.protection import empty_v
from sipmikey.ticket.resolve import check_initiator_data
from sipmikey.ticket.transfer_message import carried_keys, check_rands, joined_keys
from sipmikey.ticket.update import _check_key_stream
from tests.ticket.parties import (
    ALICE,
    BOB,
    KMS,
    Clock,
    Kms,
    environment,
    policy,
    psk,
    request_ticket,
    start_transfer,
)
from tests.ticket.test_exchanges import _established as established_bundles

TPK = TicketProtectionKey(key=Secret(b"t" * 32))
MPK = KeyData(key_type=KeyDataType.MPK, key=Secret(b"m" * 32))
TGK = KeyData(key_type=KeyDataType.TGK, key=Secret(b"k" * 32), spi=b"spi1")
GRANTED = policy(keys=())


def ticket_of(keys: Sequence[KeyData], *, rand: bytes = b"r" * 32, v_first: bool = False) -> TICKET:
    """Return a ticket that encodes *keys*, with a right MAC."""
    stamp = environment().timestamp()
    protection = ticket_keys(TPK.prf(SUITE_256.prf), rand)
    kemac = seal_keys(keys, SUITE_256.encr_alg, protection, csb_id=NO_CSB_ID, timestamp=stamp)
    payloads = (T(timestamp=stamp), RAND(rand=rand), kemac)
    blank = empty_v(SUITE_256)
    octets = encode_ticket_data(THDR(), (blank, *payloads) if v_first else (*payloads, blank))
    ticket, length = GRANTED.ticket(octets), SUITE_256.mac_alg.length
    if v_first:
        return ticket  # its place is looked at before its MAC
    covered = b"".join((ticket.policy_octets, len(octets).to_bytes(2, "big"), octets[:-length]))
    mac = compute_mac(SUITE_256.mac_alg, protection.auth_key(SUITE_256.mac_alg), covered)
    return ticket.with_data(ticket_data=octets[:-length] + mac)


@pytest.mark.parametrize(
    ("ticket", "words"),
    [
        (ticket_of([MPK, TGK], v_first=True), "V is not the last"),
        (ticket_of([TGK]), "first key is not an MPK"),
        (ticket_of([]), "first key is not an MPK"),
        (ticket_of([MPK, MPK]), "more than one MPK"),
        (ticket_of([MPK, TGK], rand=b"r" * 16), "too short"),
    ],
    ids=["V", "no MPK", "no key", "two MPKs", "RAND"],
)
def test_a_ticket_that_holds_something_else_is_refused(ticket: TICKET, words: str) -> None:
    with pytest.raises(InvalidTicket, match=words):
        open_ticket(ticket, GRANTED, TPK, DEFAULT_LIMITS)
    assert open_ticket(ticket_of([MPK, TGK]), GRANTED, TPK, DEFAULT_LIMITS).keys[0].key == TGK.key


def test_a_ticket_is_sealed_with_a_key_as_long_as_its_suite_asks() -> None:
    short = TicketProtectionKey(key=Secret(b"t" * 16))
    with pytest.raises(LocalError, match="at least 32 bytes"):
        seal_ticket(environment(), GRANTED, short, ())


def test_two_keys_never_get_one_spi() -> None:
    drawn = iter((b"same", b"1" * 32, b"same", b"next", b"2" * 32))
    env = replace(environment(), random=lambda _: next(drawn))
    wanted = [RequestedKey(length=32), RequestedKey(length=32)]
    assert [key.spi for key in make_session_keys(env, wanted)] == [b"same", b"next"]


def test_an_spi_names_one_key() -> None:
    with pytest.raises(MalformedMessage, match="an SPI names two keys"):
        joined_keys([TGK], [TGK])


def test_rands_are_as_long_as_the_longest_key() -> None:
    with pytest.raises(MalformedMessage, match="the longest key has 32"):
        check_rands(b"r" * 16, b"", MPK.key, ())


def test_initiator_data_is_there_with_key_forking_only() -> None:
    plain = policy(flags=FULL_MODE.with_flag(TicketFlag.I, False), keys=())
    with pytest.raises(MalformedMessage, match="without key forking"):
        check_initiator_data(
            plain.ticket(b"").with_data(initiator_data=b"mine"), plain, MPK.key, DEFAULT_LIMITS
        )


def test_a_tek_is_as_long_as_its_policy_asks() -> None:
    srtp = SrtpPolicy.aes_cm(16)
    entry = GenericIdEntry(cs_id=1, policies=(0,), session_data=SrtpSessionData(ssrc=1).encode(), spi=b"spi1")
    tek = replace(TGK, key_type=KeyDataType.TEK)
    rands = SessionRands(rand_i=b"r" * 32, rand_r=b"r" * 32)
    with pytest.raises(InvalidSecurityPolicy, match="the TEK has 32 bytes"):
        derive_crypto_session(entry, {0: srtp.payload(0)}, [tek], SUITE_256, rands)
    with pytest.raises(UnsupportedSecurityPolicy, match="not SRTP"):
        derive_crypto_session(replace(entry, prot_type=9), {0: srtp.payload(0)}, [TGK], SUITE_256, rands)


def test_who_is_no_uri_of_a_phone_has_one_form() -> None:
    assert aliases("urn:uuid:1") == frozenset({"urn:uuid:1"})


class TestTransfers:
    def test_a_ticket_of_another_kind_of_processing_starts_no_transfer(self) -> None:
        env = environment()
        grant = request_ticket(env, Kms(env), policy())
        other = replace(grant.policy, flags=grant.policy.flags.with_flag(TicketFlag.N, False))
        with pytest.raises(LocalError, match="N is 0"):
            start_transfer(env, replace(grant, policy=other))

    def test_a_transfer_without_response_takes_none(self) -> None:
        env = environment()
        grant = request_ticket(env, Kms(env), policy())
        transfer = start_transfer(env, grant)
        silent = replace(grant.policy, flags=TicketFlags.of("DEHLNO"))
        asked = TransferInitiator(
            env, replace(grant, policy=silent), transfer.message, initiator=ALICE, responder=BOB
        )
        message = Message.parse(transfer.message)
        response = bytearray(message.raw)
        response[1] = 15
        with pytest.raises(UnexpectedMessage, match="F is 0"):
            asked.receive(bytes(response))

    def test_keys_are_given_once_the_message_has_been_verified(self) -> None:
        env = environment()
        transfer = start_transfer(env, request_ticket(env, Kms(env), policy()))
        with pytest.raises(LocalError, match="has not been verified"):
            TransferResponder(env, transfer.message, identity=BOB).session_keys()

    def test_somebody_has_to_name_the_initiator(self) -> None:
        clock = Clock()
        env = environment(clock)
        grant = request_ticket(env, Kms(env), replace(policy(), initiator=None))
        message = Message.parse(start_transfer(env, grant).message)
        nameless = [item for item in message.payloads if not isinstance(item, IDR)]
        assert TicketPolicy.of(message.one(TICKET)).initiator is None
        with pytest.raises(InvalidIdentity, match="neither TRANSFER_INIT nor the ticket"):
            TransferResponder(env, Message.build(message.header, nameless).raw, identity=BOB)


def test_a_ticket_of_the_kms_says_so() -> None:
    clock = Clock()
    env = environment(clock)
    asking = TicketRequest.start(env, policy=policy(), credential=psk(ALICE), identity=ALICE, kms=KMS)
    init = KmsInit(env, asking.message)
    asked = RequestAtKms(env, init.verify_psk(psk(ALICE), owner=ALICE, kms=KMS))
    assert asking.changes(asking.receive(asked.grant(asked.policy, Kms(env).tpk, kms=KMS)[0])) == ()
    own = replace(asked.policy, flags=asked.policy.flags.with_flag(TicketFlag.D, False))
    with pytest.raises(InvalidTicketPolicy, match="D is 0"):
        asking.receive(asked.grant(own, Kms(env).tpk, kms=KMS)[0])


def test_two_messages_with_keys_never_have_one_timestamp() -> None:
    clock = Clock()
    initiator, responder = established_bundles(clock)
    first, second = (replace(TGK, spi=name, key=Secret(name * 8)) for name in (b"new1", b"new2"))
    update = UpdateInitiator.start(environment(clock), initiator, keys=[first])
    message = Message.parse(update.message)
    stamp = message.one(T).timestamp.unix_ns()
    received = UpdateResponder(replace(environment(clock), now_ns=lambda: stamp), responder, update.message)
    with pytest.raises(LocalError, match="same key stream"):
        received.respond(crypto_sessions=received.crypto_sessions, keys=[second])
    with pytest.raises(InvalidTimestamp, match="repeats that of the initial message"):
        _check_key_stream(message, message)


def test_a_transfer_carries_no_mpk() -> None:
    clock = Clock()
    initiator, _ = established_bundles(clock)
    message = Message.parse(UpdateInitiator.start(environment(clock), initiator).message)
    stamp, protection = message.one(T).timestamp, initiator.protection
    kemac = seal_keys([MPK], SUITE_256.encr_alg, protection, csb_id=message.header.csb_id, timestamp=stamp)
    carrying = Message.build(message.header, [kemac, *message.payloads])
    with pytest.raises(MalformedMessage, match="an MPK is not sent"):
        carried_keys(environment(clock), carrying, protection, allowed=True, what="TRANSFER_INIT")
