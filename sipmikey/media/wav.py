"""WAV files as sources and sinks of G.711 frames."""

from __future__ import annotations

import wave
from itertools import cycle
from pathlib import Path

from sipmikey.media.g711 import G711, RATE, to_mono_8k
from sipmikey.media.playout import Playout
from sipmikey.mikey.errors import LocalError


def read_frames(path: Path | str, codec: G711) -> tuple[bytes, ...]:
    """Return a WAV file as encoded 20 ms frames, the last one padded with silence.

    Any linear PCM of one or two channels is converted. Raises `LocalError` for a file that is not such a WAV.
    """
    try:
        with wave.open(str(path), "rb") as file:
            pcm = file.readframes(file.getnframes())
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise LocalError(f"{path}: not a WAV file of linear PCM: {error}") from None
    encoded = codec.encode(to_mono_8k(pcm, width=width, channels=channels, rate=rate))
    size = codec.frame_length
    frames = [encoded[start : start + size] for start in range(0, len(encoded), size)]
    if frames:
        frames[-1] = frames[-1].ljust(size, bytes((codec.silence,)))
    return tuple(frames)


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
    """Writes received G.711 into a WAV file of 16-bit mono at 8000 Hz, in timestamp order."""

    __slots__ = ("_codec", "_file", "_playout")

    def __init__(self, path: Path | str, codec: G711) -> None:
        self._codec = codec
        self._file = wave.open(str(path), "wb")  # noqa: SIM115
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(RATE)
        self._playout = Playout(self._write, silence=codec.silence)

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take one received frame."""
        self._playout.put(timestamp, payload)

    def close(self) -> None:
        """Write what waits and finish the file."""
        self._playout.flush()
        self._file.close()

    def _write(self, octets: bytes) -> None:
        self._file.writeframesraw(self._codec.decode(octets))
