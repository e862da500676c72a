"""The assistant of the first start: an invitation or five questions, each checked, and a test call."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QLabel,
    QRadioButton,
    QVBoxLayout,
    QWidget,
    QWizard,
    QWizardPage,
)

from sipmikey.gui.page import CheckedPage
from sipmikey.gui.sign_on import SignOnPage
from sipmikey.gui.worker import Work, Worker
from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Mood, Text
from sipmikey.phone.assistant import SetupAnswers, Steps, TrialCall
from sipmikey.phone.palette import COLOURS
from sipmikey.phone.text import Translate


class Step(IntEnum):
    """The pages of the assistant."""

    START = 0
    INVITATION = 1
    KMS = 2
    SERVER = 3
    END = 4
    SIGN_ON = 5


class _Start(QWizardPage):
    """The page that asks whether there is an invitation."""

    def __init__(self, tr: Translate) -> None:
        super().__init__()
        self.setTitle(tr("Set up your phone"))
        self.setSubTitle(
            tr("An invitation is the shortest way: a code, a web address, or the text of a QR code.")
        )
        self.invited = QRadioButton(tr("I have an &invitation"))
        self.signs_on = QRadioButton(tr("I &sign on with the account of my organisation"))
        self.questions = QRadioButton(tr("I have no invitation: &ask me five questions"))
        layout = QVBoxLayout(self)
        for button in (self.invited, self.signs_on, self.questions):
            button.setAccessibleName(button.text().replace("&", ""))
            layout.addWidget(button)
        self.invited.setChecked(True)

    def nextId(self) -> int:  # noqa: N802 - Qt's name
        """Return the page that follows."""
        if self.signs_on.isChecked():
            return int(Step.SIGN_ON)
        return int(Step.INVITATION if self.invited.isChecked() else Step.KMS)


class _Invitation(CheckedPage):
    def __init__(self, tr: Translate, steps: Steps) -> None:
        super().__init__(
            tr,
            tr("Your invitation"),
            tr("Type or paste it as your administrator gave it. It works once."),
            Step.END,
        )
        self._steps = steps
        self.code = self.ask(tr("&Invitation"), "7KQ2-M3XA-0VZD-J8TN")
        self.kms_url = self.ask(tr("Address of the &KMS, for a code alone"), "https://kms.example.com")
        self.told: Sequence[str] = ()

    def work(self) -> Work:
        code, url = self.code.text().strip(), self.kms_url.text().strip()
        if not self._steps.kms_in(code) and not url:
            raise LocalError(
                self.tr_("A code alone does not say whose it is: give the address of the KMS, too.")
            )
        return lambda: self._steps.redeem(code, url)

    def accept_result(self, result: Any) -> None:
        self.told = tuple(result)


class _Kms(CheckedPage):
    def __init__(self, tr: Translate, steps: Steps) -> None:
        said = tr("The KMS vouches for you to those whom you call. It is asked for a ticket when you go on.")
        super().__init__(tr, tr("You and your KMS"), said, Step.SERVER)
        self._steps = steps
        self.identity = self.ask(tr("1. Your SIP &address"), "sip:you@example.com")
        self.kms_url = self.ask(tr("2. Address of the &KMS"), "https://kms.example.com")
        self.key = self.ask(tr("3. Your ke&y for the KMS, or the file that has it"), secret=True)

    def typed(self) -> SetupAnswers:
        return SetupAnswers(
            identity=self.identity.text().strip(),
            kms_url=self.kms_url.text().strip(),
            key=self.key.text().strip(),
        )

    def work(self) -> Work:
        typed = self.typed()
        return lambda: self._steps.check_kms(typed)


class _Server(CheckedPage):
    def __init__(self, tr: Translate, steps: Steps, kms: _Kms) -> None:
        said = tr("Your SIP server lets others call you. It is asked to register you when you go on.")
        super().__init__(tr, tr("Your SIP server"), said, Step.END)
        self._steps = steps
        self._kms = kms
        self.server = self.ask(tr("4. Your SIP &server; empty for calls without one"), "example.com")
        self.password = self.ask(tr("5. Your &password there; empty for none"), secret=True)
        self.told: Sequence[str] = ()

    def work(self) -> Work:
        first, steps = self._kms.typed(), self._steps
        typed = SetupAnswers(
            identity=first.identity, kms_url=first.kms_url, key=first.key,
            server=self.server.text().strip(), password=self.password.text().strip(),
        )  # fmt: skip

        def check_and_keep() -> Sequence[str]:
            steps.check_server(typed)
            return steps.keep(typed)

        return check_and_keep

    def accept_result(self, result: Any) -> None:
        self.told = tuple(result)


class _End(QWizardPage):
    """What was written, and how the test call went."""

    def __init__(self, tr: Translate, steps: Steps) -> None:
        super().__init__()
        self.tr_ = tr
        self._steps = steps
        self._worker = Worker(self)
        self._worker.done.connect(self._called)
        self._worker.failed.connect(lambda said: self._called(TrialCall(Text("{said}", {"said": said}))))
        self.setTitle(tr("Your phone is set up"))
        self.told = QLabel()
        self.tried = QLabel()
        for label in (self.told, self.tried):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self.told)
        layout.addWidget(self.tried)
        layout.addStretch(1)
        self._over = False

    def initializePage(self) -> None:  # noqa: N802 - Qt's name
        """Say what was written, and make the test call."""
        wizard = self.wizard()
        assert isinstance(wizard, Assistant)
        self.told.setText("\n".join((*wizard.invitation.told, *wizard.sign_on.told, *wizard.server.told)))
        self.tried.setText(self.tr_("Test call to the echo service of your domain ..."))
        wizard.written = True
        wizard.button(QWizard.WizardButton.BackButton).setEnabled(False)
        self._worker.start(self._steps.call_echo)

    def _called(self, tried: TrialCall) -> None:
        text, ground = COLOURS[Mood.GOOD if tried.protected else Mood.OPEN]
        said = f"{'●' if tried.protected else '◐'}  {tried.text.render(self.tr_)}"
        self.tried.setStyleSheet(f"color: {text}; background: {ground}; font-weight: bold; padding: 6px;")
        self.tried.setText(said)
        self.tried.setAccessibleName(said)
        self._over = True
        self.completeChanged.emit()

    def isComplete(self) -> bool:  # noqa: N802 - Qt's name
        """Return True once the test call is over."""
        return self._over


class Assistant(QWizard):
    """Asks for what an account needs, and has *steps* check, keep and try it. ``written``: it was kept."""

    def __init__(self, steps: Steps, tr: Translate, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.written = False
        self.setWindowTitle("sipmikey")
        self.setWizardStyle(QWizard.WizardStyle.ClassicStyle)
        self.setOption(QWizard.WizardOption.NoBackButtonOnLastPage)
        self.setOption(QWizard.WizardOption.NoCancelButtonOnLastPage)
        self.start, self.invitation, self.kms = _Start(tr), _Invitation(tr, steps), _Kms(tr, steps)
        self.server, self.end = _Server(tr, steps, self.kms), _End(tr, steps)
        self.sign_on = SignOnPage(tr, steps, Step.END)
        for step, page in (
            (Step.START, self.start), (Step.INVITATION, self.invitation), (Step.KMS, self.kms),
            (Step.SERVER, self.server), (Step.END, self.end), (Step.SIGN_ON, self.sign_on),
        ):  # fmt: skip
            self.setPage(int(step), page)
        texts = (
            (QWizard.WizardButton.NextButton, Text("&Next")),
            (QWizard.WizardButton.BackButton, Text("Bac&k")),
            (QWizard.WizardButton.CancelButton, Text("&Leave")),
            (QWizard.WizardButton.FinishButton, Text("&Open the phone")),
        )
        for button, text in texts:
            self.setButtonText(button, text.render(tr))
        self.resize(620, 380)

    def reject(self) -> None:
        """Leave; nothing is waited for any more."""
        self.sign_on.give_up()
        super().reject()
