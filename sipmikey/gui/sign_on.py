"""The page of the assistant on which a person signs on with the account of the organisation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QWizard

from sipmikey.gui.page import CheckedPage
from sipmikey.gui.qr import qr_picture
from sipmikey.gui.worker import Work
from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Text
from sipmikey.phone.assistant import SignOnShown, Steps
from sipmikey.phone.text import Translate


class SignOnPage(CheckedPage):
    """Asks for the KMS, shows address, code and QR, and waits until the person has signed on."""

    _begun = Signal(object)

    def __init__(self, tr: Translate, steps: Steps, after: int) -> None:
        said = tr("The KMS of your organisation shows a code, which you enter in a browser.")
        super().__init__(tr, tr("Sign on"), said, after)
        self._steps = steps
        self._given_up = threading.Event()
        self._begun.connect(self.show_code)
        self.kms_url = self.ask(tr("Address of the &KMS"), "https://kms.example.com")
        self.told: Sequence[str] = ()
        self.where, self.picture = QLabel(), QLabel()
        self.where.setWordWrap(True)
        self.where.setTextFormat(Qt.TextFormat.PlainText)
        self.where.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.picture.setAccessibleName(tr("QR of the address"))
        for label in (self.where, self.picture):
            self.form.addRow(label)
            label.hide()

    def work(self) -> Work:
        """Return what signs on. Raises ``LocalError`` where the KMS is not named."""
        url = self.kms_url.text().strip()
        if not url:
            raise LocalError(self.tr_("Without the address of the KMS nobody can be asked."))
        self._given_up = given_up = threading.Event()

        def wait(seconds: float) -> None:
            if given_up.wait(seconds):
                raise LocalError(self.tr_("Not signed on."))

        return lambda: self._steps.sign_on(url, self._begun.emit, wait)

    def accept_result(self, result: Any) -> None:
        """Take what is told of the enrolment."""
        self.told = tuple(result)
        self._hide()

    def initializePage(self) -> None:  # noqa: N802 - Qt's name
        """Begin without a code."""
        super().initializePage()
        self._hide()

    def cleanupPage(self) -> None:  # noqa: N802 - Qt's name
        """Give up when the user goes back."""
        self.give_up()

    def give_up(self) -> None:
        """Stop to wait; what comes of it then is not taken."""
        self._given_up.set()
        self.forget_work()
        self._hide()

    def _hide(self) -> None:
        self.where.hide()
        self.picture.hide()

    def show_code(self, shown: SignOnShown) -> None:
        """Show where to sign on, and with which code."""
        if self._given_up.is_set():
            return
        lines = (
            Text("Sign on at {address}", {"address": shown.address}).render(self.tr_),
            Text("with the code {code}", {"code": shown.code}).render(self.tr_),
            self.tr_("Enter the code only if you started this yourself. Waiting ..."),
        )
        self.where.setText("\n".join(lines))
        self.where.setAccessibleName(" ".join(lines))
        self.where.show()
        if (picture := qr_picture(shown.link)) is not None:
            self.picture.setPixmap(picture)
            self.picture.show()
        wizard = self.wizard()
        wizard.button(QWizard.WizardButton.BackButton).setEnabled(True)
