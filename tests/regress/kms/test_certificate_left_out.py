"""A public-key message without a certificate is taken where the KMS keeps the sender's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.ticket.credentials import CertificateCredential
from sipmikey.ticket.resolve import TicketResolve
from tests.keys.certificates import NOW, certificate
from tests.kms.domain import EVERYBODY, KMS, NS, Clock, Domain, subscriber, uri, with_initiator_data
from tests.kms.test_public_key import SETTINGS, holder, request


def kept(name: str, issuer: str = "ca") -> bytes:
    return certificate(name, issuer, uris=(uri(name),)).public_bytes(Encoding.DER)


@pytest.fixture
def kms(tmp_path: Path) -> Domain:
    subscribers = [
        subscriber("alice", certificates=(kept("alice"),)), subscriber("bob", certificates=(kept("bob"),)),
        subscriber("carol"),
    ]  # fmt: skip
    clock = Clock(int(NOW.timestamp()) * NS)
    return Domain.make(tmp_path, EVERYBODY, settings=SETTINGS, clock=clock, subscribers=subscribers)


def without_certificate(name: str, key: str = "") -> CertificateCredential:
    return replace(holder(uri(name), key=key or name), sends_certificates=False)


def test_a_kept_certificate_stands_for_one_that_is_left_out(kms: Domain) -> None:
    asking = request(kms, without_certificate("alice"))
    outcome = kms.handle(asking.message)
    assert outcome.granted, outcome.event.detail
    grant = asking.receive(outcome.body or b"")
    resolving = TicketResolve.start(
        kms.env,
        ticket=with_initiator_data(grant),
        credential=without_certificate("bob"),
        identity=uri("bob"),
        kms=KMS,
    )
    answer = kms.handle(resolving.message)
    assert resolving.receive(answer.body or b"").mpk_i == grant.mpk_i
    kms.close()


def test_another_key_than_the_kept_certificate_has_is_refused(kms: Domain) -> None:
    outcome = kms.handle(request(kms, without_certificate("alice", key="bob")).message)
    assert (outcome.granted, outcome.reason) == (False, "auth-failure")
    kms.close()


def test_who_has_no_certificate_here_has_to_send_it(kms: Domain) -> None:
    outcome = kms.handle(request(kms, without_certificate("carol"), uri("carol")).message)
    assert (outcome.granted, outcome.reason) == (False, "invalid-certificate")
    kms.close()
