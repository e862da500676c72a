"""TGKs longer than the keys of the 256-bit suite are accepted like others (RFC 6043 section 12.1)."""

from __future__ import annotations

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.kms.policy.adjust import adjust
from sipmikey.kms.policy.limits import TicketLimits
from sipmikey.mikey.errors import MalformedMessage
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.sdp import Answerer, Offerer
from sipmikey.ticket.key_rules import check_transported_keys
from sipmikey.ticket.policy import FULL_MODE, RequestedKey, TicketPolicy
from tests.sdp.descriptions import AUDIO
from tests.sdp.parties import ALICE, BOB, KMS, Parties, World, assert_mirrored, grant


def key(length: int) -> KeyData:
    return KeyData(key_type=KeyDataType.TGK, key=Secret(bytes(length)), spi=b"spi!")


@pytest.mark.parametrize("length", [32, 33, 48, 80, 256])
def test_the_256_bit_suite_takes_longer_keys(length: int) -> None:
    check_transported_keys([key(length)], SUITE_256, "REQUEST_RESP")


def test_the_128_bit_suite_does_not() -> None:
    check_transported_keys([key(16)], SUITE_128, "REQUEST_RESP")
    with pytest.raises(MalformedMessage, match="too long"):
        check_transported_keys([key(17)], SUITE_128, "REQUEST_RESP")


@pytest.mark.parametrize(
    ("suite", "asked", "given"), [(SUITE_256, 80, 64), (SUITE_128, 80, 16), (SUITE_256, 0, 32)]
)
def test_the_kms_grants_them_where_its_policy_says_so(suite: Suite, asked: int, given: int) -> None:
    keys = (RequestedKey(length=asked),) if asked else ()
    policy = TicketPolicy(
        suite=suite, flags=FULL_MODE, responders=(BOB,), kms=KMS, initiator=ALICE, requested_keys=keys
    )
    granted, _ = adjust(policy, TicketLimits(max_key_bytes=64, suites=(suite,)), now_s=0)
    assert [one.length for one in granted.requested_keys] == [given]


@pytest.mark.parametrize("length", [48, 80])
def test_a_call_is_keyed_from_them(length: int) -> None:
    parties = Parties(World())
    offerer: Offerer = parties.offerer(grant(parties.world, parties.kms, key_length=length))
    answerer: Answerer
    answerer, answer, bobs = parties.respond(offerer.make_offer(AUDIO), sdp=AUDIO)
    assert_mirrored(offerer.receive_answer("tag", answer), bobs)
    assert answerer.session is not None
