"""One protected stream each way, without sockets."""

from __future__ import annotations

import random
import wave
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.g711 import PCMA, PCMU, to_mono
from sipmikey.media.rtp import RtpPacket
from sipmikey.media.srtp import SrtpReceiver, SrtpSender
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames
from sipmikey.mikey.errors import LocalError
from tests.media.keys import SSRC, make_key, noise_frames

MS = 1_000_000
START = 1_700_000_000_000 * MS
FRAMES = noise_frames(100, seed=1)


class Collected:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def put(self, timestamp: int, payload: bytes) -> None:
        self.frames.append(payload)


def make_stream(source: bool = True, **options) -> tuple[RtpStream, Collected]:
    sink = Collected()
    stream = RtpStream(
        codec=PCMA,
        cname="party@example.org",
        source=FrameSource(FRAMES) if source else None,
        sink=sink,
        rng=random.Random(2),
        **options,
    )
    return stream, sink


def packets(stream: RtpStream, count: int) -> list[bytes]:
    found = [stream.next_packet() for _ in range(count)]
    assert None not in found
    return [packet for packet in found if packet is not None]


def test_nothing_is_sent_without_a_key() -> None:
    stream, _ = make_stream()
    assert stream.next_packet() is None
    assert stream.report(START) is None
    assert stream.bye(START) is None
    stream.send_with(make_key())
    # The source lost no frame while there was no key.
    assert SrtpReceiver(make_key()).unprotect(packets(stream, 1)[0])[12:] == FRAMES[0]


def test_nothing_is_decoded_without_a_key_and_early_media_plays_after_it() -> None:
    sender, _ = make_stream()
    sender.send_with(make_key())
    receiver, sink = make_stream(source=False)
    for n, packet in enumerate(packets(sender, 10)):
        receiver.receive(packet, START + n * 20 * MS)
    assert (sink.frames, receiver.received, receiver.statistics().held) == ([], 0, 10)
    receiver.receive_with(make_key())
    assert sink.frames == list(FRAMES[:10])
    assert receiver.statistics().reception.jitter_ms == pytest.approx(0, abs=0.001)
    for n, packet in enumerate(packets(sender, 5), 10):
        receiver.receive(packet, START + n * 20 * MS)
    assert sink.frames == list(FRAMES[:15])


def test_a_branch_is_heard_on_its_own_keys_only() -> None:
    keys = {"tag A": make_key(seed=1), "tag B": make_key(seed=2)}
    branches = {}
    for name, key in keys.items():
        branches[name], _ = make_stream()
        branches[name].send_with(key)
    refusals: list[PacketRefused] = []
    receiver, sink = make_stream(source=False, on_refused=refusals.append)
    for name, key in keys.items():
        receiver.add_candidate(name, key)
    from_a, from_b = packets(branches["tag A"], 6), packets(branches["tag B"], 6)
    for packet in (from_a[0], from_b[0], from_a[1]):
        receiver.receive(packet, START)
    receiver.listen_to("tag A")
    assert sink.frames == [FRAMES[0], FRAMES[1]]
    receiver.receive(from_b[1], START)
    assert len(sink.frames) == 2
    assert [(r.error, r.detail) for r in refusals] == [(SrtpError.OTHER_CANDIDATE, "the key of tag B fits")]
    assert receiver.statistics().fitting == {"tag A": 2}
    receiver.choose("tag B")
    receiver.receive(from_a[2], START)
    receiver.receive(from_b[2], START)
    assert sink.frames[2:] == [FRAMES[0], FRAMES[2]]
    # The other candidate's key is gone: its packets are strangers now.
    assert receiver.statistics().refused == {SrtpError.AUTHENTICATION: 1}
    with pytest.raises(LocalError, match="tag A"):
        receiver.choose("tag A")


