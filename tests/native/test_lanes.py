"""A steady stream runs in the native core, and goes on in Python where something is to be judged."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipmikey.media.endpoint import MediaLoop, MediaPort, udp_socket
from sipmikey.media.errors import SrtpError
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import profile_by_name
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource
from sipmikey.mikey.secret import Secret
from sipmikey.native import native_only

pytestmark = pytest.mark.skipif(native_only("Lanes") is None, reason="the native core does not run here")

FRAMES = tuple(bytes((number,)) * 160 for number in range(250))
PATIENCE_S = 30.0


def key(ssrc: int = 7) -> StreamKey:
    profile = profile_by_name("AES_CM_128_HMAC_SHA1_80")
    return StreamKey(
        profile=profile,
        key=Secret(os.urandom(profile.key_length)),
        salt=Secret(os.urandom(profile.salt_length)),
        ssrc=ssrc,
    )


class Heard:
    """A sink that keeps what comes."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []

    def put(self, timestamp: int, payload: bytes) -> None:
        self.frames.append((timestamp, payload))


@pytest.fixture
def loop() -> Iterator[MediaLoop]:
    with MediaLoop() as running:
        yield running


class Pair:
    """A stream that sends and one that hears it, each on a port of the loop."""

    def __init__(self, loop: MediaLoop) -> None:
        self.loop, self.key, self.sink = loop, key(), Heard()
        self.sender = RtpStream(codec=PCMA, cname="a@example.com", source=FrameSource(FRAMES, loop=True))
        self.receiver = RtpStream(codec=PCMA, cname="b@example.com", sink=self.sink)
        self.sender.send_with(self.key)
        self.receiver.receive_with(self.key)
        self.to = loop.open(self.receiver, udp_socket("127.0.0.1"))
        self.of = loop.open(self.sender, udp_socket("127.0.0.1"))
        self.of.send_to(self.to.local)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds in the loop's thread."""
        self.loop.when(condition).result(PATIENCE_S)

    def is_armed(self, port: MediaPort) -> bool:
        """Tell whether the lane of a port does something. In the loop's thread only."""
        lanes: Any = self.loop._lanes
        return port in lanes._armed


def test_frames_arrive_in_order_over_lanes(loop: MediaLoop) -> None:
    pair = Pair(loop)
    pair.until(lambda: pair.is_armed(pair.of) and pair.is_armed(pair.to) and pair.receiver.received > 60)
    report, sent, position = loop.call(
        lambda: (pair.receiver.statistics(), pair.sender.sent, pair.sender.position)
    ).result()
    assert (report.reception.lost, report.refused) == (0, {})
    assert [payload for _, payload in pair.sink.frames[:60]] == list(FRAMES[:60])
    assert position is not None
    assert sent >= report.reception.received


def test_a_new_key_is_taken_over_while_packets_flow(loop: MediaLoop) -> None:
    pair = Pair(loop)
    pair.until(lambda: pair.is_armed(pair.to) and pair.receiver.received > 10)
    new = key()
    loop.call(lambda: pair.receiver.receive_with(new)).result()
    loop.call(lambda: pair.sender.send_with(new)).result()
    before = pair.receiver.received
    pair.until(lambda: pair.receiver.received > before + 100 and pair.is_armed(pair.to))
    report = loop.call(pair.receiver.statistics).result()
    assert (report.reception.lost, report.refused) == (0, {})


def test_replays_and_forgeries_are_refused_and_told_apart(loop: MediaLoop) -> None:
    pair = Pair(loop)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tap:
        tap.bind(("127.0.0.1", 0))
        tap.settimeout(PATIENCE_S)
        pair.until(lambda: pair.is_armed(pair.to) and pair.receiver.received > 5)
        pair.of.send_to(tap.getsockname())
        packets = [tap.recv(2048) for _ in range(3)]
        for packet in (packets[0], packets[1], packets[1], packets[2][:-1] + b"\0" + packets[2][-1:]):
            tap.sendto(packet, pair.to.local)
        pair.until(lambda: len(pair.receiver.statistics().refused) == 2)
        report = loop.call(pair.receiver.statistics).result()
    assert report.refused == {SrtpError.REPLAYED: 1, SrtpError.AUTHENTICATION: 1}


def test_a_source_that_ends_and_one_that_replaces_it(loop: MediaLoop) -> None:
    pair = Pair(loop)
    pair.until(lambda: pair.is_armed(pair.of) and pair.receiver.received > 5)
    pair.sender.source = FrameSource((b"x" * 160,) * 3)
    pair.until(lambda: [payload for _, payload in pair.sink.frames][-3:] == [b"x" * 160] * 3)
    sent, at = pair.sender.sent, time.monotonic()
    pair.until(lambda: time.monotonic() > at + 0.2)
    assert pair.sender.sent == sent
    pair.sender.source = FrameSource((b"y" * 160,), loop=True)
    pair.until(lambda: bool(pair.sink.frames) and pair.sink.frames[-1][1] == b"y" * 160)


def test_what_the_kernel_does_not_take_is_counted(loop: MediaLoop) -> None:
    pair = Pair(loop)
    pair.until(lambda: pair.is_armed(pair.of))
    pair.of.send_to(("255.255.255.255", 9))
    pair.until(lambda: pair.of.unsent > 2 and pair.is_armed(pair.of))
    assert isinstance(pair.of.error, PermissionError)


def test_a_lane_leaves_telephone_events_to_python(loop: MediaLoop) -> None:
    pair = Pair(loop)
    heard: list[str] = []
    pair.receiver.on_digit = heard.append
    loop.call(lambda: setattr(pair.receiver, "event_type_heard", 101)).result()
    loop.call(lambda: setattr(pair.sender, "event_type_sent", 101)).result()
    pair.until(lambda: pair.is_armed(pair.to) and len(pair.sink.frames) > 10)
    loop.call(lambda: pair.sender.send_digits("5#")).result()
    pair.until(lambda: heard == ["5", "#"] and pair.is_armed(pair.to))
    frames = len(pair.sink.frames)
    pair.until(lambda: len(pair.sink.frames) > frames + 10)
    report = loop.call(pair.receiver.statistics).result()
    assert (report.reception.lost, report.refused) == (0, {})


def test_a_forged_telephone_event_is_refused_and_the_lane_goes_on(loop: MediaLoop) -> None:
    pair = Pair(loop)
    heard: list[str] = []
    pair.receiver.on_digit = heard.append
    loop.call(lambda: setattr(pair.receiver, "event_type_heard", 101)).result()
    pair.until(lambda: pair.is_armed(pair.to) and pair.receiver.received > 5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(bytes((0x80, 101)) + os.urandom(24), pair.to.local)
    pair.until(lambda: bool(pair.receiver.statistics().refused))
    before = pair.receiver.received
    pair.until(lambda: pair.is_armed(pair.to) and pair.receiver.received > before + 10)
    assert heard == []
