"""Programs with an SRTP of their own decrypt what the endpoint sends, and nothing sent under another key."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.media.endpoint import MediaLoop, udp_pair, udp_socket
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.rtp import is_rtcp
from sipmikey.media.stream import RtpStream
from tests.media.keys import AES_32, AES_80, make_key, noise_frames
from tests.media.peers.referees import GST_CIPHERS, PATIENCE_S, ffmpeg, gstreamer

pytestmark = pytest.mark.interop

HOST = "127.0.0.1"
UNDER_ANOTHER_KEY = 20
FRAMES = noise_frames(60, seed=9)
EXPECTED = b"".join(FRAMES[UNDER_ANOTHER_KEY:])


class RekeyingSource:
    """Frames of which the first are to go out under another key than the rest."""

    def __init__(self, stream: RtpStream, key: StreamKey) -> None:
        self.stream = stream
        self.key = key
        self.given = 0

    def next_frame(self) -> bytes | None:
        if self.given == len(FRAMES):
            return None
        if self.given == UNDER_ANOTHER_KEY:
            self.stream.send_with(self.key)
        self.given += 1
        return FRAMES[self.given - 1]


def make_sender(key: StreamKey) -> RtpStream:
    """A stream that sends FRAMES, the first of them under another key than *key*."""
    stream = RtpStream(codec=PCMA, cname="sender@example.org")
    stream.send_with(make_key(key.profile.name, seed=99))
    stream.source = RekeyingSource(stream, key)
    return stream


@pytest.mark.parametrize("profile", [AES_80, AES_32])
def test_ffmpeg_decrypts_under_the_right_key_only(profile: str, tmp_path: Path) -> None:
    key = make_key(profile)
    rtp, rtcp = udp_pair(HOST)
    port = rtp.getsockname()[1]
    rtp.close()
    rtcp.close()
    with ffmpeg(key, port, tmp_path) as receiver, MediaLoop() as loop:
        loop.open(make_sender(key), udp_socket(HOST)).send_to((HOST, receiver.port))
        # The frames under the other key came first: they would stand before the rest.
        assert receiver.wait_for(len(EXPECTED)) == EXPECTED


@pytest.mark.parametrize("profile", GST_CIPHERS)
def test_gstreamer_decrypts_under_the_right_key_only(profile: str, tmp_path: Path) -> None:
    key = make_key(profile)
    with udp_socket(HOST) as wire, MediaLoop() as loop:
        wire.setblocking(True)
        wire.settimeout(PATIENCE_S)
        loop.open(make_sender(key), udp_socket(HOST)).send_to(wire.getsockname())
        packets: list[bytes] = []
        while len(packets) < len(FRAMES):
            packet = wire.recv(2048)
            if not is_rtcp(packet):
                packets.append(packet)
    assert gstreamer(key, packets, tmp_path) == EXPECTED
