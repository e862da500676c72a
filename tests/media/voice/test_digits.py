"""Keys pressed at one end are heard at the other, each once, and the sound goes on behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.g711 import PCMA, PCMU
from sipmikey.media.rtp import RtpPacket
from sipmikey.media.srtp import SrtpReceiver
from sipmikey.media.stream import RtpStream
from sipmikey.media.voice.telephone_event import KEYS, Digits, HeardDigits
from sipmikey.mikey.errors import LocalError
from tests.media.keys import make_key

EVENT = 101
FRAME = bytes((PCMA.silence,)) * 160


class Endless:
    def next_frame(self) -> bytes:
        return FRAME


def pair() -> tuple[RtpStream, RtpStream, list[str]]:
    heard: list[str] = []
    sender = RtpStream(codec=PCMA, cname="a", source=Endless())
    receiver = RtpStream(codec=PCMA, cname="b", on_digit=heard.append)
    sender.event_type_sent = receiver.event_type_heard = EVENT
    sender.send_with(make_key())
    receiver.receive_with(make_key())
    return sender, receiver, heard


def move(sender: RtpStream, receiver: RtpStream, frames: int) -> list[RtpPacket]:
    look = SrtpReceiver(make_key())
    moved = []
    for number in range(frames):
        packet = sender.next_packet()
        if packet is not None:
            receiver.receive(packet, number * 20_000_000)
            moved.append(RtpPacket.parse(look.unprotect(packet)))
    return moved


@given(digits=st.text(alphabet=KEYS, min_size=1, max_size=4))
def test_all_keys_arrive_once_in_order(digits: str) -> None:
    sender, receiver, heard = pair()
    sender.send_digits(digits)
    packets = move(sender, receiver, 12 * len(digits) + 5)
    assert "".join(heard) == digits
    assert receiver.lost == 0
    assert receiver.received == sender.sent == len(packets)


def test_the_packets_are_those_of_rfc_4733() -> None:
    sender, receiver, _ = pair()
    before = move(sender, receiver, 3)
    sender.send_digits("5")
    during = move(sender, receiver, 20)
    events = [packet for packet in during if packet.payload_type == EVENT]
    after = during[len(events)]
    assert {packet.timestamp for packet in events} == {before[-1].timestamp + 160}
    assert [packet.marker for packet in events] == [True] + [False] * 7
    assert [packet.payload[0] for packet in events] == [5] * 8
    assert [bool(packet.payload[1] & 0x80) for packet in events] == [False] * 5 + [True] * 3
    durations = [int.from_bytes(packet.payload[2:], "big") for packet in events]
    assert durations == [160, 320, 480, 640, 800, 960, 960, 960]
    assert after.payload_type == PCMA.payload_type
    assert after.timestamp == events[0].timestamp + 12 * 160
    assert after.marker
    sequences = [packet.sequence for packet in (*before, *during)]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


def test_a_key_is_heard_although_packets_are_lost() -> None:
    sender, receiver, heard = pair()
    sender.send_digits("7")
    for number in range(20):
        packet = sender.next_packet()
        if packet is not None and number == 7:
            receiver.receive(packet, 0)
    assert heard == ["7"]


@given(st.binary(max_size=8))
def test_an_event_that_is_not_a_key_is_not_heard(payload: bytes) -> None:
    digit = HeardDigits().take(160, payload, 0.0)
    assert digit == (KEYS[payload[0]] if len(payload) >= 4 and payload[0] < 16 else "")


def event(key: str, duration: int, *, ends: bool = False) -> bytes:
    return bytes((KEYS.index(key), 0x80 if ends else 0)) + duration.to_bytes(2, "big")


def test_packets_of_old_events_are_not_heard_again() -> None:
    ear = HeardDigits()
    packets = [(1000, "1"), (1000, "1"), (4000, "2"), (1000, "1"), (4000, "2"), (1000, "1")]
    assert [ear.take(at, event(key, 800), 0.0) for at, key in packets] == ["1", "", "2", "", "", ""]


def test_a_key_held_longer_than_a_duration_can_say_is_one_key() -> None:
    ear = HeardDigits()
    assert ear.take(1000, event("5", 0xFFFF), 0.0) == "5"
    assert ear.take(1000 + 0xFFFF, event("5", 160), 8.2) == ""
    assert ear.take(1000 + 0xFFFF, event("5", 8000, ends=True), 9.2) == ""
    assert ear.take(1000 + 0xFFFF + 8000, event("5", 160), 9.3) == "5", "it was let go in between"


def test_timestamps_wrap_around_between_two_keys() -> None:
    ear = HeardDigits()
    assert ear.take(0xFFFF_FF00, event("1", 800), 0.0) == "1"
    assert ear.take(0x0000_2000, event("1", 800), 1.0) == "1"
    assert ear.take(0xFFFF_FF00, event("1", 800), 1.0) == ""


def test_a_flood_of_keys_is_not_told() -> None:
    ear = HeardDigits()
    told = [ear.take(number * 80, event(KEYS[number % 16], 80), number / 1000) for number in range(5000)]
    assert 50 < sum(map(len, told)) < 100, "five seconds"
    assert ear.take(10**6, event("9", 80), 10.0) == "9", "it is over"


def test_fast_dialling_is_no_flood() -> None:
    ear = HeardDigits()
    told = [ear.take(number * 520, event(KEYS[number % 16], 320), number * 0.065) for number in range(300)]
    assert all(told)


def test_who_takes_no_events_is_not_sent_any() -> None:
    sender, _, _ = pair()
    sender.event_type_sent = None
    with pytest.raises(LocalError, match="RFC 4733"):
        sender.send_digits("1")
    with pytest.raises(ValueError, match="not found"):
        Digits(160).add("x")


def test_a_change_of_codec_goes_on_where_the_other_had_got_to() -> None:
    sender, receiver, _ = pair()
    before = move(sender, receiver, 5)
    sender.codec = receiver.codec = PCMU
    after = move(sender, receiver, 5)
    assert [packet.payload_type for packet in after] == [0] * 5
    assert after[0].sequence == before[-1].sequence + 1
    assert after[0].timestamp == before[-1].timestamp + 160
    assert receiver.received == sender.sent == 10
