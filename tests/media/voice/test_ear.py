"""What is heard of packets that are lost, late, out of order, or of a clock that drifts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.codecs.codec import frame_samples, frame_ticks
from sipmikey.media.codecs.known import codec_named
from sipmikey.media.g711 import PCMA
from sipmikey.media.voice.ear import Ear
from sipmikey.media.voice.jitter import JitterBuffer, JitterState, Kind
from sipmikey.media.voice.mouth import Mouth
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.mikey.errors import LocalError
from sipmikey.sound.concealment import Concealment
from sipmikey.sound.samples import Samples

RATE = 16000
BLOCK = RATE // 50
Arrivals = Callable[[int], float | None]


def tone(start: int, count: int) -> Samples:
    return (0.5 * np.sin(2 * np.pi * 440 * (start + np.arange(count)) / RATE)).astype(np.float32)


def listen(
    seconds: float, arrives: Arrivals, *, ppm: float = 0.0, codec: str = "PCMA"
) -> Iterator[tuple[Samples, JitterState]]:
    """Say a tone by a clock *ppm* fast; packet n arrives so many seconds late as *arrives* says."""
    payloads: list[bytes] = []
    chosen = codec_named(codec)
    mouth = Mouth(chosen, rate=RATE, say=payloads.append)
    now = 0.0
    ear = Ear(chosen, rate=RATE, settings=JitterSettings(), clock=lambda: now)
    count = int(seconds * 50)
    for number in range(100):
        mouth.take(tone(number * BLOCK, BLOCK))
    second = payloads[50:]  # the tone is that of the second before, again and again
    step = 0.02 / (1 + ppm * 1e-6)
    events = sorted(
        (number * step + late, number)
        for number in range(count + 50)
        if (late := arrives(number)) is not None
    )
    at = 0
    for number in range(count):
        heard_at = number * 0.02 + 0.007
        while at < len(events) and events[at][0] <= heard_at:
            now, sent = events[at]
            ear.put(0xFFFF_F000 + sent * frame_ticks(chosen) & 0xFFFF_FFFF, second[sent % 50])
            at += 1
        now = heard_at
        yield ear.read(BLOCK), ear.state


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize("codec", ["PCMA", "G722", "opus"])
def test_an_even_stream_is_heard_whole_and_soon(codec: str) -> None:
    heard = list(listen(4.0, lambda _: 0.0, codec=codec))
    last = heard[-1][1]
    assert (last.lost, last.late, last.dry) == (0, 0, 0)
    assert last.target_ms == 50.0
    sounding = [loudness(block) for block, _ in heard[10:]]
    assert min(sounding) > 0.3
    spectrum = np.abs(np.fft.rfft(np.concatenate([block for block, _ in heard[50:]])))
    assert np.argmax(spectrum) * RATE / (2 * (len(spectrum) - 1)) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("ppm", "minutes"), [(-200.0, 10), (400.0, 3)])
def test_a_clock_that_drifts_leaves_no_gap_and_no_growing_delay(ppm: float, minutes: int) -> None:
    states = [state for _, state in listen(60.0 * minutes, lambda _: 0.0, ppm=ppm)]
    settled = states[500:]
    assert settled[-1].dry == settled[0].dry
    assert (settled[-1].lost, settled[-1].late) == (0, 0)
    early = np.mean([state.waiting_ms for state in settled[:3000]])
    late = np.mean([state.waiting_ms for state in settled[-3000:]])
    assert abs(late - early) < 10.0
    assert max(state.waiting_ms for state in settled) <= 60.0


def test_jitter_makes_packets_wait_longer_and_calm_shorter() -> None:
    rng = random.Random(3)
    late = [rng.random() * 0.06 if number < 500 else 0.0 for number in range(3050)]
    states = [state for _, state in listen(60.0, late.__getitem__)]
    assert states[499].target_ms > 60.0
    assert states[2999].target_ms < states[499].target_ms
    assert states[499].late + states[499].dry < 25
    assert states[2999].late == states[600].late


def test_every_tenth_packet_lost_leaves_no_hole() -> None:
    heard = list(listen(6.0, lambda number: None if number % 10 == 9 else 0.0))
    assert min(loudness(block) for block, _ in heard[10:]) > 0.2
    assert heard[-1][1].lost == pytest.approx(30, abs=2)


def test_packets_wait_for_the_one_behind_where_that_tells_of_a_lost_one() -> None:
    def targets(codec: str) -> list[float]:
        heard = listen(4.0, lambda number: None if number in (50, 90) else 0.0, codec=codec)
        return [state.target_ms for _, state in heard]

    opus = targets("opus")
    assert (opus[40], opus[80], opus[-1]) == (50.0, 70.0, 70.0)
    assert max(targets("G722")) < 70.0


def test_who_stops_talking_fades_and_is_heard_again() -> None:
    heard = list(listen(6.0, lambda number: None if 100 <= number < 200 else 0.0))
    assert max(loudness(block) for block, _ in heard[115:199]) < 0.01
    assert min(loudness(block) for block, _ in heard[210:]) > 0.3


def test_a_packet_that_comes_twice_or_out_of_order_is_heard_once() -> None:
    buffer = JitterBuffer(PCMA, JitterSettings(least_ms=60))
    for number in (1, 0, 2, 1, 3, 3):
        buffer.put(number * 160, bytes((number,)) * 160, 0.0)
    taken = [buffer.take(0.0) for _ in range(4)]
    assert [one.payload[:1] for one in taken] == [b"\0", b"\1", b"\2", b"\3"]


def test_a_loss_is_told_with_the_frame_behind_it() -> None:
    buffer = JitterBuffer(PCMA, JitterSettings(least_ms=60))
    for number in (0, 2, 3):
        buffer.put(number * 160, bytes((number,)) * 160, 0.0)
    kinds = [(one.kind, one.following) for one in (buffer.take(0.0) for _ in range(3))]
    assert kinds == [(Kind.FRAME, None), (Kind.LOST, b"\2" * 160), (Kind.FRAME, None)]


def test_frames_that_overlap_take_nothing_back() -> None:
    buffer = JitterBuffer(PCMA, JitterSettings(least_ms=60))
    for at, count in ((0, 320), (160, 160), (480, 160)):
        buffer.put(at, bytes(count), 0.0)
    taken = [buffer.take(0.0) for _ in range(3)]
    assert [(one.kind, one.ticks) for one in taken] == [
        (Kind.FRAME, 320), (Kind.LOST, 160), (Kind.FRAME, 160),
    ]  # fmt: skip
    assert buffer.state.late == 1


@pytest.mark.parametrize("codec", ["PCMA", "G722", "opus"])
def test_nothing_a_peer_sends_stops_the_ear(codec: str) -> None:
    rng = random.Random(13)
    now, at = 0.0, 0
    chosen = codec_named(codec)
    ear = Ear(chosen, rate=RATE, settings=JitterSettings(), clock=lambda: now)
    for _ in range(300):
        now += 0.02
        for _ in range(rng.choice((0, 1, 1, 2, 5))):
            at += rng.choice((0, 1, -1, frame_ticks(chosen), rng.randint(-50000, 50000)))
            ear.put(at & 0xFFFF_FFFF, rng.randbytes(rng.choice((0, 1, 2, 3, 50, 160, 1400, 65000))))
        assert len(ear.read(BLOCK)) == BLOCK


@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.integers(0, 0xFFFF_FFFF), st.binary(max_size=400))), max_size=60
    )
)
def test_whatever_comes_a_frame_is_given_and_memory_stays_bounded(
    steps: list[tuple[int, bytes] | None],
) -> None:
    buffer = JitterBuffer(PCMA, JitterSettings())
    for step in steps:
        if step is None:
            assert 0 < buffer.take(0.0).ticks <= 400
        else:
            buffer.put(*step, 0.0)
        assert 0 <= buffer.state.waiting_ms <= 5000


def test_a_lost_frame_continues_the_voice_and_dies_away() -> None:
    concealment = Concealment(RATE)
    time = np.arange(RATE) / RATE
    voice = (0.3 * np.sum([np.sin(2 * np.pi * 120 * n * time) for n in range(1, 6)], axis=0)).astype(
        np.float32
    )
    for at in range(0, 6400, BLOCK):
        concealment.heard(voice[at : at + BLOCK])
    made = concealment.lost(BLOCK)
    assert np.corrcoef(made, voice[6400 : 6400 + BLOCK])[0, 1] > 0.95
    rest = [concealment.lost(BLOCK) for _ in range(4)]
    assert loudness(rest[-1]) == 0.0
    assert [loudness(one) for one in (made, *rest)] == sorted(
        (loudness(one) for one in (made, *rest)), reverse=True
    )


def test_the_mouth_leaves_out_what_the_codec_cannot_say() -> None:
    said: list[bytes] = []
    mouth = Mouth(PCMA, rate=RATE, say=said.append)
    high = (0.5 * np.sin(2 * np.pi * 6000 * np.arange(RATE) / RATE)).astype(np.float32)
    for at in range(0, RATE, BLOCK):
        mouth.take(high[at : at + BLOCK])
    assert len(said) == 50
    heard = np.frombuffer(PCMA.decode(b"".join(said[1:])), dtype=np.int16) / 32768
    assert loudness(heard.astype(np.float32)) < 0.005
    with pytest.raises(LocalError, match="do not fit PCMA"):
        Mouth(PCMA, rate=48000, say=said.append)


@pytest.mark.parametrize(("least", "most"), [(5, 100), (100, 50), (30, 2000)])
def test_settings_that_make_no_sense_are_refused(least: int, most: int) -> None:
    with pytest.raises(LocalError, match="jitter buffer"):
        JitterSettings(least_ms=least, most_ms=most)


def test_frames_are_those_of_the_codec() -> None:
    assert [
        (frame_samples(codec_named(name)), frame_ticks(codec_named(name))) for name in ("G722", "opus")
    ] == [
        (320, 160),
        (320, 960),
    ]
