"""Ticket Request and Ticket Resolve at the KMS: what is answered, and what is refused and how."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.kms.audit import Decision, Exchange
from sipmikey.kms.service import KeyManagementService, KmsSettings, StoreUnavailable, run
from sipmikey.kms.subscribers import PskRecord
from sipmikey.kms.tpk import TpkRecord
from sipmikey.mikey.errors import LocalError, PeerReportedError
from sipmikey.mikey.header import Header
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import CsIdMapType, DataType, ErrorNo, KeyDataType, PrfFunc
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.error_message import build_error
from sipmikey.ticket.policy import RequestedKey
from sipmikey.ticket.request import TicketRequest, make_ticket
from tests.kms.domain import KMS, NS, Domain, credential, psk_of, subscriber, uri, with_initiator_data
from tests.kms.hostile import signed_by_alice


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
def test_a_ticket_is_granted_and_resolved_to_the_same_mpk_i(kms: Domain, suite: Suite) -> None:
    grant = kms.ask(policy=kms.wanted(suite=suite))
    resolved = kms.resolve(with_initiator_data(grant))
    assert resolved.mpk_i == grant.mpk_i
    assert resolved.answerer is not None
    assert resolved.answerer.data == uri("bob").encode()
    assert grant.policy.initiator == uri("alice")
    assert grant.policy.kms == KMS


def test_forked_keys_differ_from_those_in_the_ticket_and_between_resolvers(tmp_path: Path) -> None:
    group = "sip:support@example.com"
    kms = Domain.make(
        tmp_path,
        subscribers=[
            subscriber("alice"),
            subscriber("bob", groups=[group]),
            subscriber("carol", groups=[group]),
        ],
    )
    grant = kms.ask(policy=kms.wanted(group))
    ticket = with_initiator_data(grant)
    by_bob, by_carol = kms.resolve(ticket, "bob"), kms.resolve(ticket, "carol")
    keys = {grant.keys[0].key.reveal(), by_bob.keys[0].key.reveal(), by_carol.keys[0].key.reveal()}
    assert len(keys) == 3
    assert len({grant.mpk_r, by_bob.mpk_r, by_carol.mpk_r}) == 3
    kms.close()


def test_without_forking_everybody_gets_the_same_keys(kms: Domain) -> None:
    flags = TicketFlags.of("DEFGHNO")
    grant = kms.ask(policy=kms.wanted(flags=flags))
    assert grant.mpk_r is None
    resolved = kms.resolve(grant.ticket)
    assert [key.key for key in resolved.keys] == [key.key for key in grant.keys]


def test_requested_keys_are_made_as_asked(kms: Domain) -> None:
    wanted = (
        RequestedKey(key_type=KeyDataType.TGK, length=32),
        RequestedKey(key_type=KeyDataType.TEK_SALT, length=16, salt_length=14),
        RequestedKey(key_type=KeyDataType.GTGK, length=32),
    )
    grant = kms.ask(policy=kms.wanted(requested_keys=wanted))
    assert [(key.key_type, len(key.key)) for key in grant.keys] == [(w.key_type, w.length) for w in wanted]


def test_a_replay_is_refused_and_audited(kms: Domain) -> None:
    message = kms.request().message
    assert kms.handle(message).granted
    again = kms.handle(message)
    assert (again.status, again.reason) == (400, "replayed-message")
    assert [event.reason for event in kms.audit()] == ["replayed-message", "granted"]


def test_a_replay_is_refused_whatever_its_mac_says_as_long_as_it_verifies_nothing_is_remembered(
    kms: Domain,
) -> None:
    message = kms.request().message
    broken = message[:-1] + bytes((message[-1] ^ 1,))
    assert kms.handle(broken).reason == "auth-failure"
    assert kms.handle(message).granted, "an unauthenticated message must leave no trace in the replay cache"


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_clock_off_by_more_than_the_skew_is_refused(kms: Domain, seconds: int) -> None:
    message = kms.request().message
    kms.clock.advance(seconds)
    outcome = kms.handle(message)
    assert (outcome.status, outcome.reason) == (400, "invalid-timestamp")


def test_a_replay_is_remembered_for_as_long_as_its_timestamp_is_accepted(kms: Domain) -> None:
    kms.clock.advance(300)
    message = kms.request().message
    kms.clock.advance(-299)
    assert kms.handle(message).granted
    for _ in range(12):
        kms.clock.advance(49.8)
        run(kms.store.replay.forget_expired(now_s=kms.clock.seconds()))
        assert kms.handle(message).reason == "replayed-message"


def test_a_counter_timestamp_is_refused_unless_the_kms_accepts_them(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, settings=KmsSettings(identity=KMS, accept_counter=True))
    counting = replace(kms.env, counter=lambda: 7)
    request = TicketRequest.start(
        counting, policy=kms.wanted(), credential=credential("alice"), identity=uri("alice"), kms=KMS
    )
    assert kms.handle(request.message).granted
    kms.clock.advance(10**7)
    assert kms.handle(request.message).reason == "replayed-message"
    strict = KeyManagementService(kms.env, KmsSettings(identity=KMS), kms.service.policy, kms.store.lookups())
    assert run(strict.handle(request.message)).reason == "invalid-timestamp"
    kms.close()


def test_an_identity_the_credential_does_not_own_is_refused_and_audited(kms: Domain) -> None:
    request = kms.request("bob", identity=uri("alice"))
    outcome = kms.handle(request.message)
    assert (outcome.status, outcome.reason) == (403, "identity-not-owned")
    event = kms.audit()[0]
    assert (event.subscriber, event.identity, event.decision) == ("bob", uri("alice"), Decision.REFUSED)
    with pytest.raises(PeerReportedError) as caught:
        request.receive(outcome.body or b"")
    assert caught.value.authenticated
    assert caught.value.error_numbers == (ErrorNo.INVALID_ID,)


def test_a_ticket_in_anothers_name_is_refused(kms: Domain) -> None:
    outcome = kms.handle(kms.request("bob", kms.wanted(uri("bob"), initiator=uri("alice"))).message)
    assert (outcome.status, outcome.reason) == (403, "identity-not-owned")


def test_any_of_several_identities_may_be_used_and_is_the_one_in_the_ticket(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice", "tel:+46701234567"), subscriber("bob")])
    grant = kms.ask(identity="tel:+46701234567")
    assert grant.policy.initiator == "tel:+46701234567"
    kms.close()


def test_the_resolvers_identity_is_adjusted_to_the_one_the_ticket_names(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice"), subscriber("bob", "tel:+46701234567")])
    grant = kms.ask(policy=kms.wanted("tel:+46701234567"))
    resolved = kms.resolve(with_initiator_data(grant), identity=uri("bob"))
    assert resolved.answerer is not None
    assert resolved.answerer.data == b"tel:+46701234567"
    kms.close()


@pytest.mark.parametrize("responder", ["sip:*@example.com", "sip:support@example.com"])
def test_members_resolve_at_resolve_time_and_answer_under_their_own_name(
    tmp_path: Path, responder: str
) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice"), subscriber("bob"), subscriber("carol")])
    ticket = with_initiator_data(kms.ask(policy=kms.wanted(responder)))
    if "*" not in responder:
        assert kms.handle(kms.resolving(ticket).message).reason == "not-authorized"
        run(kms.store.subscribers.add_group(responder, [uri("bob")]))
    resolved = kms.resolve(ticket)
    assert resolved.answerer is not None
    assert resolved.answerer.data == uri("bob").encode()
    if "*" not in responder:
        assert kms.handle(kms.resolving(ticket, "carol").message).status == 403
        run(kms.store.subscribers.remove_members(responder, [uri("bob")]))
        assert kms.handle(kms.resolving(ticket).message).reason == "not-authorized"
    kms.close()


def test_a_wildcard_is_not_for_another_domain(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice"), subscriber("bob")])
    ticket = with_initiator_data(kms.ask(policy=kms.wanted("sip:*@support.example.com")))
    outcome = kms.handle(kms.resolving(ticket).message)
    assert (outcome.status, outcome.reason) == (403, "not-authorized")
    kms.close()


def test_only_the_named_responder_may_resolve(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice"), subscriber("bob"), subscriber("mallory")])
    grant = kms.ask()
    outcome = kms.handle(kms.resolving(with_initiator_data(grant), "mallory").message)
    assert (outcome.status, outcome.reason) == (403, "not-authorized")
    event = kms.audit(ticket=grant.ticket_id, decision=Decision.REFUSED)[0]
    assert (event.subscriber, event.exchange, event.peers) == ("mallory", Exchange.RESOLVE, (uri("alice"),))
    kms.close()


def test_initiator_data_of_another_is_refused(kms: Domain) -> None:
    grant, other = kms.ask(), kms.ask()
    stolen = replace(grant.ticket, initiator_data=with_initiator_data(other).initiator_data)
    outcome = kms.handle(kms.resolving(stolen).message)
    assert (outcome.status, outcome.granted) == (400, False)


def test_an_expired_ticket_is_refused(kms: Domain) -> None:
    ticket = with_initiator_data(kms.ask())
    kms.clock.advance(3601)
    outcome = kms.handle(kms.resolving(ticket).message)
    assert (outcome.status, outcome.reason) == (403, "ticket-expired")


def test_messages_that_leave_out_what_the_kms_can_find(kms: Domain) -> None:
    """IDRpsk left out: the key is found by identity, the one still valid among several."""
    run(kms.store.subscribers.rotate_psk("alice", PskRecord(key_id=b"new", key=psk_of("new")), overlap_s=60))
    for key in ("alice", "new"):
        request = TicketRequest.start(
            kms.env,
            policy=kms.wanted(),
            credential=PreSharedKey(key=psk_of(key)),
            identity=uri("alice"),
            kms=KMS,
        )
        assert kms.handle(request.message).granted
        assert kms.audit()[0].credential == (b"alice" if key == "alice" else b"new").hex()


def test_a_rotated_key_is_refused_after_the_overlap(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path)
    run(kms.store.subscribers.rotate_psk("alice", PskRecord(key_id=b"new", key=psk_of("new")), overlap_s=60))
    assert kms.handle(kms.request().message).granted
    kms.clock.advance(61)
    outcome = kms.handle(kms.request().message)
    assert (outcome.status, outcome.reason) == (401, "unknown-key")
    kms.close()


def test_an_unknown_key_and_a_disabled_subscriber_get_401(kms: Domain) -> None:
    unknown = TicketRequest.start(
        kms.env,
        policy=kms.wanted(),
        credential=PreSharedKey(key=psk_of("x"), key_id=b"nobody"),
        identity=uri("alice"),
        kms=KMS,
    )
    assert (kms.handle(unknown.message).status, kms.handle(unknown.message).reason) == (401, "unknown-key")
    run(kms.store.subscribers.set_enabled("alice", False))
    assert kms.handle(kms.request().message).status == 401
    run(kms.store.subscribers.set_enabled("alice", True))
    assert kms.handle(kms.request().message).granted, "a change must take effect at once"


def test_a_message_for_another_kms_is_404(kms: Domain) -> None:
    request = TicketRequest.start(
        kms.env,
        policy=kms.wanted(),
        credential=credential("alice"),
        identity=uri("alice"),
        kms="sip:kms@elsewhere.example",
    )
    assert kms.handle(request.message).status == 404


def test_the_wrong_exchange_is_a_mismatch(kms: Domain) -> None:
    outcome = kms.handle(kms.request().message, Exchange.RESOLVE)
    assert (outcome.status, outcome.reason) == (400, "unexpected-message")


def test_an_error_message_is_never_answered_with_one(kms: Domain) -> None:
    header = Header(
        data_type=DataType.REQUEST_INIT_PSK, prf=PrfFunc.MIKEY_1, csb_id=1, map_type=CsIdMapType.EMPTY
    )
    outcome = kms.handle(build_error(kms.env, header, [ErrorNo.UNSPECIFIED]))
    assert (outcome.status, outcome.body) == (400, None)


@pytest.mark.parametrize(
    "message", [b"", b"\0", b"\x01", bytes(70_000)], ids=["empty", "one", "version", "long"]
)
def test_what_is_no_message_gets_a_4xx_and_no_audit_entry(kms: Domain, message: bytes) -> None:
    outcome = kms.handle(message)
    assert outcome.status in {400, 413}
    assert outcome.body is None
    assert kms.audit() == []


def test_a_refusal_carries_an_error_about_the_message(kms: Domain) -> None:
    request = kms.request()
    outcome = kms.handle(request.message[:-1] + bytes((request.message[-1] ^ 1,)))
    assert outcome.body is not None
    header = Message.parse(outcome.body).header
    asked = Message.parse(request.message).header
    assert (header.data_type, header.csb_id, header.prf) == (DataType.ERROR, asked.csb_id, asked.prf)


class Limiter:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def retry_after(self, name: str) -> float | None:
        self.asked.append(name)
        return 2.5 if len(self.asked) > 1 else None


def test_a_subscriber_over_its_rate_gets_429_and_only_authenticated_messages_count(kms: Domain) -> None:
    limiter = Limiter()
    service = KeyManagementService(
        kms.env, KmsSettings(identity=KMS), kms.service.policy, kms.store.lookups(limiter)
    )
    message = kms.request().message
    assert run(service.handle(message[:-1] + bytes((message[-1] ^ 1,)))).status == 403
    assert limiter.asked == []
    assert run(service.handle(message)).granted
    outcome = run(service.handle(kms.request().message))
    assert (outcome.status, outcome.retry_after_s) == (429, 2.5)


class Broken:
    """Lookups of a store that is down."""

    def __getattr__(self, name: str) -> object:
        async def fail(*args: object, **kwargs: object) -> object:
            raise StoreUnavailable("the database is down")

        return fail


@pytest.mark.parametrize("part", ["credentials", "ticket_keys", "replay", "audit"])
def test_a_store_that_is_down_gives_503_and_no_ticket(kms: Domain, part: str) -> None:
    lookups = replace(kms.store.lookups(), **{part: Broken()})  # type: ignore[arg-type]
    service = KeyManagementService(kms.env, KmsSettings(identity=KMS), kms.service.policy, lookups)
    outcome = run(service.handle(kms.request().message))
    assert (outcome.status, outcome.body, outcome.reason) == (503, None, "unavailable")
    assert outcome.retry_after_s is not None


def test_a_row_that_does_not_open_is_503_and_hurts_nobody_else(kms: Domain) -> None:
    run(kms.store.directory.execute("UPDATE psk SET sealed = x'0100' WHERE key_id = ?1", b"alice"))
    outcome = kms.handle(kms.request().message)
    assert (outcome.status, outcome.reason) == (503, "unavailable")
    assert kms.handle(kms.request("bob", kms.wanted(uri("alice"))).message).granted


def test_tickets_of_retired_keys_resolve_until_the_last_has_expired(kms: Domain) -> None:
    ticket = with_initiator_data(kms.ask())
    first = run(kms.store.ticket_keys.list())[0]
    run(kms.store.ticket_keys.rotate(now_s=kms.clock.seconds()))
    second = with_initiator_data(kms.ask())
    assert second.ticket_data != ticket.ticket_data
    for _ in range(3):
        run(kms.store.ticket_keys.forget_expired(now_s=kms.clock.seconds()))
        kms.resolve(ticket)
        kms.clock.advance(1100)
    kms.clock.advance(2 * 3600)
    run(kms.store.ticket_keys.forget_expired(now_s=kms.clock.seconds()))
    assert first.key_id not in [key.key_id for key in run(kms.store.ticket_keys.list())]
    outcome = kms.handle(kms.resolving(ticket).message)
    assert (outcome.status, outcome.reason) == (400, "invalid-ticket")


def shared_tpk(owner: str, now_s: int) -> TpkRecord:
    return TpkRecord(
        key_id=f"tpk {owner}".encode(),
        key=Secret(psk_of(f"tpk {owner}").reveal()),
        owner=owner,
        created_s=now_s,
        resolves_until_s=now_s + 10**6,
    )


def test_mode_3_the_initiator_makes_its_ticket_in_its_own_name_only(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice"), subscriber("bob"), subscriber("mallory")])
    tpk = shared_tpk("alice", kms.clock.seconds())
    run(kms.store.ticket_keys.share(tpk, now_s=kms.clock.seconds()))
    until = Timestamp.ntp_utc_32(kms.clock.seconds() + 600)
    wanted = kms.wanted(
        flags=TicketFlags.of("EFGHILNO"),
        initiator=uri("alice"),
        valid_until=until,
        requested_keys=(RequestedKey(length=32),),
    )
    own = make_ticket(kms.env, wanted, tpk.protection)
    assert kms.resolve(with_initiator_data(own)).mpk_i == own.mpk_i
    forged = make_ticket(kms.env, replace(wanted, initiator=uri("mallory")), tpk.protection)
    assert kms.handle(kms.resolving(with_initiator_data(forged)).message).status == 403
    as_the_kms = replace(wanted, flags=TicketFlags.of("DEFGHINO"), initiator=uri("mallory"))
    pretended = make_ticket_as_kms(kms.env, as_the_kms, tpk)
    assert kms.handle(kms.resolving(pretended).message).reason == "not-authorized"  # type: ignore[arg-type]
    kms.close()


def make_ticket_as_kms(env: Environment, policy: object, tpk: TpkRecord) -> object:
    from sipmikey.ticket.base_ticket import make_session_keys, seal_ticket
    from sipmikey.ticket.policy import TicketPolicy
    from sipmikey.ticket.request import grant_of

    assert isinstance(policy, TicketPolicy)
    keys = make_session_keys(env, policy.requested_keys)
    granted = policy.without_requested_keys()
    ticket, contents = seal_ticket(env, granted, tpk.protection, keys)
    return with_initiator_data(grant_of(ticket, granted, contents))


def test_mode_2_the_kms_seals_for_the_responder_who_may_also_ask_the_kms(tmp_path: Path) -> None:
    policy = """
    [[rule]]
    name = "kerberos-like"
    from = ["*"]
    to = ["*"]
    decision = "allow"
    limits = "kerberos"
    [limits.kerberos]
    ticket_key = "responder"
    flags = {resolve_mandatory = "forced-off", key_forking = "forced-off"}
    """
    kms = Domain.make(
        tmp_path, policy, subscribers=[subscriber("alice"), subscriber("bob"), subscriber("carol")]
    )
    outcome = kms.handle(kms.request().message)
    assert outcome.reason == "not-authorized", "bob shares no key yet"
    tpk = shared_tpk("bob", kms.clock.seconds())
    run(kms.store.ticket_keys.share(tpk, now_s=kms.clock.seconds()))
    grant = kms.ask()
    assert not grant.policy.flags.resolve_mandatory
    from sipmikey.ticket.resolve import resolve_locally

    local = resolve_locally(kms.env, grant.ticket, tpk.protection, identity=uri("bob"))
    assert local.mpk_i == grant.mpk_i
    assert kms.resolve(grant.ticket).mpk_i == grant.mpk_i
    assert kms.handle(kms.resolving(grant.ticket, "carol").message).status == 403
    kms.close()


def test_the_validity_asked_for_is_granted_unchanged_without_k(kms: Domain) -> None:
    until = Timestamp.ntp_utc((kms.clock.seconds() + 1800) * NS)
    grant = kms.ask(policy=kms.wanted(valid_until=until))
    assert grant.policy.valid_until == until
    assert not grant.policy.flags.changed


def test_a_lookup_that_waits_needs_an_event_loop(kms: Domain) -> None:
    class Waiting:
        async def psk_by_key_id(self, key_id: bytes) -> None:
            await asyncio.sleep(0)

    lookups = replace(kms.store.lookups(), credentials=Waiting())  # type: ignore[arg-type]
    service = KeyManagementService(kms.env, KmsSettings(identity=KMS), kms.service.policy, lookups)
    with pytest.raises(LocalError, match="event loop"):
        run(service.handle(kms.request().message))
    assert asyncio.run(service.handle(kms.request().message)).status == 401


def test_a_key_is_refused_before_and_after_its_validity(kms: Domain) -> None:
    now = kms.clock.seconds()
    record = PskRecord(key_id=b"later", key=psk_of("later"), valid_from_s=now + 60, valid_until_s=now + 120)
    run(kms.store.subscribers.add_psk("alice", record))

    def asked() -> int:
        request = TicketRequest.start(
            kms.env,
            policy=kms.wanted(),
            credential=PreSharedKey(key=psk_of("later"), key_id=b"later"),
            identity=uri("alice"),
            kms=KMS,
        )
        return kms.handle(request.message).status

    assert asked() == 401
    kms.clock.advance(61)
    assert asked() == 200
    kms.clock.advance(60)
    assert asked() == 401


@pytest.mark.parametrize("count", [32, 33])
def test_a_ticket_has_a_bounded_number_of_responders(kms: Domain, count: int) -> None:
    wanted = kms.wanted(*(uri(f"user{number}") for number in range(count)))
    assert kms.handle(kms.request("alice", wanted).message).status == (200 if count == 32 else 403)


@pytest.mark.parametrize("field", ["initiator", "kms", "responders", "applications"])
def test_an_identity_in_the_ticket_policy_that_is_no_uri_is_refused(kms: Domain, field: str) -> None:
    """The client's own layer refuses to build it, so it is written into the message in place of a URI."""
    given = uri("alice") if field == "initiator" else KMS if field == "kms" else "sip:target@example.com"
    value = (given,) if field in {"responders", "applications"} else given
    wanted = kms.wanted(**{"initiator": uri("alice"), "kms": KMS} | {field: value})  # type: ignore[arg-type]
    original = kms.request("alice", wanted).message
    at = original.rindex(given.encode())
    broken = original[:at] + b"!" * len(given) + original[at + len(given) :]
    outcome = kms.handle(signed_by_alice(kms, original, broken))
    assert (outcome.status, outcome.reason) == (403, "invalid-identity")
