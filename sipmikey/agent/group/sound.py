"""Microphone and speaker of one party of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from sipmikey.agent.group.hearing import Hearing
from sipmikey.media.codecs.codec import FRAME_MS
from sipmikey.media.g711 import PCMA
from sipmikey.media.rtp import RtpPacket
from sipmikey.media.talk import SAMPLES
from sipmikey.sound.clock import Clock
from sipmikey.sound.samples import to_octets


class Devices(Protocol):
    """A `sipmikey.sound.bridge.SoundBridge` of 8000 samples per second, or a replacement in tests."""

    def begin(self) -> None:
        """Open microphone and speaker."""
        ...

    def exchange(self, heard: bytes) -> bytes:
        """Take 16-bit samples to be heard and return as many of the microphone."""
        ...

    def close(self) -> None:
        """Give the devices back."""
        ...


class GroupSound:
    """A context manager, in the event loop. ``hear`` takes packets to the speaker.

    *send* is called in the event loop with each frame of G.711 A-law of the microphone, and its time in
    samples, while *talks* (called in a thread of the sound's own) returns True.
    """

    def __init__(
        self, devices: Devices, *, talks: Callable[[], bool], send: Callable[[bytes, int], object]
    ) -> None:
        self._devices = devices
        self._talks = talks
        self._send = send
        self._hearing = Hearing()
        self._time = 0
        self._clock = Clock(FRAME_MS / 1e3, self._tick)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._devices.begin()
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.stop()
        self._devices.close()

    def hear(self, packet: RtpPacket) -> None:
        """Take an authenticated packet of the party that has the floor."""
        self._hearing.put(packet)

    def _tick(self) -> None:
        taken = self._devices.exchange(to_octets(self._hearing.read(SAMPLES)))
        if self._talks():
            self._loop.call_soon_threadsafe(self._send, PCMA.encode(taken), self._time)
        self._time += SAMPLES
