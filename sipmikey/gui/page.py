"""A page of the assistant whose answers are checked, which may take seconds."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QLabel, QLineEdit, QProgressBar, QVBoxLayout, QWizard, QWizardPage

from sipmikey.gui.worker import Work, Worker
from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Mood
from sipmikey.phone.palette import COLOURS
from sipmikey.phone.text import Translate


class CheckedPage(QWizardPage):
    """A page whose answers are checked before the next one; what is wrong stands below them, in red."""

    def __init__(self, tr: Translate, title: str, sentence: str, after: int) -> None:
        super().__init__()
        self.tr_ = tr
        self._after = after
        self._checked = False
        self._worker = self._new_worker()
        self.setTitle(title)
        self.setSubTitle(sentence)
        self.form = QFormLayout()
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setAccessibleName(tr("Checking"))
        self.wrong = QLabel()
        self.wrong.setTextFormat(Qt.TextFormat.PlainText)
        self.wrong.setWordWrap(True)
        text, ground = COLOURS[Mood.BAD]
        self.wrong.setStyleSheet(f"color: {text}; background: {ground}; font-weight: bold; padding: 6px;")
        layout = QVBoxLayout(self)
        layout.addLayout(self.form)
        layout.addWidget(self.busy)
        layout.addWidget(self.wrong)
        layout.addStretch(1)
        self.busy.hide()
        self.wrong.hide()

    def _new_worker(self) -> Worker:
        worker = Worker(self)
        worker.done.connect(self._done)
        worker.failed.connect(self._failed)
        return worker

    def forget_work(self) -> None:
        """Let what is being checked come to nothing."""
        self._worker.done.disconnect()
        self._worker.failed.disconnect()
        self._worker = self._new_worker()
        self._set_busy(False)

    def ask(self, question: str, example: str = "", *, secret: bool = False) -> QLineEdit:
        """Add a question and return the field for its answer."""
        field = QLineEdit()
        field.setPlaceholderText(example)
        field.setAccessibleName(question.replace("&", ""))
        if secret:
            field.setEchoMode(QLineEdit.EchoMode.Password)
        label = QLabel(question)
        label.setBuddy(field)
        self.form.addRow(label, field)
        return field

    def work(self) -> Work:
        """Return what checks the answers of this page. Raises ``LocalError`` for what is seen at once."""
        return lambda: None

    def accept_result(self, result: Any) -> None:
        """Take what the check returned."""

    def initializePage(self) -> None:  # noqa: N802 - Qt's name
        """Begin the page without a complaint."""
        self._checked = False
        self.wrong.hide()

    def validatePage(self) -> bool:  # noqa: N802 - Qt's name
        """Go on when the answers were checked; else have them checked and go on then."""
        if self._checked:
            self._checked = False
            return True
        if not self.busy.isHidden():
            return False
        self.wrong.hide()
        try:
            work = self.work()
        except LocalError as error:
            self._failed(str(error))
            return False
        self._set_busy(True)
        self._worker.start(work)
        return False

    def nextId(self) -> int:  # noqa: N802 - Qt's name
        """Return the page that follows."""
        return int(self._after)

    def _set_busy(self, on: bool) -> None:
        self.busy.setVisible(on)
        for field in self.findChildren(QLineEdit):
            field.setEnabled(not on)
        self.wizard().button(QWizard.WizardButton.NextButton).setEnabled(not on)
        self.wizard().button(QWizard.WizardButton.BackButton).setEnabled(not on)

    def _done(self, result: Any) -> None:
        self._set_busy(False)
        self.accept_result(result)
        self._checked = True
        self.wizard().next()

    def _failed(self, said: str) -> None:
        self._set_busy(False)
        self.wrong.setText(f"▲  {said}")
        self.wrong.setAccessibleName(said)
        self.wrong.show()
