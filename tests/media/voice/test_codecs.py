"""The codecs give back what they were given, and survive whatever arrives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.codecs import known
from sipmikey.media.codecs.codec import Codec, frame_samples, frame_ticks
from sipmikey.media.codecs.known import NAMES, codec_named, codecs_here
from sipmikey.mikey.errors import LocalError

SECONDS = 2

ALIKE = {"G722": 0.95, "PCMA": 0.95, "PCMU": 0.95, "OPUS": 0.75}
"""Opus shifts phases; sounds that have nothing to do with each other reach 0.2."""


def speech_like(rate: int) -> bytes:
    time = np.arange(SECONDS * rate) / rate
    pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * time)) / rate
    wave = np.sum([np.sin(n * pitch + n * n) / n for n in range(1, 20)], axis=0)
    return (4000 * wave * (1.1 + np.sin(2 * np.pi * 3 * time))).astype(np.int16).tobytes()


def frames(codec: Codec, pcm: bytes) -> list[bytes]:
    encoder, size = codec.encoder(), 2 * frame_samples(codec)
    return [encoder.encode(pcm[at : at + size]) for at in range(0, len(pcm), size)]


def likeness(one: bytes, other: bytes) -> float:
    """Return the correlation of two sounds at the delay that fits best, up to 30 ms at 16000 Hz."""
    a, b = (np.frombuffer(octets, dtype=np.int16).astype(float) for octets in (one, other))
    return max(
        float(np.corrcoef(a[: len(a) - delay], b[delay : len(a)])[0, 1]) for delay in range(min(480, len(b)))
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_in_comes_out(name: str) -> None:
    codec = codec_named(name.lower())
    decoder, pcm = codec.decoder(), speech_like(codec.rate)
    payloads = frames(codec, pcm)
    assert {codec.ticks(payload) for payload in payloads} == {frame_ticks(codec)}
    heard = b"".join(map(decoder.decode, payloads))
    assert len(heard) == len(pcm)
    assert likeness(pcm, heard) > ALIKE[name]
    assert codec.of_type(97).payload_type == 97


@pytest.mark.parametrize("name", NAMES)
@given(payloads=st.lists(st.binary(max_size=400), max_size=5))
def test_any_payload_is_sound_or_nothing(name: str, payloads: list[bytes]) -> None:
    codec = codec_named(name)
    decoder = codec.decoder()
    for payload in payloads:
        ticks = codec.ticks(payload)
        heard = decoder.decode(payload)
        assert ticks >= 0
        assert len(heard) in (0, 2 * ticks * codec.rate // codec.clock_rate)


def test_g722_is_that_of_another_implementation(tmp_path: Path) -> None:
    codec = codec_named("G722")
    pcm = speech_like(codec.rate)
    (tmp_path / "in.g722").write_bytes(b"".join(frames(codec, pcm)))
    heard = ffmpeg("-f", "g722", "-i", str(tmp_path / "in.g722"), "-f", "s16le", "-")
    assert likeness(pcm, heard) > 0.95
    (tmp_path / "in.raw").write_bytes(pcm)
    encoded = ffmpeg(
        "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", str(tmp_path / "in.raw"), "-f", "g722", "-"
    )
    assert likeness(pcm, codec.decoder().decode(encoded)) > 0.95


def test_opus_is_heard_by_another_implementation(tmp_path: Path) -> None:
    """FFmpeg has an Opus decoder of its own; it takes the packets from an Ogg file."""
    codec = codec_named("opus")
    pcm = speech_like(codec.rate)
    (tmp_path / "in.opus").write_bytes(ogg(frames(codec, pcm)))
    heard = ffmpeg("-c:a", "opus", "-i", str(tmp_path / "in.opus"), "-f", "s16le", "-ar", "16000", "-")
    assert likeness(pcm, heard) > ALIKE["OPUS"]


def ffmpeg(*arguments: str) -> bytes:
    return subprocess.run(["ffmpeg", "-v", "error", *arguments], capture_output=True, check=True).stdout


def ogg(packets: list[bytes]) -> bytes:
    """Return an Ogg Opus file (RFC 7845), one packet a page."""
    head = b"OpusHead\x01\x01" + bytes(2) + (16000).to_bytes(4, "little") + bytes(3)
    tags = b"OpusTags" + bytes(8)
    pages = [page(0, 2, 0, head), page(1, 0, 0, tags)]
    pages += [page(number + 2, 0, (number + 1) * 960, packet) for number, packet in enumerate(packets)]
    return b"".join(pages)


def page(number: int, kind: int, position: int, packet: bytes) -> bytes:
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    made = (
        b"OggS\x00" + bytes((kind,)) + position.to_bytes(8, "little") + b"one_" + number.to_bytes(4, "little")
        + bytes(4) + bytes((len(lacing),)) + lacing + packet
    )  # fmt: skip
    return made[:22] + crc(made).to_bytes(4, "little") + made[26:]


def crc(octets: bytes) -> int:
    total = 0
    for octet in octets:
        total ^= octet << 24
        for _ in range(8):
            total = (total << 1 ^ (0x04C11DB7 if total >> 31 else 0)) & 0xFFFF_FFFF
    return total


def test_opus_makes_up_for_a_lost_frame_from_the_next() -> None:
    codec = codec_named("opus")
    pcm = speech_like(codec.rate)
    payloads = frames(codec, pcm)

    def heard(*, lossy: bool = True, with_next: bool = True) -> bytes:
        decoder, out = codec.decoder(), b""
        for at, payload in enumerate(payloads):
            if lossy and at % 10 == 5:
                following = payloads[at + 1] if with_next else None
                out += decoder.recover(following, frame_samples(codec)) or b""
            else:
                out += decoder.decode(payload)
        return out

    whole, recovered, alone = heard(lossy=False), heard(), heard(with_next=False)
    assert len(whole) == len(recovered) == len(alone) == len(pcm)
    assert likeness(whole, recovered) > max(0.95, likeness(whole, alone))


@pytest.fixture
def unknown_codecs() -> Iterator[None]:
    """Which codecs there are is found out again, here and afterwards."""
    codecs_here.cache_clear()
    yield
    codecs_here.cache_clear()


@pytest.mark.usefixtures("unknown_codecs")
def test_a_codec_that_cannot_be_had_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, name in (("G722", "G722"), ("opuslib_next", "opus")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"sipmikey.media.codecs.{name.lower()}", raising=False)
        with pytest.raises(LocalError, match=rf"codec {name} needs .*sipmikey\[codecs\]"):
            codec_named(name)
    assert codecs_here() == ("PCMA", "PCMU")
    monkeypatch.setitem(sys.modules, "audioop", None)
    monkeypatch.delitem(sys.modules, "sipmikey.media.g711")
    with pytest.raises(LocalError, match=r"codec PCMU needs the package audioop: .*sipmikey\[media\]"):
        codec_named("pcmu")
    with pytest.raises(LocalError, match="no codec AMR; it has G722, OPUS, PCMA, PCMU"):
        codec_named("AMR")


@pytest.mark.usefixtures("unknown_codecs")
def test_which_codecs_there_are_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt to load a library that is missing searches the disk."""
    tried: list[str] = []

    def missing(name: str) -> Codec:
        tried.append(name)
        raise LocalError(f"no {name} here")

    monkeypatch.setattr(known, "codec_named", missing)
    assert codecs_here() == codecs_here() == ()
    assert tried == list(NAMES)
