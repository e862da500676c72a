"""Certificate chains: what is accepted, and each way to be refused."""

from __future__ import annotations

import hashlib
import importlib.util
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.keys.certificate import (
    KeyPurpose,
    certificate_hash,
    certificate_identities,
    choose_by_hash,
    load_certificate,
    rsa_public_key,
    verify_chain,
)
from sipmikey.mikey.certificate import CERT
from sipmikey.mikey.errors import InvalidCertificate, LimitExceeded
from sipmikey.mikey.registry import CertType, HashFunc

from .certificates import NOT_AFTER, NOT_BEFORE, NOW, certificate, key_usage, rsa_key

ALICE = "sip:alice@example.com"
ROOT = certificate("root", "root", ca=True)
MIDDLE = certificate("middle", "root", ca=True)
OWNER = certificate("alice", "middle", uris=(ALICE, "tel:+15550100"))


def verify(*chain, anchors=(ROOT,), at=NOW, identity=b"sip:alice@example.com", **options):
    return verify_chain(chain, anchors=anchors, at=at, identity=identity, **options)


def test_chain_to_an_anchor_gives_the_owners_key():
    assert verify(OWNER, MIDDLE).public_numbers() == rsa_key("alice").public_key().public_numbers()


def test_the_anchor_itself_may_be_sent_too():
    verify(OWNER, MIDDLE, ROOT)


def test_any_of_the_names_may_be_the_identity():
    verify(OWNER, MIDDLE, identity=b"tel:+15550100")
    assert certificate_identities(OWNER) == (ALICE, "tel:+15550100")


def test_scheme_and_host_are_compared_without_case_and_the_user_with():
    verify(OWNER, MIDDLE, identity=b"SIP:alice@EXAMPLE.com")
    with pytest.raises(InvalidCertificate, match="subjectAltName"):
        verify(OWNER, MIDDLE, identity=b"sip:Alice@example.com")


def test_certificate_configured_as_anchor_needs_no_issuer():
    verify(OWNER, anchors=(OWNER,))


@pytest.mark.parametrize("identity", [b"sip:bob@example.com", b"alice@example.com", b"", b"\xff\xfe"])
def test_other_identity_is_refused(identity):
    with pytest.raises(InvalidCertificate):
        verify(OWNER, MIDDLE, identity=identity)


def test_subject_name_is_not_an_identity():
    nameless = certificate(ALICE, "middle")
    with pytest.raises(InvalidCertificate, match="subjectAltName"):
        verify(nameless, MIDDLE)


@pytest.mark.parametrize(
    ("at", "text"),
    [(NOT_BEFORE - timedelta(seconds=1), "not valid yet"), (NOT_AFTER + timedelta(seconds=1), "expired")],
)
@pytest.mark.parametrize("anchors", [(ROOT,), (OWNER,)])
def test_validity_is_judged_at_the_time_given(at, text, anchors):
    with pytest.raises(InvalidCertificate, match=text):
        verify(OWNER, *(() if anchors == (OWNER,) else (MIDDLE,)), at=at, anchors=anchors)


def test_expired_issuer_is_refused():
    stale = certificate("middle", "root", ca=True, not_after=NOW - timedelta(days=1))
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(OWNER, stale)


def test_chain_in_another_order_is_refused():
    with pytest.raises(InvalidCertificate, match="does not directly certify"):
        verify(OWNER, ROOT, MIDDLE)


def test_stray_certificate_behind_the_chain_is_refused():
    with pytest.raises(InvalidCertificate, match="certificate 4 does not directly certify certificate 3"):
        verify(OWNER, MIDDLE, ROOT, certificate("stranger", "stranger", ca=True))


def test_chain_to_an_unknown_root_is_refused():
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(OWNER, MIDDLE, anchors=(certificate("other", "other", ca=True),))


def test_anchor_of_the_same_name_and_another_key_is_refused():
    impostor = certificate("root", "root", ca=True, key=rsa_key("impostor"))
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(OWNER, MIDDLE, anchors=(impostor,))


def test_no_anchors_refuse_everybody():
    with pytest.raises(InvalidCertificate):
        verify(OWNER, MIDDLE, anchors=())


def test_missing_intermediate_is_refused():
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(OWNER)


