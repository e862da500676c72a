"""A room without sound devices, where calls of the Python engine are mixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sipmikey.media.wav import read_mono
from sipmikey.sound.clock import Clock
from sipmikey.sound.room import PERIOD_MS, RATE, SAMPLES, Room


class QuietSound:
    """The user is the file *play*, or silent. ``room``: mixes the sound of the calls."""

    def __init__(self, play: Path | None, *, repeat: bool, played: Callable[[], None]) -> None:
        self.room = Room(None if play is None else _FileUser(play, repeat=repeat, played=played))
        self._users: set[int] = set()
        self._clock = Clock(PERIOD_MS / 1e3, lambda: self.room.tick(SAMPLES))

    def use(self, user: int) -> None:
        """Let the call with number *user* into the room."""
        self._users.add(user)
        self._clock.start()

    def release(self, user: int) -> None:
        """The call with number *user* is over, or is no longer mixed."""
        self._users.discard(user)
        if not self._users:
            self._clock.stop()

    def close(self) -> None:
        """Stop mixing."""
        self._users.clear()
        self._clock.stop()


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
