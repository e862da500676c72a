"""Questions in front of everything else; the safe choice comes first and has the focus."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label


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
