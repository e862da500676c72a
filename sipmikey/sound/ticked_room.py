"""A room that mixes while it has users."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.sound.clock import Clock
from sipmikey.sound.room import PERIOD_MS, SAMPLES, Room


class TickedRoom:
    """``room`` mixes the sound of the calls. A clock ticks it while a call uses it.

    *prepare* is called in the thread that ticks the room, before the first tick.
    """

    def __init__(self, room: Room, prepare: Callable[[], None] | None = None) -> None:
        self.room = room
        self._users: set[int] = set()
        self._clock = Clock(PERIOD_MS / 1e3, lambda: self.room.tick(SAMPLES), prepare)

    def use(self, user: int) -> None:
        """Let the call with number *user* into the room."""
        self._users.add(user)
        self._clock.start()

    def release(self, user: int) -> None:
        """The call with number *user* is over, or is no longer mixed; after the last one the clock stops."""
        self._users.discard(user)
        if not self._users:
            self._clock.stop()

    def close(self) -> None:
        """Stop mixing."""
        self._users.clear()
        self._clock.stop()
