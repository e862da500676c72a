"""Policies into profiles: which there are, their lengths and names, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pylibsrtp
import pytest

from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import PROFILES, profile_by_name, profile_for
from sipmikey.mikey.errors import InvalidSecurityPolicy, LocalError
from sipmikey.mikey.registry import KeyDataType, SrtpAuthAlg, SrtpEncrAlg
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.ticket.bundle import CryptoSession
from tests.media.keys import make_key


@pytest.mark.parametrize(
    ("policy", "name", "key", "salt", "tag", "rtcp_tag"),
    [
        (SrtpPolicy.aes_cm(16), "AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10),
        (SrtpPolicy.aes_cm(16, auth_tag_length=4), "AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10),
        (SrtpPolicy.aes_cm(24), "AES_192_CM_HMAC_SHA1_80", 24, 14, 10, 10),
        (SrtpPolicy.aes_cm(32), "AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10),
        (SrtpPolicy.aes_cm(32, auth_tag_length=4), "AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10),
        (SrtpPolicy.aes_gcm(16), "AEAD_AES_128_GCM", 16, 12, 16, 16),
        (SrtpPolicy.aes_gcm(32), "AEAD_AES_256_GCM", 32, 12, 16, 16),
        (SrtpPolicy(), "AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10),
    ],
)
def test_a_policy_answers_every_length(
    policy: SrtpPolicy, name: str, key: int, salt: int, tag: int, rtcp_tag: int
) -> None:
    profile = profile_for(policy)
    assert (profile.name, profile.key_length, profile.salt_length) == (name, key, salt)
    assert (profile.tag_length, profile.rtcp_tag_length) == (tag, rtcp_tag)
    assert profile.keying_length == key + salt
    assert profile.overhead(4) == tag + 4
    assert profile.rtcp_overhead(4) == 4 + rtcp_tag + 4
    assert profile.pjmedia_name == name
    assert profile_by_name(name) is profile


@pytest.mark.parametrize("profile", [p for p in PROFILES if p.python_name is not None], ids=lambda p: p.name)
def test_lengths_are_those_of_the_installed_library(profile) -> None:
    number = getattr(pylibsrtp.Policy, profile.python_name)
    key = bytes(profile.keying_length)
    assert pylibsrtp.Policy(key=key, srtp_profile=number).srtp_profile == number
    with pytest.raises(ValueError, match="key must contain"):
        pylibsrtp.Policy(key=key[:-1], srtp_profile=number)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encr_alg": SrtpEncrAlg.NULL}, "NULL"),
        ({"encr_alg": SrtpEncrAlg.AES_F8}, "AES_F8"),
        ({"srtp_encryption": False}, "without encryption"),
        ({"srtcp_encryption": False}, "without encryption"),
        ({"srtp_authentication": False}, "without authentication"),
        ({"auth_alg": SrtpAuthAlg.NULL}, "without authentication"),
        ({"session_auth_key_length": 16}, "authentication key of 16"),
        ({"key_derivation_rate": 1 << 16}, "key derivation rate"),
        ({"prefix_length": 8}, "prefix of 8"),
        ({"auth_tag_length": 8}, "tag of 8"),
        ({"session_salt_length": 12}, "salt of 12"),
    ],
)
def test_what_no_engine_does_is_refused_by_name(change: dict[str, int], named: str) -> None:
    with pytest.raises(InvalidSecurityPolicy, match=named):
        profile_for(replace(SrtpPolicy(), **change))  # type: ignore[arg-type]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidSecurityPolicy, match="NULL_HMAC"):
        profile_by_name("NULL_HMAC_SHA1_80")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": Secret(bytes(32))}, "master key of 16 bytes"),
        ({"salt": Secret(bytes(12))}, "master salt of 14 bytes"),
        ({"ssrc": 1 << 32}, "SSRC"),
        ({"roc": -1}, "rollover"),
        ({"seq": 65536}, "sequence number"),
        ({"mki": bytes(129)}, "MKI"),
    ],
)
def test_a_key_that_does_not_fit_its_profile_cannot_exist(change: dict[str, object], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        replace(make_key(), **change)  # type: ignore[arg-type]


def test_keying_is_key_then_salt_and_is_not_shown() -> None:
    key: StreamKey = make_key()
    assert key.keying().reveal() == key.key.reveal() + key.salt.reveal()
    assert key.key.reveal().hex() not in repr(key)
    assert repr(key.key.reveal()) not in repr(key)
    assert key.sdes_inline().reveal().startswith(b"inline:")


def crypto_session(salt: bytes, policy: SrtpPolicy) -> CryptoSession:
    return CryptoSession(
        cs_id=2,
        ssrc=7,
        roc=1,
        seq=9,
        spi=b"\1\2",
        key_type=KeyDataType.TGK,
        master_key=Secret(bytes(policy.session_encr_key_length)),
        master_salt=Secret(salt),
        policy=policy,
    )


def test_a_crypto_session_becomes_a_key() -> None:
    session = crypto_session(bytes(14), SrtpPolicy())
    key = StreamKey.of(session)
    assert (key.ssrc, key.roc, key.seq, key.mki) == (7, 1, 9, b"")
    assert key.profile.name == "AES_CM_128_HMAC_SHA1_80"
    assert StreamKey.of(session, mki_in_packets=True).mki == session.spi


def test_a_crypto_session_without_a_salt_is_the_peers_fault() -> None:
    with pytest.raises(
        InvalidSecurityPolicy, match="CS ID 2: AES_CM_128_HMAC_SHA1_80 takes a salt of 14 bytes"
    ):
        StreamKey.of(crypto_session(b"", SrtpPolicy()))
