"""AES-CM in Python: the vectors of RFC 6188, the packets of libsrtp, replays and rollovers."""

from __future__ import annotations

import pylibsrtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.crypto.aes_cm import AesCmSession, SessionError, _derived
from sipmikey.media.profile import profile_by_name
from tests.media.keys import AES_32, AES_80, SSRC, make_key, rtp

MASTER = bytes.fromhex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6")
SALT = bytes.fromhex("3b04803de51ee7c96423ab5b78d2")
REPORT = bytes.fromhex("80c90001") + SSRC.to_bytes(4) + bytes(12)
NAMES = {AES_80: "SRTP_PROFILE_AES128_CM_SHA1_80", AES_32: "SRTP_PROFILE_AES128_CM_SHA1_32"}


@pytest.mark.parametrize(
    ("label", "key"),
    [
        (0, "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"),
        (1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"),
        (2, "fa31791685ca444a9e07c6c64e93"),
    ],
)
def test_the_keys_of_rfc_6188_section_7_2(label: int, key: str) -> None:
    assert _derived(MASTER, SALT, label, len(key) // 2).hex() == key


def session(profile: str) -> AesCmSession:
    key = make_key(profile)
    return AesCmSession(key.keying().reveal(), SSRC, profile_by_name(profile), window=64)


def library(profile: str) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(
        key=make_key(profile).keying().reveal(),
        ssrc_type=pylibsrtp.Policy.SSRC_SPECIFIC,
        ssrc_value=SSRC,
        srtp_profile=getattr(pylibsrtp.Policy, NAMES[profile]),
    )
    return pylibsrtp.Session(policy)


@pytest.mark.parametrize("profile", NAMES)
def test_with_a_key_of_128_bits_its_packets_are_those_of_libsrtp(profile: str) -> None:
    ours, theirs = session(profile), library(profile)
    for sequence in (65534, 65535, 0, 1):
        assert ours.protect(rtp(sequence)) == theirs.protect(rtp(sequence))
    hearing = session(profile)
    for sequence in (65534, 65535, 0, 1):
        assert hearing.unprotect(library_packet(profile, sequence)) == rtp(sequence)
    assert session(profile).unprotect_rtcp(library(profile).protect_rtcp(REPORT)) == REPORT
    assert library(profile).unprotect_rtcp(session(profile).protect_rtcp(REPORT)) == REPORT


def library_packet(profile: str, sequence: int) -> bytes:
    """Return what libsrtp makes of one packet behind 65534."""
    sending = library(profile)
    packets = {at: sending.protect(rtp(at)) for at in (65534, 65535, 0, 1)}
    return bytes(packets[sequence])


@given(st.lists(st.integers(0, 120), min_size=1, max_size=60))
def test_no_packet_is_taken_twice_in_whatever_order_they_come(order: list[int]) -> None:
    sending, hearing = session("AES_256_CM_HMAC_SHA1_80"), session("AES_256_CM_HMAC_SHA1_80")
    packets = [sending.protect(rtp(65500 + at & 0xFFFF)) for at in range(121)]
    # The first one settles the rollover counter.
    assert hearing.unprotect(packets[0])
    highest, seen = 0, {0}
    for at in order:
        fresh = at not in seen and highest - at < 64
        if fresh:
            assert hearing.unprotect(packets[at]) == rtp(65500 + at & 0xFFFF)
            seen.add(at)
            highest = max(highest, at)
        else:
            with pytest.raises(SessionError, match="replay check failed"):
                hearing.unprotect(packets[at])


@given(st.integers(0, 10_000))
def test_a_changed_bit_is_noticed(where: int) -> None:
    packet = bytearray(session("AES_256_CM_HMAC_SHA1_32").protect(rtp(1)))
    bit = where % (8 * len(packet))
    packet[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SessionError):
        session("AES_256_CM_HMAC_SHA1_32").unprotect(bytes(packet))


def test_the_sender_uses_no_index_twice() -> None:
    sending = session("AES_256_CM_HMAC_SHA1_80")
    sending.protect(rtp(5))
    with pytest.raises(SessionError, match="replay"):
        sending.protect(rtp(5))