def test_user_certificate_cannot_issue():
    mallory = certificate("mallory", "alice", uris=("sip:mallory@example.com",))
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(mallory, OWNER, MIDDLE, identity=b"sip:mallory@example.com")


def test_ca_whose_usage_is_not_signing_certificates_is_refused():
    weak = certificate("middle", "root", ca=True, usage=key_usage("digital_signature"))
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(OWNER, weak)


def test_path_length_is_honoured():
    root = certificate("root", "root", ca=True, path_length=0)
    with pytest.raises(InvalidCertificate, match="anchor"):
        verify(OWNER, MIDDLE, anchors=(root,))


def test_key_usage_must_allow_the_purpose():
    signer = certificate("alice", "middle", uris=(ALICE,), usage=key_usage("digital_signature"))
    verify(signer, MIDDLE)
    with pytest.raises(InvalidCertificate, match="key_encipherment"):
        verify(signer, MIDDLE, purpose=KeyPurpose.ENVELOPE)


def test_chain_length_is_limited():
    with pytest.raises(LimitExceeded):
        verify(OWNER, MIDDLE, max_certificates=1)


def test_empty_chain_is_refused():
    with pytest.raises(InvalidCertificate):
        verify()


def test_short_rsa_key_is_refused():
    short = certificate("alice", "middle", uris=(ALICE,), key=rsa_key("short", 1024))
    with pytest.raises(InvalidCertificate, match="1024 bits"):
        verify(short, MIDDLE)


def test_elliptic_curve_key_is_refused():
    with pytest.raises(InvalidCertificate, match="not RSA"):
        rsa_public_key(certificate("alice", "middle", key=ec.generate_private_key(ec.SECP256R1())))


class TestPayload:
    def der(self) -> bytes:
        return OWNER.public_bytes(Encoding.DER)

    @pytest.mark.parametrize("cert_type", [CertType.X509V3, CertType.X509V3_SIGN])
    def test_certificate_in_der(self, cert_type):
        assert load_certificate(CERT(cert_type=cert_type, data=self.der())) == OWNER

    @pytest.mark.parametrize("cert_type", [CertType.X509V3_ENCR, 77])
    def test_type_not_for_signatures(self, cert_type):
        with pytest.raises(InvalidCertificate, match="does not serve"):
            load_certificate(CERT(cert_type=cert_type, data=self.der()))

    def test_type_not_for_envelopes(self):
        with pytest.raises(InvalidCertificate, match="does not serve"):
            load_certificate(
                CERT(cert_type=CertType.X509V3_SIGN, data=self.der()), purpose=KeyPurpose.ENVELOPE
            )

    def test_url_is_not_fetched(self):
        with pytest.raises(InvalidCertificate, match="not fetched"):
            load_certificate(CERT(cert_type=CertType.X509V3_URL, data=b"http://192.0.2.1/c"))

    @pytest.mark.parametrize("cut", [0, 1, 10, 400, -1])
    def test_truncated_certificate(self, cut):
        with pytest.raises(InvalidCertificate, match="DER"):
            load_certificate(CERT(cert_type=CertType.X509V3, data=self.der()[:cut]))


class TestHash:
    @pytest.mark.parametrize(
        ("hash_func", "name"),
        [(HashFunc.SHA_1, "sha1"), (HashFunc.MD5, "md5"), (HashFunc.SHA_256, "sha256")],
    )
    def test_is_over_the_der_octets(self, hash_func, name):
        digest = certificate_hash(OWNER, hash_func)
        assert digest == hashlib.new(name, OWNER.public_bytes(Encoding.DER)).digest()
        assert len(digest) == hash_func.length

    def test_chooses_among_several(self):
        digest = certificate_hash(MIDDLE, HashFunc.SHA_256)
        assert choose_by_hash(HashFunc.SHA_256, digest, (ROOT, MIDDLE, OWNER)) is MIDDLE

    def test_of_an_unknown_certificate(self):
        with pytest.raises(InvalidCertificate, match="no certificate"):
            choose_by_hash(HashFunc.SHA_256, bytes(32), (ROOT, MIDDLE))


def test_no_function_of_keys_reports_a_verification_as_a_bool():
    spec = importlib.util.find_spec("sipmikey.keys")
    assert spec is not None
    origin = spec.origin
    assert origin is not None
    for path in Path(origin).parent.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not (line.lstrip().startswith("def ") and "verify" in line and "-> bool" in line), path
