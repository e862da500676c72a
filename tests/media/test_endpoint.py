"""Streams on real sockets, many in one thread."""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest

from sipmikey.media import endpoint
from sipmikey.media.endpoint import MediaLoop, MediaPort, udp_pair, udp_socket
from sipmikey.media.g711 import PCMA
from sipmikey.media.srtp import SrtpReceiver
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource
from tests.media.keys import GCM_128, make_key, noise_frames
from tests.networks import needs_ipv6

FRAMES = noise_frames(50, seed=1)
HOST = "127.0.0.1"
PATIENCE_S = 20


class Collected:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def put(self, timestamp: int, payload: bytes) -> None:
        self.frames.append(payload)


def make_call(
    loop: MediaLoop, number: int, *, shared_port: bool = False, host: str = HOST
) -> tuple[MediaPort, MediaPort]:
    """Two streams that send each other all of FRAMES, keyed both ways."""
    ends = []
    for _ in range(2):
        stream = RtpStream(
            codec=PCMA, cname="x", source=FrameSource(FRAMES), sink=Collected(), rtcp_interval_s=0.2
        )
        sockets = (udp_socket(host),) if shared_port else udp_pair(host)
        ends.append(loop.open(stream, *sockets))
    for (one, other), seed in zip((ends, ends[::-1]), (1, 2), strict=True):
        key = make_key(GCM_128, seed=seed, ssrc=2 * number + seed)
        one.stream.send_with(key)
        other.stream.receive_with(key)
        one.send_to(other.local)
    return ends[0], ends[1]


@pytest.mark.parametrize("host", [HOST, pytest.param("::1", marks=needs_ipv6)])
@pytest.mark.parametrize("shared_port", [False, True])
def test_many_calls_in_one_thread_lose_nothing(shared_port: bool, host: str) -> None:
    loop = MediaLoop()
    ports = [
        port for number in range(20) for port in make_call(loop, number, shared_port=shared_port, host=host)
    ]
    with loop:
        loop.when(
            lambda: all(p.stream.received == len(FRAMES) and p.stream.peer_left is False for p in ports)
        ).result(PATIENCE_S)
        loop.when(lambda: all(p.stream.statistics().rtcp_received for p in ports)).result(PATIENCE_S)
        for port in ports[::2]:
            loop.shut(port)
        loop.when(lambda: all(p.stream.peer_left for p in ports[1::2])).result(PATIENCE_S)
    for port in ports:
        assert isinstance(port.stream.sink, Collected)
        assert port.stream.sink.frames == list(FRAMES)
        found = port.stream.statistics()
        assert (found.reception.lost, found.refused, port.unsent) == (0, {}, 0)
        assert port.rtp.fileno() == -1


def test_without_epoll_calls_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    loop = MediaLoop()
    ports = make_call(loop, 0)
    with loop:
        loop.when(lambda: all(port.stream.received == len(FRAMES) for port in ports)).result(PATIENCE_S)
        loop.when(lambda: all(port.stream.statistics().rtcp_received for port in ports)).result(PATIENCE_S)


def test_what_is_on_the_wire_is_not_the_sound() -> None:
    with udp_socket(HOST) as wire, MediaLoop() as loop:
        wire.setblocking(True)
        wire.settimeout(PATIENCE_S)
        stream = RtpStream(codec=PCMA, cname="secret name", source=FrameSource(FRAMES), rtcp_interval_s=0.1)
        stream.send_with(make_key())
        port = loop.open(stream, udp_socket(HOST))
        port.send_to(wire.getsockname())
        seen = [wire.recv(2048) for _ in range(20)]
        loop.shut(port).result(PATIENCE_S)
        seen.append(wire.recv(2048))
        assert all(frame not in packet for packet in seen for frame in FRAMES)
        assert not any(b"secret name" in packet for packet in seen)


def test_a_datagram_of_a_stranger_stops_nothing() -> None:
    loop = MediaLoop()
    ports = make_call(loop, 1, shared_port=True)
    with loop, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for size in (0, 1, 12, 182, 1500, 9000):
            stranger.sendto(b"\x80" * size, ports[0].local)
        loop.when(lambda: ports[0].stream.received == len(FRAMES)).result(PATIENCE_S)
        assert sum(ports[0].stream.statistics().refused.values()) == 6


