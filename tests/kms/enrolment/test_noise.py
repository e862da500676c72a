"""The handshake of enrolment: a published vector, wrong keys, altered messages."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmikey.kms.enrolment.noise import MAX_MESSAGE, OVERHEAD, HandshakeFailed, Initiator, Responder
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

PSK = Secret(b"This is my Austrian perspective!")
PROLOGUE = b"John Galt"
INITIATOR = bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
RESPONDER = bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
FIRST = bytes.fromhex(
    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79447c37a89fc17813788d30df2d59501d6066f5f8aecc34"
    "06bbd9829f2d24a531b1"
)
SECOND = bytes.fromhex(
    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088432f29d79368ef9de4e1ae7a362fb05bf0ad668e026bf5"
    "714554497b3a720461"
)
HASH = bytes.fromhex("9f3b1f9afd7767767b5b9d1069844a6154fdbdcc36dfb3e31c0fffc5c973d530")


def sides(psk: Secret = PSK, prologue: bytes = PROLOGUE) -> tuple[Initiator, Responder]:
    initiator = Initiator(PSK, prologue=PROLOGUE, random=lambda count: INITIATOR)
    return initiator, Responder(psk, prologue=prologue, random=lambda count: RESPONDER)


def test_the_published_vector_of_cacophony_is_met() -> None:
    initiator, responder = sides()
    first = initiator.write(b"Ludwig von Mises")
    assert first == FIRST
    assert responder.read(first) == b"Ludwig von Mises"
    second = responder.write(b"Murray Rothbard")
    assert second == SECOND
    assert initiator.read(second) == b"Murray Rothbard"
    assert initiator.hash == responder.hash == HASH
    assert initiator.derived(b"a") == responder.derived(b"a")
    assert initiator.derived(b"a") != initiator.derived(b"b")


@pytest.mark.parametrize(("psk", "prologue"), [(Secret(bytes(32)), PROLOGUE), (PSK, b"another")])
def test_another_key_or_prologue_opens_nothing(psk: Secret, prologue: bytes) -> None:
    initiator, responder = sides(psk, prologue)
    with pytest.raises(HandshakeFailed):
        responder.read(initiator.write(b"payload"))


@settings(deadline=None)
@given(place=st.integers(0, len(FIRST) - 1), bit=st.integers(0, 7), answer=st.booleans())
def test_a_message_that_was_altered_does_not_open(place: int, bit: int, answer: bool) -> None:
    initiator, responder = sides()
    message = bytearray(initiator.write(b"Ludwig von Mises"))
    if answer:
        responder.read(bytes(message))
        message = bytearray(responder.write(b"Murray Rothbard"))
        place = min(place, len(message) - 1)
    message[place] ^= 1 << bit
    with pytest.raises(HandshakeFailed):
        (initiator if answer else responder).read(bytes(message))


@pytest.mark.parametrize("size", [0, 31, OVERHEAD - 1, MAX_MESSAGE + 1])
def test_a_message_of_a_size_that_none_has_is_refused(size: int) -> None:
    for side in sides():
        with pytest.raises(HandshakeFailed):
            side.read(bytes(size))


def test_a_key_of_low_order_is_refused() -> None:
    initiator = Initiator(PSK, prologue=b"", random=os.urandom)
    responder = Responder(PSK, prologue=b"", random=os.urandom)
    initiator.write(b"")
    with pytest.raises(HandshakeFailed):
        initiator.read(bytes(32) + bytes(16))
    forged = Initiator(PSK, prologue=b"", random=os.urandom)
    forged._state.mix_public(bytes(32))  # somebody who knows the key and sends a point of small order
    assert responder.read(bytes(32) + forged._state.seal(b"")) == b""
    with pytest.raises(HandshakeFailed):
        responder.write(b"")


def test_keys_are_had_from_a_whole_handshake_only() -> None:
    initiator, responder = sides()
    responder.read(initiator.write(b""))
    for side in (initiator, responder):
        with pytest.raises(LocalError):
            side.derived(b"a")
    with pytest.raises(LocalError):
        Initiator(Secret(bytes(16)), prologue=b"", random=os.urandom)
