"""The collector sees key stream that is used twice, and takes nothing else for that."""

from __future__ import annotations

import base64
import os
import struct

import pytest
from pylibsrtp import Policy, Session

from tests.key_stream import KeyStream

SUITE = "AES_CM_128_HMAC_SHA1_80"
SSRC = 0x12345678


def session(keying: bytes) -> Session:
    return Session(Policy(key=keying, ssrc_type=Policy.SSRC_ANY_OUTBOUND))


def rtp(sequence: int, fill: int = 0, ssrc: int = SSRC) -> bytes:
    header = struct.pack("!BBHII", 0x80, 8, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc)
    return header + bytes((fill,)) * 160


def report(fill: int = 0, ssrc: int = SSRC) -> bytes:
    return struct.pack("!BBHI", 0x80, 200, 6, ssrc) + bytes((fill,)) * 20


@pytest.fixture
def keying() -> bytes:
    return os.urandom(30)


@pytest.fixture
def found(keying: bytes) -> KeyStream:
    found = KeyStream()
    found.add_key(SUITE, keying)
    return found


def test_a_stream_with_its_reports_repeats_nothing(found: KeyStream, keying: bytes) -> None:
    sender = session(keying)
    for number in range(65500, 65600):
        found.take(sender.protect(rtp(number)))
    for number in range(5):
        found.take(sender.protect_rtcp(report(number)))
    assert (found.rtp, found.rtcp, found.foreign, found.repeated) == (100, 5, 0, [])
    # The sequence number rolled over: the places go on.
    assert {place[3] for place in found._places if place[1] == "RTP"} == set(range(65500, 65600))


def test_a_key_that_is_started_again_repeats_rtcp(found: KeyStream, keying: bytes) -> None:
    for fill in range(2):
        sender = session(keying)
        found.take(sender.protect_rtcp(report(fill)))
    assert [(place[1], place[2], place[3]) for place in found.repeated] == [("RTCP", SSRC, 1)]


def test_a_roll_over_counter_that_is_lost_repeats_rtp(found: KeyStream, keying: bytes) -> None:
    sender = session(keying)
    for number in range(65530, 65540):
        found.take(sender.protect(rtp(number)))
    # Started again it counts from 0, and 65536 packets after the first ones it is where those were.
    sender = session(keying)
    for number in (*range(65540, 65550), *range(2 * 65536 - 3, 2 * 65536)):
        found.take(sender.protect(rtp(number, fill=1)))
    assert [(place[1], place[3]) for place in found.repeated] == [("RTP", n) for n in (65533, 65534, 65535)]


def test_a_packet_passed_on_or_another_key_or_ssrc_repeats_nothing(found: KeyStream, keying: bytes) -> None:
    other = os.urandom(30)
    found.add_crypto_lines(b"a=crypto:1 " + SUITE.encode() + b" inline:" + base64.b64encode(other))
    assert found.keys == 2
    packet = session(keying).protect(rtp(7))
    for taken in (
        packet,
        packet,
        session(other).protect(rtp(7, 1)),
        session(keying).protect(rtp(7, 1, ssrc=9)),
    ):
        found.take(taken)
    assert (found.rtp, found.repeated) == (4, [])


def test_what_is_under_no_known_key_is_foreign(found: KeyStream) -> None:
    found.take(session(os.urandom(30)).protect(rtp(1)))
    found.take(rtp(1))
    found.take(b"INVITE sip:bob@example.com SIP/2.0\r\n\r\n")
    assert (found.rtp, found.foreign) == (0, 2)
