"""The public-key variants at the KMS."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.keys.revocation import Revocation
from sipmikey.kms.service import KeyManagementService, KmsSettings, run
from sipmikey.ticket.credentials import CertificateCredential, KmsKeyPair
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve
from tests.keys.certificates import NOW, certificate, rsa_key
from tests.keys.test_revocation import revocation_list
from tests.kms.domain import EVERYBODY, KMS, NS, Clock, Domain, subscriber, uri, with_initiator_data

CA = certificate("ca", "ca", ca=True)
PAIR = KmsKeyPair(private_key=rsa_key("kms-1"), certificate=certificate("kms-1", "ca", uris=(KMS,)))
SETTINGS = KmsSettings(identity=KMS, key_pairs=(PAIR,), trust_anchors=(CA,))


def holder(*uris: str, key: str = "alice", issuer: str = "ca") -> CertificateCredential:
    return CertificateCredential(
        private_key=rsa_key(key),
        certificates=(certificate(key, issuer, uris=uris),),
        kms_certificates=(PAIR.certificate,),
    )


@pytest.fixture
def kms(tmp_path: Path) -> Domain:
    return Domain.make(tmp_path, EVERYBODY, settings=SETTINGS, clock=Clock(int(NOW.timestamp()) * NS))


def request(kms: Domain, used: CertificateCredential, identity: str = uri("alice")) -> TicketRequest:
    return TicketRequest.start(kms.env, policy=kms.wanted(), credential=used, identity=identity, kms=KMS)


def test_a_certificate_that_names_a_subscriber_asks_and_resolves(kms: Domain) -> None:
    asking = request(kms, holder(uri("alice")))
    outcome = kms.handle(asking.message)
    assert outcome.granted, outcome.event.detail
    grant = asking.receive(outcome.body or b"")
    resolving = TicketResolve.start(
        kms.env,
        ticket=with_initiator_data(grant),
        credential=holder(uri("bob"), key="bob"),
        identity=uri("bob"),
        kms=KMS,
    )
    answer = kms.handle(resolving.message)
    assert resolving.receive(answer.body or b"").mpk_i == grant.mpk_i
    assert len(kms.audit()[0].credential) == 64
    assert kms.handle(asking.message).reason == "replayed-message"
    kms.close()


def test_a_certificate_bound_to_a_subscriber_claims_only_what_that_one_owns(kms: Domain) -> None:
    both = holder(uri("alice"), uri("bob"))
    run(kms.store.subscribers.add_certificate("alice", both.certificates[0].public_bytes(Encoding.DER)))
    assert kms.handle(request(kms, both).message).granted
    outcome = kms.handle(request(kms, both, uri("bob")).message)
    assert (outcome.status, outcome.reason) == (403, "identity-not-owned")
    kms.close()


def test_who_is_no_subscriber_is_refused_whatever_the_certificate(kms: Domain) -> None:
    outcome = kms.handle(request(kms, holder(uri("eve"), key="eve"), uri("eve")).message)
    assert (outcome.status, outcome.reason) == (401, "unknown-key")
    kms.close()


@pytest.mark.parametrize(
    "used",
    [holder(uri("bob")), holder(uri("alice"), issuer="eve")],
    ids=["names another", "of another CA"],
)
def test_a_certificate_that_does_not_prove_the_identity_is_refused(
    kms: Domain, used: CertificateCredential
) -> None:
    outcome = kms.handle(request(kms, used).message)
    assert (outcome.status, outcome.granted) == (403, False)
    kms.close()


def test_an_altered_signature_or_message_is_refused(kms: Domain) -> None:
    message = request(kms, holder(uri("alice"))).message
    for at in (-1, 30):
        changed = bytearray(message)
        changed[at] ^= 1
        assert not kms.handle(bytes(changed)).granted
    assert kms.handle(message).granted
    kms.close()


def test_a_kms_without_key_pairs_takes_no_public_key_messages(kms: Domain) -> None:
    without = KeyManagementService(
        kms.env, replace(SETTINGS, key_pairs=()), kms.service.policy, kms.store.lookups()
    )
    outcome = run(without.handle(request(kms, holder(uri("alice"))).message))
    assert (outcome.status, outcome.reason) == (401, "unknown-key")
    kms.close()


def test_subscriber_without_certificates_is_found_by_the_identity_its_certificate_names(
    tmp_path: Path,
) -> None:
    kms = Domain.make(
        tmp_path,
        settings=SETTINGS,
        clock=Clock(int(NOW.timestamp()) * NS),
        subscribers=[subscriber("alice", "sip:a.l@example.com"), subscriber("bob")],
    )
    asking = request(kms, holder("sip:a.l@example.com"), "sip:a.l@example.com")
    assert kms.handle(asking.message).granted
    kms.close()


def judged_by(tmp_path: Path, *lists: x509.CertificateRevocationList) -> Domain:
    settings = replace(SETTINGS, revocation=lambda: Revocation(lists=lists, anchors=(CA,)))
    return Domain.make(tmp_path, EVERYBODY, settings=settings, clock=Clock(int(NOW.timestamp()) * NS))


def test_a_revoked_certificate_gets_no_ticket_and_no_keys(tmp_path: Path) -> None:
    alice, bob = holder(uri("alice")), holder(uri("bob"), key="bob")
    kms = judged_by(tmp_path, revocation_list(CA, bob.certificates[0]))
    asking = request(kms, alice)
    grant = asking.receive(kms.handle(asking.message).body or b"")
    resolving = TicketResolve.start(
        kms.env, ticket=with_initiator_data(grant), credential=bob, identity=uri("bob"), kms=KMS
    )
    outcome = kms.handle(resolving.message)
    assert outcome.reason == "invalid-certificate"
    assert kms.handle(request(kms, bob, uri("bob")).message).reason == "invalid-certificate"
    kms.close()


def test_without_a_current_list_nobody_is_served_by_certificate(tmp_path: Path) -> None:
    kms = judged_by(tmp_path, revocation_list(CA, end=NOW))
    outcome = kms.handle(request(kms, holder(uri("alice"))).message)
    assert outcome.reason == "invalid-certificate"
    assert "no current revocation list" in outcome.event.detail
    kms.close()


@pytest.mark.parametrize("named", ["kms-1", "kms-old"])
def test_chash_chooses_among_the_keys_of_the_kms(tmp_path: Path, named: str) -> None:
    old = KmsKeyPair(private_key=rsa_key("kms-old"), certificate=certificate("kms-old", "ca", uris=(KMS,)))
    settings = replace(SETTINGS, key_pairs=(PAIR, old))
    kms = Domain.make(tmp_path, EVERYBODY, settings=settings, clock=Clock(int(NOW.timestamp()) * NS))
    chosen, other = (PAIR, old) if named == "kms-1" else (old, PAIR)
    used = replace(holder(uri("alice")), kms_certificates=(chosen.certificate, other.certificate))
    asking = request(kms, used)
    assert asking.receive(kms.handle(asking.message).body or b"").policy.initiator == uri("alice")
    kms.close()


def test_chash_of_no_key_of_the_kms_is_refused(tmp_path: Path, kms: Domain) -> None:
    strangers = (certificate("stranger", "ca"), PAIR.certificate)
    used = replace(holder(uri("alice")), kms_certificates=strangers)
    assert kms.handle(request(kms, used).message).reason == "invalid-certificate"
    kms.close()


def test_a_certificate_of_a_device_counts_while_the_device_is_enrolled(tmp_path: Path) -> None:
    settings = replace(SETTINGS, registered_issuers=(CA.subject,))
    kms = Domain.make(tmp_path, EVERYBODY, settings=settings, clock=Clock(int(NOW.timestamp()) * NS))
    used = holder(uri("alice"))
    der = used.certificates[0].public_bytes(Encoding.DER)
    assert kms.handle(request(kms, used).message).reason == "unknown-key"
    run(kms.store.subscribers.add_certificate("alice", der))
    assert kms.handle(request(kms, used).message).granted
    run(kms.store.subscribers.remove_certificate(hashlib.sha256(der).digest()))
    assert kms.handle(request(kms, used).message).reason == "unknown-key"
    kms.close()
