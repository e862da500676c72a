"""RSA signatures: both S types, both hashes, every way not to verify."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from sipmikey.keys.signature import ACCEPTED_HASHES, SIGNATURE_HASH, sign, signature_length, verify_signature
from sipmikey.mikey.errors import AuthenticationFailure, UnsupportedHash
from sipmikey.mikey.registry import HashFunc, PrfFunc, SignatureType

from .certificates import rsa_key

KEY = rsa_key("alice")
COVERED = b"message up to the signature" + b"sip:alice@example.com" + b"sip:kms@example.com"


@pytest.mark.parametrize("signature_type", list(SignatureType))
@pytest.mark.parametrize("prf", list(PrfFunc))
class TestRoundTrip:
    def test_verifies(self, prf, signature_type):
        signature = sign(KEY, COVERED, hash_func=SIGNATURE_HASH[prf], signature_type=signature_type)
        assert len(signature) == signature_length(KEY) == 256
        verify_signature(
            KEY.public_key(),
            signature,
            COVERED,
            hash_funcs=ACCEPTED_HASHES[prf],
            signature_type=signature_type,
        )

    def test_any_change_is_refused(self, prf, signature_type):
        signature = sign(KEY, COVERED, hash_func=SIGNATURE_HASH[prf], signature_type=signature_type)
        cases = {
            "signature bit": (KEY, signature[:-1] + bytes((signature[-1] ^ 1,)), COVERED, signature_type),
            "shorter": (KEY, signature[:-1], COVERED, signature_type),
            "longer": (KEY, signature + b"\0", COVERED, signature_type),
            "empty": (KEY, b"", COVERED, signature_type),
            "other octets": (KEY, signature, COVERED[:-1], signature_type),
            "other key": (rsa_key("bob"), signature, COVERED, signature_type),
            "other type": (KEY, signature, COVERED, SignatureType(1 - signature_type)),
        }
        accepted = []
        for name, (key, value, covered, kind) in cases.items():
            try:
                verify_signature(
                    key.public_key(), value, covered, hash_funcs=ACCEPTED_HASHES[prf], signature_type=kind
                )
            except AuthenticationFailure:
                continue
            accepted.append(name)
        assert accepted == []


def test_hash_follows_the_suite():
    signature = sign(KEY, COVERED, hash_func=SIGNATURE_HASH[PrfFunc.MIKEY_1])
    KEY.public_key().verify(signature, COVERED, padding.PKCS1v15(), hashes.SHA1())
    signature = sign(KEY, COVERED, hash_func=SIGNATURE_HASH[PrfFunc.HMAC_SHA_256])
    KEY.public_key().verify(signature, COVERED, padding.PKCS1v15(), hashes.SHA256())


def test_weaker_hash_is_not_accepted_in_the_256_bit_suite():
    signature = sign(KEY, COVERED, hash_func=HashFunc.SHA_1)
    with pytest.raises(AuthenticationFailure):
        verify_signature(
            KEY.public_key(), signature, COVERED, hash_funcs=ACCEPTED_HASHES[PrfFunc.HMAC_SHA_256]
        )


def test_stronger_hash_is_accepted_in_the_128_bit_suite():
    signature = sign(KEY, COVERED, hash_func=HashFunc.SHA_256)
    verify_signature(KEY.public_key(), signature, COVERED, hash_funcs=ACCEPTED_HASHES[PrfFunc.MIKEY_1])


def test_pss_salt_is_as_long_as_the_hash():
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=20)
    signature = KEY.sign(COVERED, pss, hashes.SHA256())
    with pytest.raises(AuthenticationFailure):
        verify_signature(
            KEY.public_key(),
            signature,
            COVERED,
            hash_funcs=(HashFunc.SHA_256,),
            signature_type=SignatureType.RSA_PSS,
        )


def test_md5_is_refused_on_both_sides():
    with pytest.raises(UnsupportedHash):
        sign(KEY, COVERED, hash_func=HashFunc.MD5)
    with pytest.raises(UnsupportedHash):
        verify_signature(KEY.public_key(), bytes(256), COVERED, hash_funcs=(HashFunc.MD5,))
