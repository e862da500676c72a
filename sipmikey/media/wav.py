"""WAV files: reading linear PCM and floating point of any header, sources and sinks of encoded frames."""

from __future__ import annotations

import array
import os
import stat
import struct
import sys
import wave
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from sipmikey.guard import create_private
from sipmikey.media.codecs.codec import Codec, frame_samples
from sipmikey.media.playout import Playout
from sipmikey.mikey.errors import LocalError
from sipmikey.native import native

if TYPE_CHECKING:
    from sipmikey.media.g711 import RateConverter

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_MOST_OCTETS = 512 << 20
_FULL = 32767
_LONGEST_GAP_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WavAudio:
    """Linear PCM as `wave` has it: ``width`` octets a sample (8 bits are unsigned), ``channels`` 1 or 2.

    ``plain``: the file has 16-bit PCM right behind a header of the oldest form, which every player reads.
    """

    pcm: bytes
    width: int
    channels: int
    rate: int
    plain: bool


def read_wav(path: Path | str) -> WavAudio:
    """Return the audio of a WAV file. Floating point becomes 16 bits.

    Raises `LocalError` with what is wrong: a file that cannot be read, is not a WAV file, is cut short, has a
    coding other than these, no samples, or more than two channels.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            # Opening it would wait for a program that writes.
            raise LocalError(f"{path}: a pipe, not a file")
        with open(path, "rb") as file:
            octets = file.read(_MOST_OCTETS + 1)
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror or error}") from None
    if len(octets) > _MOST_OCTETS:
        raise LocalError(f"{path}: longer than {_MOST_OCTETS >> 20} MiB")
    return _parse(str(path), octets)


def _parse(name: str, octets: bytes) -> WavAudio:
    if octets[:4] != b"RIFF" or octets[8:12] != b"WAVE":
        raise LocalError(f"{name}: not a WAV file")
    form: bytes | None = None
    at = 12
    while at + 8 <= len(octets):
        kind, length = octets[at : at + 4], int.from_bytes(octets[at + 4 : at + 8], "little")
        body = octets[at + 8 : at + 8 + length]
        if kind == b"fmt ":
            form = body
        elif kind == b"data":
            if form is None:
                break
            # A recorder that was stopped by force leaves a length of 0 or of -1 behind.
            data = body if 0 < length < 0xFFFFFFFF else octets[at + 8 :]
            return _audio(name, form, data, plain=at == 36 and len(form) == 16 and len(data) == length)
        at += 8 + length + (length & 1)
    raise LocalError(f"{name}: a WAV file without {'a format' if form is None else 'audio'}")


def _audio(name: str, form: bytes, data: bytes, *, plain: bool) -> WavAudio:
    if len(form) < 16:
        raise LocalError(f"{name}: its format has {len(form)} octets, not 16 or more")
    coding, channels, rate, _, block, bits = struct.unpack("<HHIIHH", form[:16])
    if coding == _EXTENSIBLE and len(form) >= 40 and form[26:40] == _GUID_TAIL:
        coding = int.from_bytes(form[24:26], "little")
    width = (bits + 7) // 8
    known = (coding == _PCM and 1 <= width <= 4) or (coding == _FLOAT and bits in (32, 64))
    if not known:
        raise LocalError(
            f"{name}: coding {coding} with {bits} bits; linear PCM of 8 to 32 bits can be played"
        )
    if channels not in (1, 2):
        raise LocalError(f"{name}: {channels} channels; 1 or 2 can be played")
    if not 4000 <= rate <= 192_000 or block != channels * width:
        raise LocalError(f"{name}: {rate} samples a second in blocks of {block} octets cannot be played")
    pcm = data[: len(data) - len(data) % block]
    if not pcm:
        raise LocalError(f"{name}: no audio in it")
    if coding == _FLOAT:
        return WavAudio(pcm=_from_float(pcm, bits), width=2, channels=channels, rate=rate, plain=False)
    return WavAudio(pcm=pcm, width=width, channels=channels, rate=rate, plain=plain and bits == 16)


def _from_float(pcm: bytes, bits: int) -> bytes:
    samples = array.array("f" if bits == 32 else "d", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    # NaN compares with nothing, and becomes silence.
    whole = array.array("h", (round(min(1.0, max(-1.0, x if x == x else 0.0)) * _FULL) for x in samples))
    if sys.byteorder == "big":
        whole.byteswap()
    return whole.tobytes()


def write_plain(audio: WavAudio, path: Path) -> None:
    """Write *audio* as 16-bit PCM with a header of the oldest form."""
    create_private(path)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(audio.channels)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(to_16_bits(audio))


def to_16_bits(audio: WavAudio) -> bytes:
    """Return the samples in 16 bits, signed, little-endian."""
    if audio.width == 2:
        return audio.pcm
    if audio.width == 1:
        return b"".join(((octet - 128) << 8).to_bytes(2, "little", signed=True) for octet in audio.pcm)
    high = bytearray(len(audio.pcm) // audio.width * 2)
    high[0::2] = audio.pcm[audio.width - 2 :: audio.width]
    high[1::2] = audio.pcm[audio.width - 1 :: audio.width]
    return bytes(high)


def read_mono(path: Path | str, rate: int) -> bytes:
    """Return a WAV file as 16-bit native-endian mono samples at *rate* Hz.

    What `read_wav` reads is converted; raises what that raises.
    """
    from sipmikey.media.g711 import to_mono

    audio = read_wav(path)
    return to_mono(audio.pcm, width=audio.width, channels=audio.channels, rate=audio.rate, wanted=rate)


def read_frames(path: Path | str, codec: Codec) -> tuple[bytes, ...]:
    """Return a WAV file as encoded 20 ms frames, the last one padded with silence; raises as `read_mono`."""
    return encode_frames(read_mono(path, codec.rate), codec)


def encode_frames(pcm: bytes, codec: Codec) -> tuple[bytes, ...]:
    """Return 16-bit mono samples at the codec's rate as encoded 20 ms frames, the last one padded."""
    size = 2 * frame_samples(codec)
    encoder = codec.encoder()
    return tuple(
        encoder.encode(pcm[start : start + size].ljust(size, b"\0")) for start in range(0, len(pcm), size)
    )


