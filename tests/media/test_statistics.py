"""Loss and jitter of RFC 3550 appendix A, and the order of a recording."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.playout import Playout
from sipmikey.media.rtcp.packets import SenderReport, ntp_timestamp
from sipmikey.media.statistics import ReceptionCounter, round_trip_ns

MS = 1_000_000
SECOND = 1000 * MS


def arrive(counter: ReceptionCounter, number: int, late_ms: int = 0, start: int = 0) -> int:
    return counter.count(
        (start + number) & 0xFFFF, number * 160 & 0xFFFFFFFF, 160, SECOND + (number * 20 + late_ms) * MS
    )


def test_an_even_stream_has_no_loss_and_no_jitter() -> None:
    counter = ReceptionCounter(8000)
    for number in range(100):
        arrive(counter, number)
    found = counter.statistics()
    assert (found.received, found.expected, found.lost, found.reordered) == (100, 100, 0, 0)
    assert found.octets == 16000
    assert found.jitter_ms == pytest.approx(0, abs=1e-6)


def test_loss_is_counted_over_a_wrap_of_the_sequence_number() -> None:
    counter = ReceptionCounter(8000)
    extended = [arrive(counter, n, start=65500) for n in range(100) if n % 10]
    assert extended == [65500 + n for n in range(100) if n % 10]
    assert counter.statistics().lost == 9  # the one before the first is not missed


def test_late_packets_are_reordered_not_lost() -> None:
    counter = ReceptionCounter(8000)
    for number in (0, 2, 1, 3, 5, 4):
        arrive(counter, number)
    found = counter.statistics()
    assert (found.lost, found.reordered) == (0, 2)


def test_jitter_follows_the_formula() -> None:
    counter = ReceptionCounter(8000)
    expected = 0.0
    lateness = [0, 5, 0, 20, 3, 3, 8]
    for number, late in enumerate(lateness):
        arrive(counter, number, late)
        if number:
            expected += (abs(late - lateness[number - 1]) * 8 - expected) / 16
    assert counter.statistics().jitter_ms == pytest.approx(expected / 8)
    assert counter.report_block(1, 2 * SECOND).jitter == int(expected)


def test_a_report_block_tells_of_its_interval() -> None:
    counter = ReceptionCounter(8000)
    for number in range(10):
        arrive(counter, number)
    assert counter.report_block(1, 2 * SECOND).fraction_lost == 0
    for number in range(10, 20):
        if number % 2:
            arrive(counter, number)
    block = counter.report_block(1, 2 * SECOND)
    assert (block.fraction_lost, block.lost, block.highest) == (128, 5, 19)
    assert (block.last_sr, block.delay) == (0, 0)


def test_round_trip_from_the_last_sender_report() -> None:
    counter = ReceptionCounter(8000)
    arrive(counter, 0)
    sent_ns = 1_700_000_000 * SECOND
    report = SenderReport(ssrc=1, ntp=ntp_timestamp(sent_ns), rtp_timestamp=0, packets=1, octets=160)
    counter.sender_report(report, sent_ns + 10 * MS)
    block = counter.report_block(1, sent_ns + 510 * MS)
    assert block.delay == 32768
    found = round_trip_ns(block, sent_ns + 530 * MS)
    assert found is not None
    assert found / MS == pytest.approx(30, abs=0.1)


@given(st.permutations(range(6)), st.integers(0, 0xFFFFFFFF))
def test_frames_within_the_depth_come_out_in_order(order: list[int], start: int) -> None:
    written = bytearray()
    playout = Playout(written.extend, missing=lambda ticks: written.extend(b"\xff" * ticks), depth=6)
    for number in order:
        playout.put((start + 4 * number) & 0xFFFFFFFF, bytes((number,)) * 4)
    playout.flush()
    late = playout.late
    assert late < 6
    if order[0] == 0:
        assert (late, bytes(written)) == (0, bytes(number for number in range(6) for _ in range(4)))


def test_a_gap_becomes_silence_and_a_late_frame_is_dropped() -> None:
    written = bytearray()
    playout = Playout(written.extend, missing=lambda ticks: written.extend(b"\xff" * ticks), depth=2)
    for timestamp, frame in ((0, b"aa"), (4, b"cc"), (6, b"dd"), (8, b"ee"), (2, b"bb")):
        playout.put(timestamp, frame)
    playout.flush()
    assert bytes(written) == b"aa\xff\xffccddee"
    assert playout.late == 1
