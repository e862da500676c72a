"""What is heard, sent back: an echo service."""

from __future__ import annotations

from typing import Final

from sipmikey.media.codecs.codec import Codec, frame_samples

_BEFORE_FRAMES: Final = 3
"""Frames of 20 ms that wait before one is sent back: packets do not come evenly."""

_MOST_FRAMES: Final = 25


class Echo:
    """A sink that is a source as well. In the media thread only.

    Silence where nothing came; of more than half a second that waits, the oldest is left out.
    """

    def __init__(self, codec: Codec) -> None:
        self._encoder, self._decoder = codec.encoder(), codec.decoder()
        self._frame = 2 * frame_samples(codec)
        self._waiting = bytearray()
        self._flows = False

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take an authenticated payload."""
        self._waiting += self._decoder.decode(payload)
        del self._waiting[: max(0, len(self._waiting) - _MOST_FRAMES * self._frame)]
        self._flows = self._flows or len(self._waiting) >= _BEFORE_FRAMES * self._frame

    def next_frame(self) -> bytes:
        """Return the payload of the next 20 ms."""
        if len(self._waiting) < self._frame:
            self._flows = False
        if not self._flows:
            return self._encoder.encode(bytes(self._frame))
        frame = bytes(self._waiting[: self._frame])
        del self._waiting[: self._frame]
        return self._encoder.encode(frame)