def test_reports_travel_both_ways_protected() -> None:
    alice, _ = make_stream(rtcp_interval_s=1)
    bob, _ = make_stream(rtcp_interval_s=1)
    for sender, receiver, key in ((alice, bob, make_key(ssrc=1)), (bob, alice, make_key(seed=2, ssrc=2))):
        sender.send_with(key)
        receiver.receive_with(key)
    for n in range(100):
        now = START + n * 20 * MS
        for sender, receiver in ((alice, bob), (bob, alice)):
            receiver.receive(packets(sender, 1)[0], now)
            report = sender.report(now)
            if report is not None:
                assert b"party@example.org" not in report
                receiver.receive(report, now + 5 * MS)
    for stream in (alice, bob):
        found = stream.statistics()
        assert found.rtcp_sent == found.rtcp_received >= 2
        assert found.round_trip_ms is not None
        assert found.round_trip_ms < 21
        assert (found.reception.lost, found.refused, found.peer_left) == (0, {}, False)
    goodbye = alice.bye(now)
    assert goodbye is not None
    bob.receive(goodbye, now)
    assert bob.statistics().peer_left


def test_rekeying_in_both_directions_loses_nothing() -> None:
    sender, _ = make_stream()
    receiver, sink = make_stream(source=False)
    sender.send_with(make_key())
    receiver.receive_with(make_key())
    in_flight: list[bytes] = []
    for n in range(90):
        if n % 30 == 10:
            receiver.receive_with(make_key(seed=n))
        if n % 30 == 20:
            sender.send_with(make_key(seed=n - 10))
        in_flight += packets(sender, 1)
        if len(in_flight) > 4:
            receiver.receive(in_flight.pop(0), START + n)
    assert sink.frames == list(FRAMES[:86])
    assert receiver.statistics().refused == {}


def test_any_octets_are_survived() -> None:
    receiver, sink = make_stream(source=False)
    receiver.receive_with(make_key())
    rng = random.Random(3)
    for size in range(300):
        receiver.receive(rng.randbytes(size), START)
        receiver.receive(b"\x80" + bytes((200 + size % 4,)) + rng.randbytes(size), START)
    assert sink.frames == []
    assert sum(receiver.statistics().refused.values()) == 600


def test_a_source_that_ends_leaves_the_clock_running() -> None:
    stream = RtpStream(codec=PCMA, cname="x", source=FrameSource(FRAMES[:2]))
    stream.send_with(make_key())
    receiver = SrtpReceiver(make_key())
    first, second = (RtpPacket.parse(receiver.unprotect(p)) for p in packets(stream, 2))
    assert [stream.next_packet() for _ in range(3)] == [None] * 3
    stream.source = FrameSource(FRAMES[2:])
    third = RtpPacket.parse(receiver.unprotect(packets(stream, 1)[0]))
    assert (third.sequence - second.sequence) % 65536 == 1
    assert (third.timestamp - second.timestamp) % 2**32 == 4 * 160
    assert (first.marker, second.marker, third.marker) == (True, False, True)


