"""What the tickets' room refuses of its callers and of the peer, apart from the exchanges that go well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sipmikey.keys.derivation import initial_message_keys
from sipmikey.keys.revocation import Revocation
from sipmikey.keys.suite import SUITE_128, SUITE_256
from sipmikey.mikey import KeyData, Message, Secret, TicketFlags, Timestamp
from sipmikey.mikey.certificate import SIGN
from sipmikey.mikey.errors import (
    InvalidCertificate,
    InvalidIdentity,
    InvalidTicketPolicy,
    InvalidTimestamp,
    LimitExceeded,
    LocalError,
    MalformedMessage,
    PeerReportedError,
    ReplayedMessage,
    UnexpectedMessage,
    UnsupportedDataType,
)
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, encode_key_data
from sipmikey.mikey.registry import (
    EncrAlg,
    ErrorNo,
    IdRole,
    IdType,
    KeyDataType,
    MacAlg,
    TsRole,
)
from sipmikey.mikey.timestamp import TR, T
from sipmikey.mikey.verification import ERR
from sipmikey.ticket import (
    CertificateCredential,
    CryptoSessionBundle,
    KmsInit,
    PreSharedKey,
    ReplayCache,
    RequestAtKms,
    RequestedKey,
    ResolveAtKms,
    TicketPolicy,
    TicketProtectionKey,
    TicketRequest,
    TicketResolve,
    TransferResponder,
    UpdateInitiator,
    UpdateResponder,
    build_error,
    is_update,
)
from sipmikey.ticket.error_message import ErrorMessage
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.kms_exchange.client import KmsClientExchange
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST
from sipmikey.ticket.replay import ReplayKey
from sipmikey.ticket.request import check_acceptable, policy_changes
from tests.keys.test_revocation import revocation_list
from tests.ticket import test_public_key as public_key
from tests.ticket.parties import (
    ALICE,
    BOB,
    CAROL,
    KMS,
    Clock,
    Kms,
    environment,
    policy,
    psk,
    request_ticket,
    start_transfer,
)
from tests.ticket.test_exchanges import _established

SHORT = Secret(b"short")
COUNTER = Timestamp.counter(7)
KEYS = initial_message_keys(psk(ALICE).prf(SUITE_256.prf), 1, rand_i=bytes(32))

REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    "pre-shared key": ("at least 16", lambda: PreSharedKey(key=SHORT)),
    "ticket key": ("at least 16", lambda: TicketProtectionKey(key=SHORT)),
    "certificates": (
        "needs its own",
        lambda: CertificateCredential(private_key=None, certificates=(), kms_certificates=()),  # type: ignore[arg-type]
    ),
    "an MPK asked for": ("not asked for", lambda: RequestedKey(key_type=KeyDataType.MPK, length=32)),
    "a salt": ("has a salt", lambda: RequestedKey(key_type=KeyDataType.TGK_SALT, length=32)),
    "no salt": ("no salt", lambda: RequestedKey(key_type=KeyDataType.TGK, length=32, salt_length=14)),
    "no responder": ("at least one responder", lambda: policy(responders=())),
    "no room": ("at least one entry", lambda: ReplayCache(clock_skew_s=1, capacity=0)),
    "tel": ("is not a number", lambda: canonical("tel:nobody")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_where_it_is_made(name: str) -> None:
    words, make = REFUSED[name]
    with pytest.raises(LocalError, match=words):
        make()


class TestReplayCache:
    def key(self, name: str) -> ReplayKey:
        return ReplayKey.of(name, COUNTER, name.encode())

    def test_a_counter_has_to_grow(self) -> None:
        cache = ReplayCache(clock_skew_s=60, capacity=1)
        cache.add(self.key("a"), COUNTER, 0)
        cache.add(self.key("a"), Timestamp.counter(8), 0)
        with pytest.raises(ReplayedMessage, match="COUNTER 8 does not follow 8"):
            cache.add(self.key("a"), Timestamp.counter(8), 0)
        with pytest.raises(LimitExceeded):
            cache.add(self.key("b"), COUNTER, 0)

    def test_a_full_cache_refuses_until_an_entry_is_old(self) -> None:
        cache, second = ReplayCache(clock_skew_s=60, capacity=1), 1_000_000_000
        clock = Timestamp.ntp_utc(second)
        cache.add(self.key("a"), clock, 0)
        with pytest.raises(LimitExceeded):
            cache.add(self.key("b"), clock, 119 * second)
        cache.add(self.key("b"), clock, 120 * second)
        assert len(cache) == 1


class TestPolicies:
    def test_a_policy_ends_after_it_starts(self) -> None:
        now = Timestamp.ntp_utc_32(1_800_000_000)
        with pytest.raises(InvalidTicketPolicy, match="ends before it starts"):
            replace(policy(), valid_from=now, valid_until=now).check_validity_order()

    def test_a_counter_limits_no_validity(self) -> None:
        tp = policy().tp()
        limit = TR(role=TsRole.END, timestamp=COUNTER)
        with pytest.raises(InvalidTicketPolicy, match="COUNTER limits no validity"):
            TicketPolicy.of(replace(tp, payloads=(limit, *tp.payloads), policy_octets=b""))

    @pytest.mark.parametrize(
        ("kemac", "words"),
        [
            (KEMAC(encr_alg=EncrAlg.AES_CM_128, encr_data=b""), "must be NULL"),
            (
                KEMAC(
                    encr_alg=EncrAlg.NULL,
                    encr_data=encode_key_data([KeyData(key_type=KeyDataType.MPK, key=Secret(bytes(32)))]),
                ),
                "MPK is not asked for",
            ),
            (
                KEMAC(encr_alg=EncrAlg.NULL, encr_data=b"", mac_alg=MacAlg.HMAC_SHA_1_160, mac=bytes(20)),
                "NULL",
            ),
        ],
    )
    def test_the_keys_asked_for_are_lengths_in_the_clear(self, kemac: KEMAC, words: str) -> None:
        tp = policy(keys=()).tp()
        with pytest.raises(InvalidTicketPolicy, match=words):
            TicketPolicy.of(replace(tp, payloads=(*tp.payloads, kemac), policy_octets=b""))

    def test_a_policy_without_names_is_read_back(self) -> None:
        open_policy = replace(policy(), kms=None, initiator=None)
        assert TicketPolicy.of(open_policy.tp()) == open_policy

    def test_what_differs_is_named(self) -> None:
        until = Timestamp.ntp_utc_32(1_800_000_000)
        asked = replace(policy(), valid_until=until, applications=("sip:app@example.com",))
        given = replace(
            policy(SUITE_128, TicketFlags.of("DEFGH"), responders=(CAROL,)),
            initiator=CAROL,
            kms=None,
            applications=("sip:other@example.com",),
        )
        assert policy_changes(asked, given) == (
            "flags", "suite", "responders", "applications", "kms", "initiator", "valid_until",
        )  # fmt: skip

    def test_a_ticket_for_other_applications_is_not_acceptable(self) -> None:
        asked = replace(policy(), applications=("sip:app@example.com",))
        with pytest.raises(InvalidTicketPolicy, match="other applications"):
            check_acceptable(asked, replace(asked, applications=("sip:other@example.com",)))


class TestAtTheKms:
    def init(self, clock: Clock, wanted: TicketPolicy | None = None) -> KmsInit:
        asking = TicketRequest.start(
            environment(clock, "alice"),
            policy=wanted or policy(),
            credential=psk(ALICE),
            identity=ALICE,
            kms=KMS,
        )
        return KmsInit(environment(clock, "kms"), asking.message)

    def test_a_message_with_a_mac_has_no_signature(self) -> None:
        with pytest.raises(LocalError, match="pre-shared-key message"):
            self.init(Clock()).verify_pk(anchors=[], key_pairs=(), kms=KMS)

    def test_an_identity_of_a_policy_is_a_uri(self) -> None:
        clock = Clock()
        nobody = IDR(role=IdRole.APPLICATION, id_type=IdType.URI, data=b"nobody")
        tp = policy().tp()
        asking = KmsClientExchange.start(
            environment(clock), TICKET_REQUEST, suite=SUITE_256, credential=psk(ALICE), identity=ALICE,
            kms=KMS,
            body=replace(tp, payloads=(*tp.payloads, nobody), policy_octets=b""),
        )  # fmt: skip
        init = KmsInit(environment(clock), asking.message)
        with pytest.raises(InvalidIdentity, match="'nobody' is not a URI"):
            RequestAtKms(environment(clock), init.verify_psk(psk(ALICE), owner=ALICE, kms=KMS))

    def test_each_exchange_is_read_as_what_it_is(self) -> None:
        clock = Clock()
        env = environment(clock)
        asked = self.init(clock).verify_psk(psk(ALICE), owner=ALICE, kms=KMS)
        with pytest.raises(UnsupportedDataType, match="expected RESOLVE_INIT"):
            ResolveAtKms(env, asked)
        grant = request_ticket(env, Kms(env), policy())
        message = Message.parse(start_transfer(env, grant).message)
        resolving = TicketResolve.start(
            env, ticket=next(p for p in message.payloads if p.payload_type == grant.ticket.payload_type),  # type: ignore[arg-type]
            credential=psk(BOB), identity=BOB, kms=KMS,
        )  # fmt: skip
        resolved = KmsInit(env, resolving.message).verify_psk(psk(BOB), owner=BOB, kms=KMS)
        with pytest.raises(UnsupportedDataType, match="expected REQUEST_INIT"):
            RequestAtKms(env, resolved)
        assert ResolveAtKms(env, resolved).ticket_id == grant.ticket_id

    def test_what_is_not_of_a_kind_at_all_is_named(self) -> None:
        env = environment(Clock())
        grant = request_ticket(env, Kms(env), policy())
        transfer = start_transfer(env, grant)
        with pytest.raises(UnsupportedDataType, match="TRANSFER_INIT is not for a KMS"):
            KmsInit(env, transfer.message)
        asking = TicketRequest.start(env, policy=policy(), credential=psk(ALICE), identity=ALICE, kms=KMS)
        with pytest.raises(UnsupportedDataType, match="expected TRANSFER_INIT, got REQUEST_INIT"):
            TransferResponder(env, asking.message, identity=BOB)

    def test_a_certificate_is_needed_where_none_is_kept(self) -> None:
        time = public_key.clock()
        used = replace(public_key.credential(ALICE), sends_certificates=False)
        init = KmsInit(environment(time), public_key.start_request(time, used).message)
        with pytest.raises(LocalError, match="has no MAC"):
            init.verify_psk(psk(ALICE), owner=ALICE, kms=KMS)
        judged = {"anchors": [public_key.CA], "key_pairs": public_key.KMS_PAIRS, "kms": KMS}
        with pytest.raises(InvalidCertificate, match="none is known"):
            init.verify_pk(**judged)  # type: ignore[arg-type]
        kept = used.certificates[0]
        lists = Revocation(lists=(revocation_list(public_key.CA),), anchors=(public_key.CA,))
        assert init.verify_pk(**judged, known=kept, revocation=lists).identity == ALICE  # type: ignore[arg-type]
        assert "CertificateCredential" in repr(used)
        assert "KmsKeyPair" in repr(public_key.KMS_PAIRS[0])

    def test_a_signature_of_an_unknown_type_is_refused(self) -> None:
        time = public_key.clock()
        message = Message.parse(public_key.start_request(time, public_key.credential(ALICE)).message)
        *rest, signed = message.payloads
        assert isinstance(signed, SIGN)
        changed = Message.build(message.header, [*rest, replace(signed, signature_type=7)])
        with pytest.raises(InvalidCertificate, match="S type 7"):
            KmsInit(environment(time), changed.raw).verify_pk(
                anchors=[public_key.CA], key_pairs=public_key.KMS_PAIRS, kms=KMS
            )

    def test_a_key_without_a_name_is_found_by_its_owner(self) -> None:
        clock = Clock()
        nameless = replace(psk(ALICE), key_id=None)
        asking = TicketRequest.start(
            environment(clock), policy=policy(), credential=nameless, identity=ALICE, kms=KMS
        )
        assert KmsInit(environment(clock), asking.message).psk_id is None

    def test_v_is_last(self) -> None:
        clock = Clock()
        message = Message.parse(self.init(clock).message.raw)
        moved = Message.build(message.header, [message.payloads[-1], *message.payloads[:-1]])
        with pytest.raises(MalformedMessage, match="not the last payload"):
            KmsInit(environment(clock), moved.raw)


class TestErrors:
    def about(self) -> tuple[Clock, TicketRequest, Message]:
        clock = Clock()
        asking = TicketRequest.start(
            environment(clock), policy=policy(), credential=psk(ALICE), identity=ALICE, kms=KMS
        )
        return clock, asking, Message.parse(asking.message)

    def test_an_error_gives_one(self) -> None:
        clock, _, init = self.about()
        with pytest.raises(LocalError, match="at least one error"):
            build_error(environment(clock), init.header, [])
        error = Message.parse(build_error(environment(clock), init.header, [ErrorNo.AUTH_FAILURE]))
        empty = Message.build(error.header, [item for item in error.payloads if not isinstance(item, ERR)])
        with pytest.raises(MalformedMessage, match="ERR: is missing"):
            ErrorMessage.read(environment(clock), empty, init.header, SUITE_256, KEYS)
        with pytest.raises(UnexpectedMessage, match="not an Error"):
            ErrorMessage.read(environment(clock), init, init.header, SUITE_256, KEYS)

    def test_what_is_no_response_is_refused(self) -> None:
        _, asking, init = self.about()
        with pytest.raises(UnexpectedMessage, match="expected REQUEST_RESP, got REQUEST_INIT_PSK"):
            asking.receive(init.raw)


def established() -> tuple[Clock, CryptoSessionBundle, CryptoSessionBundle]:
    clock = Clock()
    return clock, *_established(clock)


class TestUpdates:
    def test_an_update_without_response(self) -> None:
        clock, initiator, responder = established()
        update = UpdateInitiator.start(environment(clock), initiator, expect_response=False)
        received = UpdateResponder(environment(clock), responder, update.message)
        assert is_update(received.message)
        assert received.accept().crypto_sessions == update.without_response().crypto_sessions

    def test_an_update_with_response_waits_for_it(self) -> None:
        clock, initiator, responder = established()
        update = UpdateInitiator.start(environment(clock), initiator)
        with pytest.raises(LocalError, match="waits for its response"):
            update.without_response()
        with pytest.raises(LocalError, match="expects a response"):
            UpdateResponder(environment(clock), responder, update.message).accept()
        with pytest.raises(UnexpectedMessage, match="expected TRANSFER_RESP"):
            update.receive(update.message)

    def test_an_error_about_an_update_reaches_who_started_it(self) -> None:
        clock, initiator, responder = established()
        update = UpdateInitiator.start(environment(clock), initiator)
        error = UpdateResponder(environment(clock), responder, update.message).error([ErrorNo.INVALID_SP])
        with pytest.raises(PeerReportedError) as caught:
            update.receive(error)
        assert caught.value.authenticated

    def test_a_clock_that_stands_still_starts_no_update(self) -> None:
        clock, initiator, _ = established()
        last = initiator.sent
        assert last is not None
        env = replace(environment(clock), now_ns=lambda: last.unix_ns())
        with pytest.raises(LocalError, match="has not moved"):
            UpdateInitiator.start(env, initiator)

    def test_an_update_of_another_suite_is_refused(self) -> None:
        clock, initiator, responder = established()
        update = UpdateInitiator.start(environment(clock), initiator)
        octets = bytearray(update.message)
        octets[3] = octets[3] & 0x80
        with pytest.raises(UnexpectedMessage, match="PRF func"):
            UpdateResponder(environment(clock), responder, bytes(octets))

    def test_a_counter_follows_a_counter(self) -> None:
        clock, initiator, responder = established()
        counted = replace(environment(clock), counter=iter(range(5, 9)).__next__)
        update = UpdateInitiator.start(counted, initiator)
        with pytest.raises(InvalidTimestamp):
            UpdateResponder(environment(clock), responder, update.message)
        first = UpdateResponder(environment(clock), replace(responder, received=None), update.message)
        assert first.message.one(T).timestamp == Timestamp.counter(5)
