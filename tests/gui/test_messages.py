"""A message from a window to a terminal, through a real mailbox and KMS: left, told, listed, deleted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from textual.pilot import Pilot
from textual.widgets import Button, OptionList, TabbedContent

from sipmikey.gui.window import PhoneWindow
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.testing import TestKms
from sipmikey.testing.mailbox import MailboxDirectory
from sipmikey.tui.app import PhoneApp
from sipmikey.tui.dialogs import Ask
from tests.phone.agents import settings
from tests.phone.documents import ALICE, BOB

WAIT_S = 60
SPEECH = Path(__file__).parents[2] / "sipmikey" / "cli" / "assets" / "alice.wav"
TR = translation(["en"])


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[MailboxDirectory]:
    """A mailbox with a box for bob, whose token is beside it."""
    made = MailboxDirectory(tmp_path / "box")
    (tmp_path / "bob.token").write_text(made.add_box(BOB))
    made.start()
    yield made
    made.stop()


async def until(pilot: Pilot[None], true: Callable[[], object]) -> None:
    """Let the terminal work until something is true."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, pilot.app.query_one("#log").render()
        await pilot.pause(0.05)
    await pilot.pause()


@pytest.mark.processes
def test_a_message_goes_from_a_window_to_a_terminal(
    qtbot: QtBot, kms: TestKms, tmp_path: Path, mailbox: MailboxDirectory
) -> None:
    speaks = [*settings(kms, tmp_path, ALICE), "--mailbox", mailbox.url, "--play", str(SPEECH)]
    window = PhoneWindow([(Line("", ALICE), speaks)], store=None, tr=TR)
    qtbot.addWidget(window)
    window.show()
    window.start()
    wait_ms = WAIT_S * 1000
    qtbot.waitUntil(window.side.leave_button.isEnabled, timeout=wait_ms)
    qtbot.keyClicks(window.side.dial_field, "bob")
    qtbot.mouseClick(window.side.leave_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(window.recordings.boxes), timeout=wait_ms)
    (box,) = window.recordings.boxes.values()
    qtbot.keyClick(box, Qt.Key.Key_Return)
    left = f"The message for {BOB} was left."
    qtbot.waitUntil(lambda: left in window.log.toPlainText(), timeout=wait_ms)
    window.close()
    token = str(tmp_path / "bob.token")
    asyncio.run(_heard([*settings(kms, tmp_path, BOB), "--mailbox", mailbox.url, "--token-file", token]))


async def _heard(options: list[str]) -> None:
    app = PhoneApp([(Line("", BOB), options)], store=None, tr=TR)
    async with app.run_test(size=(120, 42)) as pilot:
        await until(pilot, lambda: app.phone.messages)
        app.query_one(TabbedContent).active = "left"
        shown = app.query_one("#messages", OptionList)
        assert f"says it is from {ALICE}" in str(shown.get_option_at_index(0).prompt)
        shown.focus()
        shown.highlighted = 0
        await pilot.press("enter")  # there is no speaker, which is said
        await until(pilot, lambda: any("there is no speaker" in said for said in app._said))
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one("#other", Button).press()
        await until(pilot, lambda: not app.phone.messages)
