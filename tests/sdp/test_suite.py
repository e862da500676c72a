"""SRTP suites and their security policies."""

from __future__ import annotations

import pytest

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite, suite_of, usable


@pytest.mark.parametrize("suite", SrtpSuite)
def test_a_suite_survives_its_sp_payload(suite: SrtpSuite) -> None:
    assert suite_of(SrtpPolicy.from_payload(suite.policy.payload(0))) is suite


@pytest.mark.parametrize(
    ("suite", "key", "salt", "tag"),
    [
        (SrtpSuite.AES_256_CM_HMAC_SHA1_80, 32, 14, 10),
        (SrtpSuite.AES_256_CM_HMAC_SHA1_32, 32, 14, 4),
        (SrtpSuite.AES_CM_128_HMAC_SHA1_80, 16, 14, 10),
        (SrtpSuite.AES_CM_128_HMAC_SHA1_32, 16, 14, 4),
        (SrtpSuite.AEAD_AES_256_GCM, 32, 12, 16),
        (SrtpSuite.AEAD_AES_128_GCM, 16, 12, 16),
    ],
)
def test_lengths_in_bytes(suite: SrtpSuite, key: int, salt: int, tag: int) -> None:
    policy = suite.policy
    assert (policy.session_encr_key_length, policy.session_salt_length) == (key, salt)
    assert (policy.aead_tag_length if policy.is_aead else policy.auth_tag_length) == tag
    assert suite.key_bits == key * 8


def test_a_policy_without_a_name_has_no_suite() -> None:
    assert suite_of(SrtpPolicy.aes_cm(24)) is None


def test_suites_follow_the_strength_of_the_ticket() -> None:
    assert usable(DEFAULT_SUITES, 256) == (SrtpSuite.AES_256_CM_HMAC_SHA1_80,)
    assert usable(DEFAULT_SUITES, 128) == (SrtpSuite.AES_CM_128_HMAC_SHA1_80,)
    with pytest.raises(LocalError, match="128-bit keys"):
        usable((SrtpSuite.AEAD_AES_256_GCM,), 128)
