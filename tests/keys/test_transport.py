"""Encryption of key data: AES-CM against the openssl command, AES key wrap against RFC 3394."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.keys.derivation import initial_message_keys
from sipmikey.keys.mac import compute_mac, verify_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.transport import _unwrap, _wrap, open_keys, seal_keys
from sipmikey.mikey import DEFAULT_LIMITS, KEMAC, KeyData, Secret, Timestamp
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    LocalError,
    MalformedMessage,
    PeerError,
    UnsupportedEncryption,
)
from sipmikey.mikey.kemac import encode_key_data
from sipmikey.mikey.registry import EncrAlg, KeyDataType, MacAlg, PrfFunc

PROTECTION = initial_message_keys(Prf(PrfFunc.HMAC_SHA_256, Secret(bytes(32))), 5, rand_i=bytes(32))
T = Timestamp.ntp_utc(1_772_366_400 * 10**9 + 5)


def keys(*lengths: int) -> tuple[KeyData, ...]:
    return tuple(
        KeyData(key_type=KeyDataType.TGK, key=Secret(bytes(n)), spi=bytes((i, 0, 0, 1)))
        for i, n in enumerate(lengths)
    )


def opened(kemac: KEMAC) -> tuple[KeyData, ...]:
    return open_keys(kemac, PROTECTION, csb_id=0x01020304, timestamp=T, limits=DEFAULT_LIMITS, what="message")


@pytest.mark.interop
@pytest.mark.parametrize("encr_alg", [EncrAlg.AES_CM_128, EncrAlg.AES_CM_256])
def test_aes_cm_is_what_openssl_computes(encr_alg: EncrAlg) -> None:
    sent = keys(16, 32)
    kemac = seal_keys(sent, encr_alg, PROTECTION, csb_id=0x01020304, timestamp=T)
    salt = int.from_bytes(PROTECTION.salt_key(encr_alg).reveal(), "big")
    block = bytes(2) + bytes.fromhex("01020304") + T.iv_octets()
    iv = (salt ^ int.from_bytes(block, "big")).to_bytes(14, "big") + bytes(2)
    encr_key = PROTECTION.encr_key(encr_alg)
    cipher = f"-aes-{8 * len(encr_key)}-ctr"
    done = subprocess.run(
        ["openssl", "enc", cipher, "-K", encr_key.reveal().hex(), "-iv", iv.hex()],
        input=encode_key_data(sent),
        capture_output=True,
        check=True,
    )
    assert kemac.encr_data == done.stdout
    assert opened(kemac) == sent


def test_key_wrap_is_that_of_rfc_3394() -> None:
    """RFC 3394 section 4.1, whose initial value stands where MIKEY has the salting key."""
    kek = Secret(bytes.fromhex("000102030405060708090A0B0C0D0E0F"))
    data = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    initial = Secret(bytes.fromhex("A6A6A6A6A6A6A6A6"))
    wrapped = _wrap(kek, initial, data)
    assert wrapped == bytes.fromhex("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5")
    assert _unwrap(kek, initial, wrapped, "message") == data
    for bit in range(8 * len(wrapped)):
        changed = (int.from_bytes(wrapped, "big") ^ 1 << bit).to_bytes(len(wrapped), "big")
        with pytest.raises(MalformedMessage):
            _unwrap(kek, initial, changed, "message")


def test_key_wrap_takes_whole_blocks_only() -> None:
    padded = (KeyData(key_type=KeyDataType.TGK, key=Secret(bytes(16)), spi=bytes(11)),)
    kemac = seal_keys(padded, EncrAlg.AES_KW_128, PROTECTION, csb_id=1, timestamp=T)
    assert opened(kemac) == padded
    with pytest.raises(LocalError):
        seal_keys(keys(16), EncrAlg.AES_KW_128, PROTECTION, csb_id=1, timestamp=T)


def test_keys_are_neither_sent_nor_taken_without_encryption() -> None:
    with pytest.raises(LocalError):
        seal_keys(keys(16), EncrAlg.NULL, PROTECTION, csb_id=1, timestamp=T)
    with pytest.raises(UnsupportedEncryption):
        opened(KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data(keys(16))))


@given(st.binary(max_size=200), st.sampled_from([EncrAlg.AES_CM_128, EncrAlg.AES_CM_256, EncrAlg.AES_KW_128]))
def test_whatever_is_decrypted_gives_keys_or_a_peer_error(data: bytes, encr_alg: EncrAlg) -> None:
    try:
        found = opened(KEMAC(encr_alg=encr_alg, encr_data=data))
    except PeerError:
        return
    assert all(isinstance(key, KeyData) for key in found)


def test_a_mac_verifies_only_as_it_was_made() -> None:
    key = Secret(bytes(32))
    mac = compute_mac(MacAlg.HMAC_SHA_256_256, key, b"covered")
    verify_mac(MacAlg.HMAC_SHA_256_256, key, b"covered", mac, "V")
    for covered, tag in ((b"Covered", mac), (b"covered", mac[:-1]), (b"covered", bytes(32)), (b"", b"")):
        with pytest.raises(AuthenticationFailure):
            verify_mac(MacAlg.HMAC_SHA_256_256, key, covered, tag, "V")
    with pytest.raises(LocalError):
        compute_mac(MacAlg.NULL, key, b"covered")
