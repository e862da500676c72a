"""What comes out of the speaker of a group: lost and late packets are silence, and no turn is heard later."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from sipmikey.agent.group.hearing import LEAST_DELAY_MS, Hearing
from sipmikey.media.g711 import PCMA, RATE
from sipmikey.media.rtp import RtpPacket
from sipmikey.media.talk import SAMPLES
from sipmikey.sound.samples import Samples, to_octets

FRAME_S = SAMPLES / RATE
AUDIBLE = 0.05
BOB, CAROL = 0xB0B, 0xCA401


def packet(
    number: int, *, ssrc: int = BOB, first: int = 0, payload_type: int = PCMA.payload_type
) -> RtpPacket:
    """Return frame *number* of a tone, every other one louder; the turn begins with frame *first*."""
    time = (number * SAMPLES + np.arange(SAMPLES)) / RATE
    tone = ((0.6 if number % 2 else 0.3) * np.sin(2 * np.pi * 400 * time)).astype(np.float32)
    return RtpPacket(
        payload_type=payload_type, sequence=number & 0xFFFF, timestamp=number * SAMPLES & 0xFFFF_FFFF,
        ssrc=ssrc, payload=PCMA.encode(to_octets(tone)), marker=number == first,
    )  # fmt: skip


def hearing_now() -> Hearing:
    """Return a hearing that is asked for sound just when packets come."""
    return Hearing(clock=lambda: 0.0)


def heard(hearing: Hearing, arriving: Iterable[tuple[RtpPacket, ...]]) -> Samples:
    """Return what is read, a frame at a time, while packets arrive in that time."""
    read = []
    for packets in arriving:
        for one in packets:
            hearing.put(one)
        read.append(hearing.read(SAMPLES))
    return np.concatenate(read)


def loud(samples: Samples) -> list[bool]:
    """Return of each 5 ms whether it is heard."""
    return [bool(np.abs(block).max() > AUDIBLE) for block in samples.reshape(-1, RATE // 200)]


def delay_s(shown: list[bool]) -> float:
    return shown.index(True) / 200


def test_a_turn_is_heard_whole_and_soon() -> None:
    hearing = hearing_now()
    shown = loud(heard(hearing, [(packet(number),) for number in range(50)] + [()] * 20))
    assert LEAST_DELAY_MS / 1e3 <= delay_s(shown) <= 0.12
    assert sum(shown) == pytest.approx(50 * FRAME_S * 200, abs=4)
    assert True not in shown[-40:]


def test_nothing_is_silence() -> None:
    assert not heard(hearing_now(), [()] * 5).any()


def test_a_packet_of_another_codec_is_not_heard() -> None:
    arriving = [(packet(number, payload_type=0),) for number in range(20)]
    assert True not in loud(heard(hearing_now(), arriving))


def test_a_lost_packet_is_silence_in_its_place() -> None:
    arriving = [() if number == 25 else (packet(number),) for number in range(50)]
    shown = loud(heard(hearing_now(), arriving))
    talking = shown[shown.index(True) :]
    quiet = talking.index(False)
    assert quiet / 200 == pytest.approx(25 * FRAME_S, abs=0.01)
    assert talking[quiet : quiet + 6].count(False) == pytest.approx(FRAME_S * 200, abs=1)
    assert all(talking[quiet + 6 : 150])


def test_packets_in_the_wrong_order_are_heard_in_the_right_one() -> None:
    turned = [(packet(number),) for number in range(50)]
    turned[20], turned[21] = turned[21], turned[20]
    inorder = [(packet(number),) for number in range(50)]
    assert np.abs(heard(hearing_now(), turned) - heard(hearing_now(), inorder)).max() < 0.1


def test_a_packet_that_comes_too_late_is_not_heard_twice_nor_instead_of_another() -> None:
    arriving: list[tuple[RtpPacket, ...]] = [() if n == 25 else (packet(n),) for n in range(50)]
    missing = heard(hearing_now(), arriving)
    arriving[32] = (packet(32), packet(25))
    assert np.array_equal(heard(hearing_now(), arriving), missing)


@pytest.mark.parametrize("others", [(BOB, BOB), (BOB, CAROL)], ids=["the same", "in turn"])
def test_the_twentieth_turn_is_heard_as_soon_as_the_first(others: tuple[int, int]) -> None:
    hearing = hearing_now()
    delays = []
    for turn in range(20):
        first = turn * 100
        talking = [
            (packet(number, ssrc=others[turn % 2], first=first),) for number in range(first, first + 15)
        ]
        delays.append(delay_s(loud(heard(hearing, talking + [()] * 15))))
    assert max(delays) <= min(delays) + FRAME_S


def test_a_turn_whose_first_packet_is_lost_is_heard() -> None:
    hearing = hearing_now()
    heard(hearing, [(packet(number),) for number in range(15)] + [()] * 15)
    shown = loud(heard(hearing, [(packet(number, first=1000),) for number in range(1001, 1020)]))
    assert delay_s(shown) <= 0.12


def test_packets_in_a_burst_raise_the_delay_no_more_than_is_needed() -> None:
    """Two frames come together each 40 ms: nothing is missing."""
    arriving = [(packet(n - 1), packet(n)) if n % 2 else () for n in range(100)]
    shown = loud(heard(hearing_now(), arriving))
    talking = shown[shown.index(True) :]
    assert all(talking)
