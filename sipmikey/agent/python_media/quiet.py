"""A room without sound devices, where calls of the Python engine are mixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sipmikey.media.wav import read_mono
from sipmikey.sound.room import RATE, Room
from sipmikey.sound.ticked_room import TickedRoom


class QuietSound(TickedRoom):
    """The user is the file *play*, or silent."""

    def __init__(self, play: Path | None, *, repeat: bool, played: Callable[[], None]) -> None:
        super().__init__(Room(None if play is None else _FileUser(play, repeat=repeat, played=played)))


class _FileUser:
    """A party that plays a WAV file and ignores what it hears."""

    def __init__(self, path: Path, *, repeat: bool, played: Callable[[], None]) -> None:
        self._pcm = read_mono(path, RATE)
        self._repeat = repeat
        self._played: Callable[[], None] | None = played
        self._at = 0

    def exchange(self, heard: bytes) -> bytes:
        """Return as many octets of the file as *heard* has, silence after its end."""
        taken = self._pcm[self._at : self._at + len(heard)]
        self._at += len(heard)
        if self._at >= len(self._pcm):
            if self._repeat:
                self._at = 0
            elif self._played is not None:
                self._played()
                self._played = None
        return taken.ljust(len(heard), b"\0")