@pytest.mark.parametrize("codec", [PCMU, PCMA], ids=lambda codec: codec.name)
def test_a_wav_sent_is_the_wav_recorded(codec, tmp_path: Path) -> None:
    rng = random.Random(4)
    pcm = codec.decode(bytes(rng.randrange(256) for _ in range(1600)))  # values G.711 holds exactly
    original, copy = tmp_path / "original.wav", tmp_path / "copy.wav"
    with wave.open(str(original), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(pcm)
    sender = RtpStream(codec=codec, cname="x", source=FrameSource(read_frames(original, codec)))
    recorder = WavRecorder(copy, codec)
    receiver = RtpStream(codec=codec, cname="y", sink=recorder)
    sender.send_with(make_key())
    receiver.receive_with(make_key())
    sent = packets(sender, 10)
    sent[3], sent[4] = sent[4], sent[3]
    for packet in sent:
        receiver.receive(packet, START)
    recorder.close()
    with wave.open(str(copy), "rb") as file:
        assert file.getparams()[:3] == (1, 2, 8000)
        assert file.readframes(1600) == pcm


def test_a_recording_that_goes_on_at_another_rate_has_no_seams(tmp_path: Path) -> None:
    frames = [PCMA.encode(bytes(noise * 2)) for noise in FRAMES[:5]]
    recorder = WavRecorder(tmp_path / "heard.wav", replace(PCMA, rate=16000))
    recorder.change(PCMA)
    for number, frame in enumerate(frames):
        recorder.put(number * 160, frame)
    recorder.put(7 * 160, frames[0])  # behind a gap of two frames
    recorder.close()
    said = PCMA.decode(b"".join(frames)) + bytes(2 * 2 * 160) + PCMA.decode(frames[0])
    with wave.open(str(tmp_path / "heard.wav"), "rb") as file:
        assert file.getframerate() == 16000
        assert file.readframes(8000) == to_mono(said, width=2, channels=1, rate=8000, wanted=16000)


def test_other_wav_formats_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(16000)
        file.writeframes(b"\x80" * 16000 * 2)
    frames = read_frames(path, PCMU)
    assert len(frames) == 50
    assert set(b"".join(frames)) == {PCMU.silence}
    with pytest.raises(LocalError, match="8-byte"):
        to_mono(b"", width=8, channels=1, rate=8000)
    path.write_bytes(b"RIFFnothing")
    with pytest.raises(LocalError, match="not a WAV"):
        read_frames(path, PCMU)


def test_a_looping_source_never_ends() -> None:
    source = FrameSource(FRAMES[:3], loop=True)
    assert [source.next_frame() for _ in range(7)] == [*FRAMES[:3], *FRAMES[:3], FRAMES[0]]


def inner(**fields) -> bytes:
    """An RTP packet of ours with unusual header fields, protected."""
    packet = RtpPacket(
        **{"payload_type": 8, "sequence": 1, "timestamp": 9, "ssrc": SSRC, "payload": b"x" * 160} | fields  # type: ignore[arg-type]
    )
    return SrtpSender(make_key()).protect(packet.encode())


def test_headers_of_others_are_understood() -> None:
    receiver, sink = make_stream(source=False)
    receiver.receive_with(make_key())
    receiver.receive(inner(csrcs=(1, 2), padding=4, extension=(0xBEDE, b"\x10\0\0\0")), START)
    receiver.receive(inner(sequence=2, payload_type=101), START)  # telephone-event: counted, not played
    assert sink.frames == [b"x" * 160]
    assert receiver.received == 2


def test_an_authentic_packet_that_does_not_parse_is_refused() -> None:
    receiver, sink = make_stream(source=False)
    receiver.receive_with(make_key())
    wrong = bytearray(
        RtpPacket(payload_type=8, sequence=1, timestamp=9, ssrc=SSRC, payload=bytes(160)).encode()
    )
    wrong[0] |= 0x20  # padding of 0 bytes
    receiver.receive(SrtpSender(make_key()).protect(bytes(wrong)), START)
    assert (sink.frames, receiver.statistics().refused) == ([], {SrtpError.MALFORMED: 1})


def test_a_paused_stream_neither_sends_nor_plays_and_goes_on_where_it_was() -> None:
    sender, _ = make_stream()
    receiver, sink = make_stream(source=False)
    sender.send_with(make_key())
    receiver.add_candidate("A", make_key())
    receiver.listen_to("A")
    sent = packets(sender, 6)
    for packet in sent[:3]:
        receiver.receive(packet, START)
    receiver.pause()
    receiver.receive(sent[3], START)
    assert len(sink.frames) == 3
    receiver.listen_to("A")
    receiver.receive(sent[4], START)
    receiver.receive(sent[0], START)  # the replay window was kept
    assert sink.frames == list(FRAMES[:5])
    assert receiver.statistics().refused == {SrtpError.REPLAYED: 1}
    sender.pause()
    assert sender.next_packet() is None
    assert sender.report(START) is None
    sender.send_with(make_key())
    # The same key again: the sequence numbers go on, none is used twice.
    receiver.receive(packets(sender, 1)[0], START)
    assert sink.frames[5] == FRAMES[6]
