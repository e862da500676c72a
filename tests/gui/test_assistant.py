"""The assistant of the first start: each answer checked by a real KMS, and a test call at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QRadioButton, QWizard
from pytestqt.qtbot import QtBot

from sipmikey.cli.config.load import load
from sipmikey.cli.phone.steps import AccountSteps
from sipmikey.gui.assistant import Assistant, Step
from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Text
from sipmikey.phone.assistant import SetupAnswers, SignOnShown, TrialCall
from sipmikey.phone.edge.language import translation
from sipmikey.sealed.vault import Vault
from sipmikey.testing import TestKms
from tests.phone.documents import ALICE

WAIT_MS = 60_000
TR = translation(["en"])


class Scripted:
    """Steps that answer at once; what they were asked is in ``asked``."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.signed_on = threading.Event()

    def kms_in(self, invitation: str) -> str:
        if not invitation:
            raise LocalError("a code has 16 letters and digits")
        return "https://kms.example.com" if "://" in invitation else ""

    def redeem(self, invitation: str, kms_url: str) -> list[str]:
        self.asked.append((invitation, kms_url))
        if "USED" in invitation:
            raise LocalError("the invitation was used already; ask for another one")
        return ["This device is alice-1 of sip:alice@example.com."]

    def sign_on(
        self, kms_url: str, show: Callable[[SignOnShown], None], wait: Callable[[float], None]
    ) -> list[str]:
        show(
            SignOnShown(address="https://id.example.com/device", code="WDJB-MJHT", link="https://id.example")
        )
        self.asked.append(kms_url)
        while not self.signed_on.is_set():
            wait(0.01)
        return ["This device is alice-2 of sip:alice@example.com."]

    def check_kms(self, typed: SetupAnswers) -> None:
        self.asked.append(typed)

    def check_server(self, typed: SetupAnswers) -> None:
        self.asked.append(typed)

    def keep(self, typed: SetupAnswers) -> list[str]:
        return ["Written"]

    def call_echo(self) -> TrialCall:
        return TrialCall(Text("The call is protected."), protected=True)


class WithoutEcho(AccountSteps):
    """Real steps, but for the call, which tests of `sipmikey setup` make."""

    def call_echo(self) -> TrialCall:
        return TrialCall(Text("Nobody answered."))


def shown(qtbot: QtBot, steps: Any) -> Assistant:
    assistant = Assistant(steps, TR)
    qtbot.addWidget(assistant)
    assistant.show()
    return assistant


def go_on(assistant: Assistant) -> None:
    assistant.button(QWizard.WizardButton.NextButton).click()


def test_five_answers_are_checked_by_the_kms_and_kept(qtbot: QtBot, kms: TestKms, tmp_path: Path) -> None:
    user = kms.user(ALICE)
    path, vault = tmp_path / "config.toml", Vault(tmp_path, None)
    assistant = shown(qtbot, WithoutEcho(path, vault))
    assistant.start.questions.setChecked(True)
    go_on(assistant)
    page = assistant.kms
    page.identity.setText("alice@example.com")
    page.kms_url.setText(kms.url)
    page.key.setText("00" * 32)
    go_on(assistant)
    qtbot.waitUntil(page.wrong.isVisible, timeout=WAIT_MS)
    assert not path.exists()
    page.key.setText(user.psk)
    go_on(assistant)
    qtbot.waitUntil(lambda: assistant.currentId() == Step.SERVER, timeout=WAIT_MS)
    go_on(assistant)
    qtbot.waitUntil(lambda: assistant.currentId() == Step.END, timeout=WAIT_MS)
    qtbot.waitUntil(assistant.end.isComplete, timeout=WAIT_MS)
    assert "◐" in assistant.end.tried.text()
    assert "Nobody answered" in assistant.end.tried.text()
    assert user.psk not in path.read_text()
    assert load(path=path).configuration.identity.uri == ALICE
    assert assistant.written