@native
class FrameSource:
    """Gives encoded frames one by one; the frames themselves may be shared by many streams.

    ``None`` from `next_frame` means that the source has ended. With *loop* it never ends.
    """

    __slots__ = ("_frames",)

    def __init__(self, frames: tuple[bytes, ...], *, loop: bool = False) -> None:
        self._frames = cycle(frames) if loop else iter(frames)

    def next_frame(self) -> bytes | None:
        """Return the next frame, None after the last."""
        return next(self._frames, None)


class WavRecorder:
    """Writes what was received into a WAV file of 16-bit mono at the codec's rate, in timestamp order."""

    __slots__ = ("_codec", "_converter", "_decoder", "_file", "_playout", "_rate")

    def __init__(self, path: Path | str, codec: Codec) -> None:
        self._rate = codec.rate
        create_private(Path(path))
        self._file = wave.open(str(path), "wb")  # noqa: SIM115
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(codec.rate)
        self._begin(codec)

    def _begin(self, codec: Codec) -> None:
        self._codec = codec
        self._decoder = codec.decoder()
        self._converter = None if codec.rate == self._rate else _converter(codec.rate, self._rate)
        self._playout = Playout(
            self._write, missing=self._fill, ticks=codec.ticks, longest_gap=_LONGEST_GAP_S * codec.clock_rate
        )

    def change(self, codec: Codec) -> None:
        """Take frames of another codec from now on."""
        self._playout.flush()
        self._begin(codec)

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take one received frame."""
        self._playout.put(timestamp, payload)

    def close(self) -> None:
        """Write what waits and finish the file."""
        self._playout.flush()
        self._file.close()

    def _write(self, payload: bytes) -> None:
        self._add(self._decoder.decode(payload))

    def _fill(self, ticks: int) -> None:
        self._add(bytes(2 * (ticks * self._codec.rate // self._codec.clock_rate)))

    def _add(self, pcm: bytes) -> None:
        self._file.writeframesraw(pcm if self._converter is None else self._converter.convert(pcm))


def _converter(rate: int, wanted: int) -> RateConverter:
    from sipmikey.media.g711 import RateConverter

    return RateConverter(rate, wanted)
