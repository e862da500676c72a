"""The PRFs against an independent construction with `hmac`, and against outside vectors."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.keys.prf import Prf
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import PrfFunc
from sipmikey.mikey.secret import Secret

NAMES = {"MIKEY-1": (PrfFunc.MIKEY_1, "sha1", 20), "HMAC-SHA-256": (PrfFunc.HMAC_SHA_256, "sha256", 32)}
OUTSIDE = Path(__file__).parents[3] / "shared" / "vectors" / "prf.json"


def by_the_book(name: str, inkey: bytes, label: bytes, outkey_bits: int) -> bytes:
    """RFC 3830 section 4.1.2 word for word, with integers for the bit strings."""
    _, digest, size = NAMES[name]
    m = -(-outkey_bits // (8 * size))
    total = 0
    for at in range(0, len(inkey), 32):
        s = inkey[at : at + 32]
        a, p = label, b""
        for _ in range(m):
            a = hmac.new(s, a, digest).digest()
            p += hmac.new(s, a + label, digest).digest()
        total ^= int.from_bytes(p, "big")
    outkey = total >> (8 * size * m - outkey_bits)
    return (outkey << -outkey_bits % 8).to_bytes((outkey_bits + 7) // 8, "big")


@pytest.mark.parametrize("name", NAMES)
@given(
    inkey=st.binary(min_size=1, max_size=130),
    label=st.binary(max_size=200),
    bits=st.integers(min_value=1, max_value=1100),
)
def test_every_length_agrees_with_the_definition(name: str, inkey: bytes, label: bytes, bits: int) -> None:
    derived = Prf(NAMES[name][0], Secret(inkey)).derive(label, bits)
    assert derived.reveal() == by_the_book(name, inkey, label, bits)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [16, 32, 33, 64, 65])
def test_every_bit_of_the_inkey_counts(name: str, length: int) -> None:
    func = NAMES[name][0]
    inkey = bytes(range(length))
    outkeys = {Prf(func, Secret(inkey)).derive(b"label", 368).reveal()}
    for bit in range(8 * length):
        changed = (int.from_bytes(inkey, "big") ^ 1 << bit).to_bytes(length, "big")
        outkeys.add(Prf(func, Secret(changed)).derive(b"label", 368).reveal())
    assert len(outkeys) == 8 * length + 1


def test_nothing_is_derived_from_nothing() -> None:
    with pytest.raises(LocalError):
        Prf(PrfFunc.MIKEY_1, Secret(b""))
    with pytest.raises(LocalError):
        Prf(PrfFunc.MIKEY_1, Secret(b"key")).derive(b"label", 0)


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the outside vectors are not beside this checkout")
def test_outside_vectors() -> None:
    vectors = json.loads(OUTSIDE.read_text())["vectors"]
    assert vectors
    for vector in vectors:
        prf = Prf(NAMES[vector["prf"]][0], Secret(bytes.fromhex(vector["inkey"])))
        derived = prf.derive(bytes.fromhex(vector["label"]), vector["outkey_bits"])
        assert derived.reveal().hex() == vector["outkey"], vector["name"]
