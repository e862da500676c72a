"""The people who can be called; a contact is removed with Delete."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Key
from textual.widgets import OptionList


class ContactList(OptionList):
    """*remove* is given the identity under the cursor when Delete is pressed."""

    def __init__(self, *, remove: Callable[[str], None], id: str) -> None:
        super().__init__(id=id, markup=False)
        self._remove = remove

    def on_key(self, event: Key) -> None:
        """Remove the contact."""
        if event.key == "delete" and self.highlighted is not None:
            event.stop()
            self._remove(str(self.get_option_at_index(self.highlighted).id))
