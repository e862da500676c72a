"""Lists of the phone in a terminal, and what completes a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.suggester import Suggester
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from sipmikey.phone import Phone
from sipmikey.phone.people import completions


class Names(Suggester):
    """Completes what is typed into the dial field."""

    def __init__(self, phone: Callable[[], Phone]) -> None:
        super().__init__(use_cache=False, case_sensitive=False)
        self._phone = phone

    async def get_suggestion(self, value: str) -> str | None:
        """Return the contact that *value* may stand for."""
        for contact in completions(self._phone().people, value):
            for shown in (contact.name, contact.identity):
                if shown.casefold().startswith(value.casefold()):
                    return shown
        return None


def fill(shown: OptionList, entries: Iterable[tuple[str, str]]) -> None:
    """Show *entries*, leaving the cursor where it is; nothing is done where nothing changed."""
    wanted = list(entries)
    now = [(option.id, str(option.prompt)) for option in shown.options]
    if now != wanted:
        place = shown.highlighted
        shown.clear_options()
        shown.add_options([Option(text, id=identifier) for identifier, text in wanted])
        if place is not None and place < len(wanted):
            shown.highlighted = place
