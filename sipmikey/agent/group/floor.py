"""The floor of a group: who may talk, one party at a time and for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TIME_IS_UP = "floor-timeout"
TAKEN_AWAY = "floor-taken"
"""Why a member lost the floor, as the members are told."""


class Floor:
    """In the event loop only. *owner*: the chair, who is not timed and, where it is *kept*, never loses it.

    *most_s*: how long another may talk at a time, None for as long as it likes. *changed* is called when
    the floor changes hands, with the reason where it was taken away.
    """

    def __init__(
        self, owner: str, *, kept: bool, most_s: float | None, changed: Callable[[str], object]
    ) -> None:
        self._owner = owner
        self._kept = kept
        self._most_s = most_s
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self.holder = owner if kept else ""

    def ask(self, who: str) -> bool:
        """Give it to *who*, if it is free; return True where *who* has it."""
        if not self.holder:
            self._give(who)
        return self.holder == who

    def free(self, who: str) -> None:
        """Take it back from *who*, if it has it and does not keep it."""
        if self.holder == who and not self._kept:
            self._give("")

    def take_away(self, reason: str = TAKEN_AWAY) -> None:
        """Take it from the member that has it, never from its owner."""
        if self.holder not in ("", self._owner):
            self._give("", reason)

    def forget(self) -> None:
        """Free it without telling: the session is over, or the member that had it is out."""
        self._stop()
        self.holder = self._owner if self._kept else ""

    def _give(self, who: str, reason: str = "") -> None:
        self._stop()
        self.holder = who
        if who not in ("", self._owner) and self._most_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._most_s, self.take_away, TIME_IS_UP)
        self._changed(reason)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
