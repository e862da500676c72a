"""Streams without keys, and with keys that name no SSRC."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sipmikey.agent.asyncio_sip.media.described_keys import DescribedKeys
from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.lesser.any_source import AnySourceReceiver
from sipmikey.media.lesser.clear import ClearReceiver
from sipmikey.media.srtp import SrtpSender
from sipmikey.mikey.errors import LocalError
from sipmikey.sdp import KeyMgmtMissing
from tests.media.keys import SSRC, make_key
from tests.media.test_stream import FRAMES, START, make_stream, packets

OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n"
SUITES = ("AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80")


def rtp(sequence: int, ssrc: int = SSRC) -> bytes:
    return bytes((0x80, 8, 0, sequence)) + bytes(4) + ssrc.to_bytes(4, "big") + bytes(160)


def test_speech_in_clear_arrives_and_is_reported() -> None:
    (alice, _), (bob, heard) = make_stream(), make_stream(source=False)
    alice.run_in_clear(SSRC)
    bob.run_in_clear(SSRC + 1)
    for packet in packets(alice, 5):
        bob.receive(packet, START)
    assert heard.frames == list(FRAMES[:5])
    assert (alice.sent, bob.received) == (5, 5)
    bye = alice.bye(START)
    assert bye is not None
    bob.receive(bye, START)
    assert bob.peer_left


def test_a_stream_that_had_a_key_does_not_go_on_in_clear() -> None:
    for give in ("send_with", "receive_with", "receive_from_any"):
        stream, _ = make_stream()
        getattr(stream, give)(make_key())
        with pytest.raises(LocalError, match="in clear"):
            stream.run_in_clear(SSRC)
    stream.pause()
    assert stream.next_packet() is None


def test_keys_take_the_place_of_clear_media() -> None:
    (alice, _), (bob, heard) = make_stream(), make_stream(source=False)
    alice.run_in_clear(SSRC)
    bob.run_in_clear(SSRC + 1)
    bob.receive_with(make_key())
    for packet in packets(alice, 3):
        bob.receive(packet, START)
    assert heard.frames == []
    alice.send_with(make_key())
    for packet in packets(alice, 2):
        bob.receive(packet, START)
    assert heard.frames == list(FRAMES[3:5])


@pytest.mark.parametrize("length", range(12))
def test_what_is_too_short_to_be_rtp_is_refused(length: int) -> None:
    stream, heard = make_stream(source=False)
    stream.run_in_clear(SSRC)
    stream.receive(rtp(1)[:length], START)
    assert heard.frames == []
    with pytest.raises(PacketRefused):
        ClearReceiver().unprotect(rtp(1)[:length])


def test_a_source_is_known_by_its_packets_and_replays_are_refused() -> None:
    key = make_key()
    receiver = AnySourceReceiver(key)
    sent: list[bytes] = []
    for ssrc in (7, 9, 7):
        sender = SrtpSender(replace(key, ssrc=ssrc))
        packet = sender.protect(rtp(len(sent) + 1, ssrc))
        sent.append(packet)
        assert receiver.unprotect(packet)[12:] == bytes(160)
        assert receiver.ssrc == ssrc
    for packet in sent:
        with pytest.raises(PacketRefused) as refused:
            receiver.unprotect(packet)
        assert refused.value.error is SrtpError.REPLAYED


def test_packets_under_another_key_name_no_source() -> None:
    receiver = AnySourceReceiver(make_key())
    for ssrc in range(20):
        with pytest.raises(PacketRefused):
            receiver.unprotect(SrtpSender(make_key(seed=2, ssrc=ssrc)).protect(rtp(1, ssrc)))
    assert receiver.ssrc == SSRC
    assert receiver.unprotect(SrtpSender(make_key(ssrc=77)).protect(rtp(1, 77)))


def test_sources_of_one_key_are_limited() -> None:
    receiver = AnySourceReceiver(make_key())
    sent = [SrtpSender(make_key(ssrc=ssrc)).protect(rtp(1, ssrc)) for ssrc in range(9)]
    for packet in sent[:8]:
        assert receiver.unprotect(packet)
    with pytest.raises(PacketRefused, match="sources"):
        receiver.unprotect(sent[8])


def test_a_replaced_key_is_taken_for_what_was_under_way() -> None:
    old, new = SrtpSender(make_key(ssrc=5)), SrtpSender(make_key(seed=2, ssrc=5))
    receiver = AnySourceReceiver(make_key())
    receiver.unprotect(old.protect(rtp(1, 5)))
    receiver.rekey(make_key(seed=2))
    assert receiver.unprotect(old.protect(rtp(2, 5)))
    for sequence in range(3, 3 + 64):
        assert receiver.unprotect(new.protect(rtp(sequence, 5)))
    with pytest.raises(PacketRefused):
        receiver.unprotect(old.protect(rtp(200, 5)))


def test_offer_and_answer_agree_on_the_first_suite_of_the_offerer() -> None:
    rng = random.Random(3)
    alice, bob = DescribedKeys(SUITES, rng.randbytes), DescribedKeys(SUITES[1:], rng.randbytes)
    offer = alice.offer(OFFER)
    assert "m=audio 4000 RTP/SAVP 8" in offer
    assert offer.count("a=crypto:") == 2
    answer = bob.answer(OFFER, offer)
    (mine,) = alice.agreed(offer, answer, ours_offered=True).values()
    (theirs,) = bob.agreed(answer, offer, ours_offered=False).values()
    assert mine.suite == theirs.suite == SUITES[1]
    assert (mine.send, mine.receive) == (theirs.receive, theirs.send)
    assert alice.offer(OFFER) == offer
    assert repr(alice).count("inline") == 0


def test_an_offer_without_crypto_lines_gets_no_answer() -> None:
    keys = DescribedKeys(SUITES, random.Random(3).randbytes)
    with pytest.raises(KeyMgmtMissing):
        keys.answer(OFFER, OFFER.replace("RTP/AVP", "RTP/SAVP"))


def test_a_line_that_leaves_media_unencrypted_is_passed_over_for_the_next() -> None:
    rng = random.Random(3)
    alice, bob = DescribedKeys(SUITES, rng.randbytes), DescribedKeys(SUITES, rng.randbytes)
    first, *rest = alice.offer(OFFER).split("\r\na=crypto:1 ")
    assert rest, "the offer has a first line"
    kept, end, others = rest[0].partition("\r\n")
    offer = f"{first}\r\na=crypto:1 {kept} UNENCRYPTED_SRTP{end}{others}"
    answer = bob.answer(OFFER, offer)
    assert answer.count("a=crypto:") == 1
    assert "a=crypto:2 " in answer
    assert [one.suite for one in bob.agreed(answer, offer, ours_offered=False).values()] == [SUITES[1]]
