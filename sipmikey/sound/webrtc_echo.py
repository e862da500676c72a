"""The echo canceller of WebRTC (AEC3), as the wheel `livekit` has it.

It is the one that has wheels for all systems and is kept up; no call goes through LiveKit's servers. Where
pjmedia is there, its own canceller needs no other package.
"""

from __future__ import annotations

from livekit.rtc import AudioFrame, AudioProcessingModule

from sipmikey.sound.room import RATE

_BLOCK = RATE // 100
"""Samples of 10 ms: the module takes no other."""

_OCTETS = 2 * _BLOCK


class WebrtcEcho:
    """Implements ``EchoCanceller`` for `RATE` samples a second. It finds out how long echoes are."""

    def __init__(self) -> None:
        self._module = AudioProcessingModule(echo_cancellation=True)

    def cancel(self, heard: bytes, played: bytes) -> bytes:
        """Return the block *heard* without the echo of the block *played*; both a multiple of 10 ms."""
        left = []
        for at in range(0, len(heard), _OCTETS):
            self._module.process_reverse_stream(_frame(played[at : at + _OCTETS]))
            block = _frame(heard[at : at + _OCTETS])
            self._module.process_stream(block)
            left.append(bytes(block.data.cast("B")))
        return b"".join(left)

    def close(self) -> None:
        """Nothing: the module is freed with this object."""


def _frame(octets: bytes) -> AudioFrame:
    return AudioFrame(bytearray(octets), RATE, 1, _BLOCK)
