"""ICE, as the media in Python asks for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from sipmikey.nat.path import MediaPath

if TYPE_CHECKING:
    from sipmikey.nat.ice import IceStream


class Ways(Protocol):
    """ICE with its servers, as they are now."""

    def stream(self, ports: tuple[int, int], told: Callable[[MediaPath], None]) -> IceStream:
        """Return ICE for a stream whose media has these ports on the loopback interface."""


class Countdown:
    """Calls *then* when `one_less` was called *number* times, from whatever threads."""

    def __init__(self, number: int, then: Callable[[], None]) -> None:
        self._left = number
        self._then = then
        self._lock = Lock()

    def one_less(self) -> None:
        """Count one."""
        with self._lock:
            self._left -= 1
            done = self._left == 0
        if done:
            self._then()
