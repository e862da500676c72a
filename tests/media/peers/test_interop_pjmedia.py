"""The Python endpoint and pjmedia's own SRTP understand each other, both ways."""

from __future__ import annotations

import base64
import json
import math
import random
import re
import struct
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sipmikey.media.endpoint import MediaLoop, udp_pair
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.similarity import compare_files
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames
from sipmikey.mikey.secret import Secret
from tests.media.keys import AES_32, AES_80, make_key
from tests.media.peers.sip_caller import SipCaller

pytestmark = pytest.mark.interop

PACKETS = 125
PATIENCE_S = 20.0
CLEARLY_HEARD, NOT_HEARD = 0.6, 0.5
"""Median correlation of 400 ms sections of what was played with what was recorded."""


def write_melody(path: Path, seed: int) -> Path:
    """Two seconds of tones of 100 ms whose order correlates with nothing but itself."""
    rng = random.Random(seed)
    samples: list[int] = []
    for _ in range(20):
        pitch, level = rng.uniform(200, 1500), rng.uniform(3000, 12000)
        samples += [int(level * math.sin(2 * math.pi * pitch * n / 8000)) for n in range(800)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


@dataclass
class NativePeer:
    process: subprocess.Popen[str]
    port: int

    def counts(self) -> dict[str, Any]:
        """What pjmedia counted, after the call."""
        found: dict[str, Any] = json.loads(read_line(self.process, "done"))
        return found


def read_line(process: subprocess.Popen[str], start: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:  # pjlib prints a few lines of its own first
        if line.startswith(start):
            return line.removeprefix(start).strip()
    raise AssertionError(f"the native peer ended with {process.wait()} before {start!r}")


@contextmanager
def native_peer(*arguments: object) -> Iterator[NativePeer]:
    argv = [sys.executable, str(Path(__file__).with_name("native_peer.py")), *map(str, arguments)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield NativePeer(process, int(read_line(process, "port")))
        finally:
            process.kill()


def offer(port: int, crypto: str = "") -> str:
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n{crypto}"
    )


def search(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found.group(1)


@dataclass
class Talk:
    """The two recordings and both counts of a call between Python and pjmedia."""

    python_plays: Path
    native_plays: Path
    python_recorded: Path
    native_recorded: Path
    native_counts: dict[str, Any]
    stream: RtpStream


def talk(directory: Path, suite: str, keyed_by: str, right_key: bool = True) -> Talk:
    """Call a native peer and let both play until PACKETS have come each way, or 2 s have passed in vain."""
    send, receive = make_key(suite, seed=1, ssrc=0x1234), make_key(suite, seed=2)
    python_plays, native_plays = write_melody(directory / "p.wav", 1), write_melody(directory / "n.wav", 2)
    python_recorded, native_recorded = directory / "heard_by_python.wav", directory / "heard_by_native.wav"
    arguments: list[object] = [native_plays, native_recorded]
    if keyed_by == "native keying":
        arguments += [suite, receive.keying().reveal().hex(), send.keying().reveal().hex()]
    frames = read_frames(python_plays, PCMA)
    recorder = WavRecorder(python_recorded, PCMA)
    stream = RtpStream(
        codec=PCMA, cname="python", source=FrameSource(frames, loop=True), sink=recorder, rtcp_interval_s=0.5
    )
    with native_peer(*arguments) as peer, MediaLoop() as loop:
        rtp, rtcp = udp_pair("127.0.0.1")
        line = f"a=crypto:1 {suite} {send.sdes_inline().reveal().decode()}\r\n"
        caller = SipCaller(peer.port)
        answer = caller.invite(offer(rtp.getsockname()[1], "" if keyed_by == "native keying" else line))
        if keyed_by == "sdes":
            receive = from_sdes(receive, search(r"a=crypto:1 \S+ inline:(\S+)", answer))
        if not right_key:
            receive = make_key(suite, seed=3)
        stream.send_with(send)
        stream.receive_with(replace(receive, ssrc=int(search(r"a=ssrc:(\d+)", answer))))
        port = loop.open(stream, rtp, rtcp)
        port.send_to(("127.0.0.1", int(search(r"m=audio (\d+)", answer))))
        loop.when(
            lambda: stream.sent >= PACKETS and stream.received + sum(refused(stream).values()) >= PACKETS
        ).result(PATIENCE_S)
        caller.bye()
        if right_key:  # pjmedia's SRTCP BYE, verified
            loop.when(lambda: stream.peer_left).result(PATIENCE_S)
        counts = peer.counts()
    recorder.close()
    return Talk(python_plays, native_plays, python_recorded, native_recorded, counts, stream)


def from_sdes(key: StreamKey, inline: str) -> StreamKey:
    keying = base64.b64decode(inline)
    length = key.profile.key_length
    return replace(key, key=Secret(keying[:length]), salt=Secret(keying[length:]))


def refused(stream: RtpStream) -> dict[str, int]:
    return {str(kind): count for kind, count in stream.statistics().refused.items()}


@pytest.mark.parametrize("keyed_by", ["native keying", "sdes"])
@pytest.mark.parametrize("suite", [AES_80, AES_32])
def test_both_hear_each_other(suite: str, keyed_by: str, tmp_path: Path) -> None:
    call = talk(tmp_path, suite, keyed_by)
    assert refused(call.stream) == {}
    assert call.stream.statistics().reception.lost == 0
    # The last packets of Python may come after the BYE.
    assert call.native_counts["received"] >= PACKETS - 5
    assert call.native_counts["lost"] == 0
    assert call.native_counts["cname"] == "python"  # pjmedia has verified our SRTCP
    assert compare_files(call.native_plays, call.python_recorded).score > CLEARLY_HEARD
    # pjmedia's jitter buffer may drop or repeat a frame while it adapts: a section is then not found.
    assert compare_files(call.python_plays, call.native_recorded).score > CLEARLY_HEARD
    assert compare_files(call.native_plays, call.native_recorded).score < NOT_HEARD


def test_under_another_key_python_hears_nothing(tmp_path: Path) -> None:
    call = talk(tmp_path, AES_80, "native keying", right_key=False)
    assert call.stream.received == 0
    assert set(refused(call.stream)) == {"authentication"}
    with wave.open(str(call.python_recorded)) as recorded:
        assert recorded.getnframes() == 0
