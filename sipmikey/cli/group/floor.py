"""The key of a terminal that takes the floor of a group and gives it back."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sipmikey.agent.group.push_to_talk import PushToTalk
from sipmikey.cli.calls.keyboard import ENDS, keys_typed
from sipmikey.cli.calls.session import AgentSession

TALK, TAKE = " ", "t"
_WANTED = "[space] talk  {}[q] leave"
_PRESSED = "[space] give the floor back  {}[q] leave"
_CHAIRS = "[t] take the floor away  "
_TAKEN = "another member talks: wait until the floor is free"


class FloorKey:
    """Works *switch* with the space bar. *take_away*: what the chair does with another key."""

    def __init__(
        self, session: AgentSession, switch: PushToTalk, take_away: Callable[[], object] | None = None
    ) -> None:
        self._session = session
        self._switch = switch
        self._take_away = take_away
        self._shown = ""

    @asynccontextmanager
    async def keyboard(self) -> AsyncIterator[None]:
        """Take keys from the terminal meanwhile, if standard input is one."""
        if not sys.stdin.isatty():
            yield
            return
        async with keys_typed(self.press, self._session.stopping.set):
            self.show()
            yield
            self._shown = ""

    def press(self, key: str) -> None:
        """Do what *key* stands for."""
        if key in ENDS:
            self._session.stopping.set()
        elif key == TAKE and self._take_away is not None:
            self._take_away()
        elif key != TALK:
            return
        elif self._switch.pressed:
            self._switch.release()
        elif not self._switch.press():
            self._say(_TAKEN)
        self.show()

    def follow(self) -> None:
        """The floor changed hands."""
        self._switch.follow()
        if self._shown:
            self.show()

    def show(self) -> None:
        """Show what the key does now, where that is not what it did before."""
        words = (_PRESSED if self._switch.pressed else _WANTED).format(_CHAIRS if self._take_away else "")
        if words != self._shown:
            self._shown = words
            self._say(words)

    def _say(self, text: str) -> None:
        print(self._session.output.paint.faint(text), file=sys.stderr, flush=True)
