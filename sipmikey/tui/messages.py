"""The messages that were left: chosen to be played or stopped, called back, deleted."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Key
from textual.widgets import OptionList

from sipmikey.phone import Phone
from sipmikey.phone.state import Message

Do = Callable[[Message], object]


class MessageList(OptionList):
    """*call* and *delete* are given the message under the cursor when the keys c and Delete are pressed."""

    def __init__(self, phone: Callable[[], Phone], *, call: Do, delete: Do, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._phone = phone
        self._keys = {"c": call, "delete": delete}

    def on_key(self, event: Key) -> None:
        """Do what a key stands for."""
        do, messages = self._keys.get(event.key), self._phone().messages
        if do is not None and self.highlighted is not None and self.highlighted < len(messages):
            event.stop()
            do(messages[self.highlighted])
