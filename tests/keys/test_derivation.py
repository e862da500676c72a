"""Labels of every derivation, written out by hand, and the constants recomputed from the digits of e."""

from __future__ import annotations

from decimal import Decimal, getcontext

import pytest

from sipmikey.keys import derivation
from sipmikey.keys.derivation import (
    derive_mpks,
    fork_mpk_r,
    fork_tgk,
    initial_message_keys,
    initiator_data_keys,
    response_message_keys,
    session_key,
    ticket_keys,
)
from sipmikey.keys.prf import Prf
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import EncrAlg, MacAlg, PrfFunc
from sipmikey.mikey.secret import Secret

KEY = Secret(bytes(range(32)))
FUNC = PrfFunc.HMAC_SHA_256


def derived(label: str, bits: int = 256) -> Secret:
    return Prf(FUNC, KEY).derive(bytes.fromhex(label.replace(" ", "")), bits)


def test_the_constants_are_digits_of_e() -> None:
    getcontext().prec = 200
    term, e, n = Decimal(1), Decimal(1), 1
    while term > Decimal(10) ** -190:
        term /= n
        e += term
        n += 1
    digits = str(e)[2:]
    chunks = {int(digits[at : at + 9]) for at in range(0, 180, 9)}
    constants = [
        value
        for name, value in vars(derivation).items()
        if isinstance(value, bytes) and len(value) == 4 and name != "NO_CSB_ID"
    ]
    assert len(constants) == 11
    assert len(set(constants)) == 11
    assert {int.from_bytes(value, "big") for value in constants} <= chunks


def test_labels_of_message_keys() -> None:
    prf = Prf(FUNC, KEY)
    keys = initial_message_keys(prf, 0x01020304, rand_i=b"\xaa\xbb")
    assert keys.auth_key(MacAlg.HMAC_SHA_256_256) == derived("2D22AC75 FF 01020304 01 02 AABB 00")
    assert keys.encr_key(EncrAlg.AES_CM_256) == derived("150533E1 FF 01020304 01 02 AABB 00")
    assert keys.salt_key(EncrAlg.AES_CM_256) == derived("29B88916 FF 01020304 01 02 AABB 00", 112)
    keys = response_message_keys(prf, 0x01020304, rand_i=b"\xaa", rand_r=b"\xcc")
    assert keys.auth_key(MacAlg.HMAC_SHA_1_160) == derived("2D22AC75 FF 01020304 02 01 AA 01 CC", 160)
    assert keys.encr_key(EncrAlg.AES_CM_128) == derived("150533E1 FF 01020304 02 01 AA 01 CC", 128)
    assert keys.salt_key(EncrAlg.AES_KW_128) == derived("29B88916 FF 01020304 02 01 AA 01 CC", 64)


def test_labels_of_session_keys() -> None:
    prf = Prf(FUNC, KEY)
    tek = session_key(prf, derivation.SESSION_TEK, 7, 32, rand_i=b"\xaa", rand_r=b"\xbb\xcc")
    assert tek == derived("2AD01C64 07 FFFFFFFF 03 01 AA 02 BBCC")
    salt = session_key(prf, derivation.SESSION_SALT, 7, 14, rand_i=b"", rand_r=b"\xbb")
    assert salt == derived("39A2C14B 07 FFFFFFFF 03 00 01 BB", 112)
    with pytest.raises(LocalError):
        session_key(prf, derivation.SESSION_TEK, 7, 32, rand_i=b"", rand_r=b"")


def test_labels_of_forked_keys() -> None:
    who = {"id_data": b"\x61\x62", "rand_kms": b"\x01\x02\x03"}
    assert fork_mpk_r(FUNC, KEY, **who) == derived("2B288856 FF FFFFFFFF 00 0002 6162 03 010203")
    assert fork_tgk(FUNC, KEY, **who) == derived("1512B54A FF FFFFFFFF 00 0002 6162 03 010203")
    short = Secret(bytes(range(16)))
    assert len(fork_tgk(FUNC, short, **who)) == 16


def test_labels_of_ticket_keys() -> None:
    keys = ticket_keys(Prf(FUNC, KEY), b"\x55")
    assert keys.auth_key(MacAlg.HMAC_SHA_256_256) == derived("2D22AC75 FF FFFFFFFF 05 01 55")
    mpk_i, mpk_r = derive_mpks(FUNC, KEY, b"\x55")
    assert mpk_i == derived("220E99A2 FF FFFFFFFF 06 01 55")
    assert mpk_r == derived("1F4D675B FF FFFFFFFF 06 01 55")
    vr = initiator_data_keys(FUNC, KEY)
    assert vr.auth_key(MacAlg.HMAC_SHA_256_256) == derived("2D22AC75 FF FFFFFFFF 04")
