"""The echo service: what is heard goes back, whatever the codec and the packets are like."""

from __future__ import annotations

import math
import struct

import pytest

from sipmikey.media.codecs.codec import Codec, frame_samples
from sipmikey.media.codecs.known import codec_named, codecs_here
from sipmikey.media.g711 import PCMA
from sipmikey.media.voice.echo import Echo


def tone(codec: Codec, hertz: float, frames: int) -> list[bytes]:
    """Payloads of 20 ms."""
    encoder, size = codec.encoder(), frame_samples(codec)
    whole = [round(8000 * math.sin(2 * math.pi * hertz * at / codec.rate)) for at in range(frames * size)]
    return [
        encoder.encode(struct.pack(f"={size}h", *whole[at : at + size])) for at in range(0, len(whole), size)
    ]


def level(codec: Codec, payloads: list[bytes]) -> float:
    decoder = codec.decoder()
    pcm = b"".join(decoder.decode(payload) for payload in payloads)
    samples = struct.unpack(f"={len(pcm) // 2}h", pcm)
    return math.sqrt(sum(sample * sample for sample in samples) / max(1, len(samples)))


@pytest.mark.parametrize("name", codecs_here())
def test_what_is_said_comes_back(name: str) -> None:
    codec = codec_named(name)
    echo = Echo(codec)
    back = []
    for payload in tone(codec, 440, 50):
        echo.put(0, payload)
        back.append(echo.next_frame())
    assert level(codec, back[10:]) > 4000
    assert level(codec, [echo.next_frame() for _ in range(60)][10:]) < 200, "silence when nothing comes"


def test_packets_of_another_length_come_back_in_ours() -> None:
    spoken = tone(PCMA, 440, 60)
    echo, back = Echo(PCMA), []
    for at in range(0, 60, 3):
        echo.put(0, b"".join(spoken[at : at + 3]))
        back += [echo.next_frame() for _ in range(3)]
    assert {len(payload) for payload in back} == {160}
    assert back[:60] == spoken, "G.711 twice is G.711 once"


def test_a_burst_is_not_kept_for_ever() -> None:
    echo = Echo(PCMA)
    spoken = tone(PCMA, 440, 100) + tone(PCMA, 1000, 25)
    for payload in spoken:
        echo.put(0, payload)
    assert [echo.next_frame() for _ in range(25)] == spoken[-25:]


def test_what_cannot_be_decoded_is_silence() -> None:
    codec = codec_named("PCMU")
    echo = Echo(codec)
    for _ in range(10):
        echo.put(0, b"")
        assert level(codec, [echo.next_frame()]) < 10
