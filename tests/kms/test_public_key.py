"""The public-key variants at the KMS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.kms.service import KeyManagementService, KmsSettings, run
from sipmikey.ticket.credentials import CertificateCredential, KmsKeyPair
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve
from tests.keys.certificates import NOW, certificate, key_usage, rsa_key
from tests.kms.domain import EVERYBODY, KMS, NS, Clock, Domain, subscriber, uri, with_initiator_data

CA = certificate("ca", "ca", ca=True, usage=key_usage("key_cert_sign"))
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