def test_calls_run_in_the_loops_thread_and_bring_back_errors() -> None:
    with MediaLoop() as loop:
        assert loop.call(lambda: threading.current_thread().name).result(PATIENCE_S) == "sipmikey-media"
        with pytest.raises(ZeroDivisionError):
            loop.call(lambda: 1 // 0).result(PATIENCE_S)
        with pytest.raises(ZeroDivisionError):
            loop.when(lambda: bool(1 // 0)).result(PATIENCE_S)
        never = loop.when(lambda: False)
    assert never.cancelled()


class Lanes:
    """In place of those of the native core: none sends, and what has them all disarmed is counted."""

    def __init__(self) -> None:
        self.disarmed = 0

    def disarm_all(self) -> None:
        self.disarmed += 1

    def still_sends(self, port: MediaPort) -> bool:
        return False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_a_frame_that_is_said_leaves_the_lanes_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "fast_lanes", Lanes)
    loop = MediaLoop()
    stream = RtpStream(codec=PCMA, cname="x")
    stream.send_with(make_key())
    port = loop.open(stream, udp_socket(HOST))
    with udp_socket(HOST) as wire:
        port.send_to(wire.getsockname())
        loop.say(port, FRAMES[0])
        loop._tick(0)
        assert SrtpReceiver(make_key()).unprotect(wire.recv(2048))[12:] == FRAMES[0]
        lanes = cast(Lanes, loop._lanes)
        assert lanes.disarmed == 0
        loop.say(port, FRAMES[1])
        loop.call(lambda: port.send_to_nobody())
        loop.say(port, FRAMES[2])
        loop._tick(1)
        assert SrtpReceiver(make_key()).unprotect(wire.recv(2048))[12:] == FRAMES[1]
        assert lanes.disarmed == 1
        with pytest.raises(BlockingIOError):
            wire.recv(2048)
    loop.close()


def test_what_was_asked_before_the_end_is_done() -> None:
    """A recording is finished by such a call."""
    loop = MediaLoop()
    asked = loop.call(lambda: "done")
    loop.close()
    assert asked.result(PATIENCE_S) == "done"
    assert loop.call(lambda: "too late").cancelled()


def test_a_pair_of_ports_is_even_and_odd() -> None:
    rtp, rtcp = udp_pair(HOST)
    with rtp, rtcp:
        assert rtp.getsockname()[1] % 2 == 0
        assert rtcp.getsockname()[1] == rtp.getsockname()[1] + 1
        # From a given port on, the lowest pair that is free.
        first = rtp.getsockname()[1] - 1
        next_rtp, next_rtcp = udp_pair(HOST, first)
        with next_rtp, next_rtcp:
            assert next_rtp.getsockname()[1] % 2 == 0
            assert next_rtp.getsockname()[1] > rtp.getsockname()[1]
    with pytest.raises(OSError, match="address"):
        udp_pair("192.0.2.1")


class Broken:
    """A source and sink whose disk is full."""

    def next_frame(self) -> bytes | None:
        raise RuntimeError("no more")

    def put(self, timestamp: int, payload: bytes) -> None:
        raise RuntimeError("disk full")


@pytest.mark.parametrize("end", ["source", "sink"])
def test_a_stream_that_breaks_ends_alone(end: str, caplog: pytest.LogCaptureFixture) -> None:
    loop = MediaLoop()
    good, bad = make_call(loop, 1), make_call(loop, 2)
    setattr(bad[0].stream, end, Broken())
    with loop:
        loop.when(lambda: bad[0].error is not None).result(PATIENCE_S)
        loop.when(lambda: all(p.stream.received == len(FRAMES) for p in good)).result(PATIENCE_S)
        assert bad[0].rtp.fileno() == -1
    assert [record.name for record in caplog.records] == ["sipmikey.media.endpoint"]


def test_a_loop_may_be_closed_twice_or_before_it_runs() -> None:
    loop = MediaLoop()
    ports = make_call(loop, 1)
    loop.close()
    loop.close()
    assert [port.rtp.fileno() for port in ports] == [-1, -1]
    assert loop.call(lambda: 1).cancelled()
    assert loop.when(lambda: True).cancelled()


def test_after_a_stop_there_is_no_burst() -> None:
    loop = MediaLoop()
    one, other = make_call(loop, 1)
    with loop:
        # As if the process had been stopped for longer than the loop catches up.
        sent = loop.call(lambda: (one.stream.sent, time.sleep(1.2))[0]).result(PATIENCE_S)  # type: ignore[func-returns-value]
        assert loop.call(lambda: one.stream.sent).result(PATIENCE_S) <= sent + 5
        loop.when(lambda: other.stream.received == len(FRAMES)).result(PATIENCE_S)
        assert loop.skipped_ticks > 0
