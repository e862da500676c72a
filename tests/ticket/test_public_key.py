"""The public-key variants of Ticket Request and Ticket Resolve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.errors import AuthenticationFailure, InvalidCertificate, PeerError
from sipmikey.mikey.registry import SignatureType
from sipmikey.ticket import (
    CertificateCredential,
    KmsInit,
    KmsKeyPair,
    RequestAtKms,
    ResolveAtKms,
    TicketRequest,
    TicketResolve,
    TransferResponder,
)
from tests.keys.certificates import NOW, certificate, key_usage, rsa_key
from tests.ticket.parties import (
    ALICE,
    BOB,
    KMS,
    Clock,
    Kms,
    complete_sessions,
    environment,
    policy,
    start_transfer,
)

CA = certificate("ca", "ca", ca=True, usage=key_usage("key_cert_sign"))
KMS_PAIRS = tuple(
    KmsKeyPair(private_key=rsa_key(name), certificate=certificate(name, "ca", uris=(KMS,)))
    for name in ("kms-1", "kms-2")
)


def clock() -> Clock:
    return Clock(int(NOW.timestamp()) * 10**9)


def credential(
    identity: str, pairs: tuple[KmsKeyPair, ...] = KMS_PAIRS[:1], *, pss: bool = False
) -> CertificateCredential:
    return CertificateCredential(
        private_key=rsa_key(identity),
        certificates=(certificate(identity, "ca", uris=(identity,)),),
        kms_certificates=tuple(pair.certificate for pair in pairs),
        signature_type=SignatureType.RSA_PSS if pss else SignatureType.RSA_PKCS1,
    )


def start_request(time: Clock, used: CertificateCredential, suite: Suite = SUITE_256) -> TicketRequest:
    return TicketRequest.start(
        environment(time, "alice"), policy=policy(suite), credential=used, identity=ALICE, kms=KMS
    )


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=["128", "256"])
@pytest.mark.parametrize("pss", [False, True], ids=["pkcs1", "pss"])
def test_both_exchanges_with_certificates(suite: Suite, pss: bool) -> None:
    time = clock()
    env = environment(time, "kms")
    tpk = Kms(env, suite).tpk
    request = start_request(time, credential(ALICE, pss=pss), suite)
    init = KmsInit(env, request.message)
    asked = RequestAtKms(env, init.verify_pk(anchors=[CA], key_pairs=KMS_PAIRS, kms=KMS))
    assert asked.identity == ALICE
    grant = request.receive(asked.grant(asked.policy, tpk, kms=KMS)[0])

    transfer = start_transfer(environment(time, "alice2"), grant)
    bob = environment(time, "bob")
    responder = TransferResponder(bob, transfer.message, identity=BOB)
    resolve = TicketResolve.start(
        bob, ticket=responder.ticket, credential=credential(BOB, pss=pss), identity=BOB, kms=KMS
    )
    init = KmsInit(env, resolve.message)
    asked_resolve = ResolveAtKms(env, init.verify_pk(anchors=[CA], key_pairs=KMS_PAIRS, kms=KMS))
    response = asked_resolve.respond(asked_resolve.open(tpk), answerer=asked_resolve.identity, kms=KMS)
    responder.verify(resolve.receive(response))
    answer, bundle = responder.respond(crypto_sessions=complete_sessions(responder))
    assert transfer.receive(answer).crypto_sessions == bundle.crypto_sessions


def test_chash_says_which_key_of_the_kms_was_used() -> None:
    time = clock()
    env = environment(time, "kms")
    used = credential(ALICE, tuple(reversed(KMS_PAIRS)))
    request = start_request(time, used)
    init = KmsInit(env, request.message)
    asked = RequestAtKms(env, init.verify_pk(anchors=[CA], key_pairs=KMS_PAIRS, kms=KMS))
    request.receive(asked.grant(asked.policy, Kms(env).tpk, kms=KMS)[0])
    with pytest.raises(InvalidCertificate):
        KmsInit(env, request.message).verify_pk(anchors=[CA], key_pairs=KMS_PAIRS[:1], kms=KMS)


def test_an_envelope_for_another_kms_shows_at_the_client() -> None:
    """RFC 3830 section 3.2: only the response tells that the envelope key was the right one."""
    time = clock()
    env = environment(time, "kms")
    request = start_request(time, credential(ALICE, KMS_PAIRS[1:]))
    init = KmsInit(env, request.message)
    asked = RequestAtKms(env, init.verify_pk(anchors=[CA], key_pairs=KMS_PAIRS[:1], kms=KMS))
    with pytest.raises(AuthenticationFailure):
        request.receive(asked.grant(asked.policy, Kms(env).tpk, kms=KMS)[0])


def test_a_certificate_of_somebody_else_is_refused() -> None:
    time = clock()
    mallory = credential("sip:mallory@example.com")
    request = start_request(time, mallory)
    with pytest.raises(InvalidCertificate):
        KmsInit(environment(time, "kms"), request.message).verify_pk(
            anchors=[CA], key_pairs=KMS_PAIRS, kms=KMS
        )
    forged = replace(credential(ALICE), private_key=rsa_key("sip:mallory@example.com"))
    request = start_request(time, forged)
    with pytest.raises(AuthenticationFailure):
        KmsInit(environment(time, "kms"), request.message).verify_pk(
            anchors=[CA], key_pairs=KMS_PAIRS, kms=KMS
        )


def test_every_octet_of_the_message_is_signed() -> None:
    time = clock()
    env = environment(time, "kms")
    message = start_request(time, credential(ALICE)).message
    for at in range(0, len(message), 7):
        changed = message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :]
        with pytest.raises(PeerError):
            KmsInit(env, changed).verify_pk(anchors=[CA], key_pairs=KMS_PAIRS, kms=KMS)
