"""Questions with two answers, the safe one first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from sipmikey.phone.state import Question
from sipmikey.phone.text import Translate


class Questions:
    """Asks in boxes over the window *parent*. ``open``: those of policy, by account and call."""

    def __init__(self, parent: QWidget, tr: Translate) -> None:
        self._parent = parent
        self._tr = tr
        self.open: dict[tuple[str, str], QMessageBox] = {}

    def follow(self, questions: Sequence[Question], decide: Callable[[Question, bool], None]) -> None:
        """Ask what of *questions* is not asked yet, and stop asking what is not among them."""
        wanted = {(one.account, one.call): one for one in questions}
        for key in [key for key in self.open if key not in wanted]:
            self.open.pop(key).done(0)
        for key, question in wanted.items():
            if key not in self.open:
                self.open[key] = self._ask_about(question, decide)

    def _ask_about(self, question: Question, decide: Callable[[Question, bool], None]) -> QMessageBox:
        tr = self._tr
        return self.ask(
            question.text.render(tr), safe=tr("&End the call"), other=tr("&Talk"),
            decided=lambda accept: decide(question, accept),
        )  # fmt: skip

    def ask(self, text: str, *, safe: str, other: str, decided: Callable[[bool], None]) -> QMessageBox:
        """Ask with two answers: *safe* (False; the default, the first, and Escape) and *other* (True)."""
        box = QMessageBox(QMessageBox.Icon.Question, "sipmikey", "", parent=self._parent)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(text)
        no = box.addButton(safe, QMessageBox.ButtonRole.ActionRole)
        yes = box.addButton(other, QMessageBox.ButtonRole.ActionRole)
        box.setDefaultButton(no)
        box.setEscapeButton(no)
        box.buttonClicked.connect(lambda button: decided(button is yes))
        box.setModal(False)
        box.show()
        return box

    def close(self) -> None:
        """Stop asking."""
        for box in self.open.values():
            with suppress(RuntimeError):
                box.done(0)