def test_an_invitation_is_redeemed_and_the_test_call_shown(qtbot: QtBot) -> None:
    steps = Scripted()
    assistant = shown(qtbot, steps)
    go_on(assistant)
    page = assistant.invitation
    go_on(assistant)
    assert "16 letters" in page.wrong.text()
    page.code.setText("7KQ2-M3XA-0VZD-J8TN")
    go_on(assistant)
    assert "give the address of the KMS" in page.wrong.text()
    page.kms_url.setText("kms.example.com")
    page.code.setText("USED")
    go_on(assistant)
    qtbot.waitUntil(lambda: "was used already" in page.wrong.text(), timeout=WAIT_MS)
    page.code.setText(" https://kms.example.com/enrolment#7KQ2-M3XA-0VZD-J8TN ")
    go_on(assistant)
    qtbot.waitUntil(lambda: assistant.currentId() == Step.END, timeout=WAIT_MS)
    qtbot.waitUntil(assistant.end.isComplete, timeout=WAIT_MS)
    assert steps.asked[-1][0] == "https://kms.example.com/enrolment#7KQ2-M3XA-0VZD-J8TN"
    assert "alice-1" in assistant.end.told.text()
    assert assistant.end.tried.text() == "●  The call is protected."


def test_signing_on_shows_address_code_and_qr_and_waits(qtbot: QtBot) -> None:
    steps = Scripted()
    assistant = shown(qtbot, steps)
    assistant.start.signs_on.setChecked(True)
    go_on(assistant)
    page = assistant.sign_on
    go_on(assistant)
    assert "Without the address" in page.wrong.text()
    page.kms_url.setText("kms.example.com")
    go_on(assistant)
    qtbot.waitUntil(page.where.isVisible, timeout=WAIT_MS)
    assert "https://id.example.com/device" in page.where.text()
    assert "WDJB-MJHT" in page.where.text()
    assert page.picture.isVisible()
    assistant.button(QWizard.WizardButton.BackButton).click()
    assert assistant.currentId() == Step.START
    go_on(assistant)
    assert not page.where.isVisible()
    go_on(assistant)
    qtbot.waitUntil(page.where.isVisible, timeout=WAIT_MS)
    steps.signed_on.set()
    qtbot.waitUntil(lambda: assistant.currentId() == Step.END, timeout=WAIT_MS)
    qtbot.waitUntil(assistant.end.isComplete, timeout=WAIT_MS)
    assert steps.asked == ["kms.example.com"] * 2
    assert "alice-2" in assistant.end.told.text()


def test_leaving_ends_the_waiting(qtbot: QtBot) -> None:
    steps = Scripted()
    assistant = shown(qtbot, steps)
    assistant.start.signs_on.setChecked(True)
    go_on(assistant)
    assistant.sign_on.kms_url.setText("kms.example.com")
    before = set(threading.enumerate())
    go_on(assistant)
    qtbot.waitUntil(assistant.sign_on.where.isVisible, timeout=WAIT_MS)
    (waiting,) = set(threading.enumerate()) - before
    assistant.reject()
    qtbot.waitUntil(lambda: not waiting.is_alive(), timeout=WAIT_MS)
    assert not assistant.written


def test_every_field_has_a_name_and_secrets_are_not_shown(qtbot: QtBot) -> None:
    assistant = shown(qtbot, Scripted())
    for widget in (*assistant.findChildren(QLineEdit), *assistant.findChildren(QRadioButton)):
        assert widget.accessibleName(), widget
        assert isinstance(widget, QRadioButton) or widget.focusPolicy() & Qt.FocusPolicy.TabFocus, widget
    hidden = QLineEdit.EchoMode.Password
    assert assistant.kms.key.echoMode() is assistant.server.password.echoMode() is hidden


def test_the_answers_do_not_appear_in_a_traceback() -> None:
    assert "hunter2" not in repr(SetupAnswers(identity=ALICE, kms_url="", key="hunter2", password="hunter2"))
