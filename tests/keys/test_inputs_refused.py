"""Inputs that the keys' room refuses, and what libraries refuse for it."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from sipmikey.keys.certificate import certificate_identities, verify_chain
from sipmikey.keys.derivation import derive_mpks, fork_mpk_r, initial_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.keys.revocation import Revocation
from sipmikey.keys.signature import sign
from sipmikey.keys.suite import suite_named
from sipmikey.keys.transport import open_keys
from sipmikey.mikey import Secret, Timestamp
from sipmikey.mikey.errors import InvalidCertificate, LocalError, UnsupportedMac
from sipmikey.mikey.kemac import KEMAC
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.registry import EncrAlg, HashFunc, MacAlg, PrfFunc, SignatureType
from tests.keys.certificates import NOW, certificate, rsa_key
from tests.keys.test_revocation import revocation_list

PRF = PrfFunc.HMAC_SHA_256
KEY = Secret(b"k" * 32)


def test_a_rand_or_an_identity_too_long_for_its_length_is_refused() -> None:
    with pytest.raises(LocalError, match="RAND has at most 255"):
        initial_message_keys(Prf(PRF, KEY), 1, rand_i=bytes(256))
    with pytest.raises(LocalError, match="ID Data has at most 65535"):
        fork_mpk_r(PRF, KEY, id_data=bytes(65_536), rand_kms=b"r" * 16)
    assert len(derive_mpks(PRF, KEY, b"r" * 32)) == 2


def test_a_suite_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(LocalError, match="unknown suite '512'; the suites are"):
        suite_named("512")


def test_keys_come_under_the_mac_of_v_and_not_of_kemac() -> None:
    kemac = KEMAC(encr_alg=EncrAlg.NULL, encr_data=b"", mac_alg=MacAlg.HMAC_SHA_1_160, mac=bytes(20))
    keys = initial_message_keys(Prf(PRF, KEY), 1, rand_i=bytes(32))
    with pytest.raises(UnsupportedMac, match="must be NULL"):
        open_keys(
            kemac, keys, csb_id=1, timestamp=Timestamp.counter(1), limits=DEFAULT_LIMITS, what="REQUEST_RESP"
        )


def test_a_key_too_small_for_its_signature_is_refused() -> None:
    class Refusing:
        key_size = 512

        def sign(self, *_: object) -> bytes:
            raise UnsupportedAlgorithm("not here")

    with pytest.raises(LocalError, match="cannot make an SHA_256 signature"):
        sign(Refusing(), b"m", hash_func=HashFunc.SHA_256, signature_type=SignatureType.RSA_PSS)  # type: ignore[arg-type]


def test_extensions_that_cannot_be_read_are_refused() -> None:
    class Broken:
        @property
        def extensions(self) -> object:
            raise ValueError("broken")

    with pytest.raises(InvalidCertificate, match="extensions cannot be parsed"):
        certificate_identities(Broken())  # type: ignore[arg-type]


def test_who_takes_the_identity_from_the_certificate_names_none() -> None:
    ca = certificate("ca", "ca", ca=True)
    own = certificate("alice", "ca", uris=("sip:alice@example.com",))
    key = verify_chain([own], anchors=[ca], at=NOW, identity=None)
    assert key.public_numbers() == rsa_key("alice").public_key().public_numbers()


def test_an_issuer_without_key_usage_may_sign_lists() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plain")])
    issuer = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(rsa_key("plain").public_key())
        .serial_number(1)
        .not_valid_before(NOW.replace(year=2025))
        .not_valid_after(NOW.replace(year=2027))
        .sign(rsa_key("plain"), hashes.SHA256())
    )
    own = certificate("alice", "plain")
    judge = Revocation(lists=(revocation_list(issuer, own),), anchors=(issuer,))
    with pytest.raises(InvalidCertificate, match="is revoked"):
        judge.check((own,), NOW)


def test_a_list_whose_signature_cannot_be_checked_is_none() -> None:
    ca = certificate("ca", "ca", ca=True)
    own = certificate("alice", "ca")

    class Unknown:
        """An issuer with a key of a kind that nothing here knows."""

        subject, extensions = ca.subject, ca.extensions

        def public_key(self) -> object:
            raise UnsupportedAlgorithm("not here")

    judge = Revocation(lists=(revocation_list(ca),), anchors=(Unknown(),))  # type: ignore[arg-type]
    with pytest.raises(InvalidCertificate, match="no current revocation list"):
        judge.check((own,), NOW)
