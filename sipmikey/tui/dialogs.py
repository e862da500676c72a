"""Questions in front of everything else; the safe choice comes first and has the focus."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList


class Ask(ModalScreen[bool]):
    """A question with two answers: *safe* (False, the first) and *other* (True). Escape is the safe one."""

    BINDINGS = [Binding("escape", "safe", show=False)]  # noqa: RUF012 - Textual's way

    def __init__(self, question: str, *, safe: str, other: str) -> None:
        super().__init__()
        self.question = question
        self._safe = safe
        self._other = other

    def compose(self) -> ComposeResult:
        """Lay the question out."""
        with Vertical(id="ask"):
            yield Label(self.question, id="question", markup=False)
            with Horizontal():
                yield Button(self._safe, id="safe", variant="primary")
                yield Button(self._other, id="other")

    def on_mount(self) -> None:
        """Give the safe choice the focus."""
        self.query_one("#safe", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        self.dismiss(event.button.id == "other")

    def action_safe(self) -> None:
        """Take the safe answer."""
        self.dismiss(False)


class AskToSend(ModalScreen[bool | None]):
    """A message is said: it is sent (True), or thrown away (False, Escape). None: it ended by itself."""

    BINDINGS = [Binding("escape", "drop", show=False)]  # noqa: RUF012 - Textual's way

    def __init__(self, said: str, *, send: str, drop: str) -> None:
        super().__init__()
        self.said = said
        self._send = send
        self._drop = drop

    def compose(self) -> ComposeResult:
        """Lay the question out."""
        with Vertical(id="ask"):
            yield Label(self.said, id="question", markup=False)
            with Horizontal():
                yield Button(self._send, id="send", variant="primary")
                yield Button(self._drop, id="drop")

    def on_mount(self) -> None:
        """Give the button that sends the focus."""
        self.query_one("#send", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        self.dismiss(event.button.id == "send")

    def action_drop(self) -> None:
        """Throw the message away."""
        self.dismiss(False)


class AskWhich(ModalScreen[int | None]):
    """One of several is chosen: its place among *entries*; None with Escape."""

    BINDINGS = [Binding("escape", "leave", show=False)]  # noqa: RUF012 - Textual's way

    def __init__(self, question: str, entries: Sequence[str]) -> None:
        super().__init__()
        self._question = question
        self._entries = entries

    def compose(self) -> ComposeResult:
        """Lay the choice out."""
        with Vertical(id="ask"):
            yield Label(self._question, id="question", markup=False)
            yield OptionList(*self._entries, id="which", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the answer."""
        event.stop()
        self.dismiss(event.option_index)

    def action_leave(self) -> None:
        """Choose none."""
        self.dismiss(None)


class AskText(ModalScreen[str]):
    """A question that is answered with a text; an empty text counts as none."""

    BINDINGS = [Binding("escape", "leave", show=False)]  # noqa: RUF012 - Textual's way

    def __init__(self, question: str, suggested: str = "") -> None:
        super().__init__()
        self._question = question
        self._suggested = suggested

    def compose(self) -> ComposeResult:
        """Lay the question out."""
        with Vertical(id="ask"):
            yield Label(self._question, id="question", markup=False)
            yield Input(self._suggested, id="text")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the answer."""
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Take no answer."""
        self.dismiss("")
