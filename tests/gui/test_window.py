"""The phone in a window, offscreen, with real calls against a real KMS; and what each state looks like."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QLineEdit, QListWidget, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from sipmikey.gui.facts import FactLabel
from sipmikey.gui.window import PhoneWindow
from sipmikey.phone import Contact, Mood, facts_of
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.phone.palette import COLOURS, contrast
from sipmikey.phone.possible import Action
from sipmikey.testing import TestKms
from tests.phone.agents import JsonAgent, settings
from tests.phone.documents import (
    ALICE,
    BOB,
    CAROL,
    CLEAR,
    KMS,
    ended,
    event,
    incoming,
    mixed,
    outgoing,
    security,
    two_calls,
)

WAIT_MS = 60_000
TR = translation(["en"])


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKms]:
    server = TestKms(tmp_path_factory.mktemp("kms"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def peer(kms: TestKms, tmp_path: Path) -> Iterator[Callable[..., JsonAgent]]:
    running: list[JsonAgent] = []

    def start(identity: str) -> JsonAgent:
        running.append(JsonAgent(settings(kms, tmp_path, identity)))
        running[-1].contact = running[-1].until("agent.ready")["contact"]
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture
def still(qtbot: QtBot) -> PhoneWindow:
    """A window without a process, to be fed by hand; what it would send is in ``sent``."""
    window = PhoneWindow([(Line("", ALICE), [])], store=None, tr=TR)
    window.sent = []  # type: ignore[attr-defined]
    window.processes.clear()
    window.controller._send = lambda account, line: window.sent.append(line)  # type: ignore[attr-defined]
    qtbot.addWidget(window)
    window.show()
    window.controller.take(event("agent.ready", "", identity=ALICE, contact="sip:alice@127.0.0.1:5060"))
    return window


def feed(window: PhoneWindow, *events: dict[str, Any]) -> None:
    for one in events:
        window.controller.take(one)


def words(window: PhoneWindow) -> list[str]:
    return [label.word.text() for label in window.facts.labels]


def test_a_call_is_taken_held_rekeyed_and_ended(
    qtbot: QtBot, kms: TestKms, tmp_path: Path, peer: Callable[..., JsonAgent]
) -> None:
    bob = peer(BOB)
    window = PhoneWindow([(Line("", ALICE), settings(kms, tmp_path, ALICE))], store=None, tr=TR)
    qtbot.addWidget(window)
    window.show()
    window.start()
    qtbot.waitUntil(lambda: "ready at" in window.accounts.text(), timeout=WAIT_MS)
    bob.begin("call", uri=ALICE, via=window.phone.accounts[""].contact)
    qtbot.waitUntil(lambda: bool(window.phone.incoming), timeout=WAIT_MS)
    assert words(window)[2] == "●  Who: VOUCHED FOR"
    assert any(KMS in told and BOB in told for told in window.notifier.told)
    buttons = window.buttons.buttons
    qtbot.mouseClick(buttons[Action.ANSWER], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: words(window)[1] == "●  Sound: PROVEN", timeout=WAIT_MS)
    qtbot.mouseClick(buttons[Action.HOLD], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(buttons[Action.RESUME].isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(buttons[Action.RESUME], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(buttons[Action.HOLD].isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(buttons[Action.REKEY], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bob.heard("media.rekeyed"), timeout=WAIT_MS)
    qtbot.mouseClick(window.pad.keys["5"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bob.heard("dtmf.received"), timeout=WAIT_MS)
    process = window.processes[""].process_id
    os.kill(process, signal.SIGABRT)
    qtbot.waitUntil(lambda: window.phone.accounts[""].engine_ends == 1, timeout=WAIT_MS)
    assert window.isVisible()
    assert words(window)[1] == "○  Sound: PROVEN"
    assert "The engine ended, and with it the call" in window.log.toPlainText()
    qtbot.waitUntil(lambda: "● sip:alice@example.com: ready at" in window.accounts.text(), timeout=WAIT_MS)
    window.close()


STATES = {
    "proven": (security(), "●  Sound: PROVEN", Mood.GOOD),
    "clear": (security(media="off", peer=None, kms=None, keying=None), "▲  Sound: IN CLEAR", Mood.BAD),
    "keyed": (security(media="keyed"), "◐  Sound: NOT PROVEN YET", Mood.OPEN),
    "held": (security(media="held"), "◐  Sound: WAITING FOR KEYS", Mood.OPEN),
    "sdes": (security(keying="sdes", peer=None, kms=None), "▲  Sound: NOT END TO END", Mood.BAD),
}


@pytest.mark.parametrize("name", list(STATES))
def test_each_state_has_its_word_shape_and_colour(name: str, still: PhoneWindow) -> None:
    facts, word, mood = STATES[name]
    feed(still, *outgoing()[:2], event("call.answered", security=facts))
    assert words(still)[1] == word
    label = still.facts.labels[1]
    assert label.mood is mood
    picture = label.word.grab().toImage()
    ground = picture.pixelColor(picture.width() - 6, picture.height() // 2).name()
    assert ground == COLOURS[mood][1]


def test_what_is_not_protected_is_as_loud_as_what_is(qtbot: QtBot) -> None:
    """The same size and weight, a ground that covers as much, and a contrast that is not less."""
    sizes, contrasts = {}, {}
    for name, (facts, _, mood) in STATES.items():
        label = FactLabel(TR)
        qtbot.addWidget(label)
        label.setFixedWidth(500)
        label.show_fact(facts_of(facts)[1])
        label.show()
        sizes[name] = (
            label.word.width(),
            label.word.height(),
            label.word.font().pointSize(),
            label.word.font().bold(),
        )
        contrasts[name] = contrast(*COLOURS[mood])
    assert len(set(sizes.values())) == 1
    assert all(value >= 7 for value in contrasts.values())
    assert len({ground for _, ground in COLOURS.values()}) == len(COLOURS)


def test_only_what_is_possible_is_enabled_and_the_rest_says_why(still: PhoneWindow) -> None:
    feed(still, *incoming())
    enabled = {action for action, button in still.buttons.buttons.items() if button.isEnabled()}
    assert enabled == {Action.ANSWER, Action.DECLINE, Action.BUSY, Action.HANGUP}
    for action, button in still.buttons.buttons.items():
        assert action in enabled or button.toolTip()


def test_a_question_of_policy_has_the_safe_choice_first(still: PhoneWindow, qtbot: QtBot) -> None:
    asked = event("policy.question", peer=CAROL, called=BOB, kms=KMS, wait_s=30.0)
    feed(still, *outgoing()[:2], asked)
    (box,) = still.questions.open.values()
    assert "Talk to sip:carol@example.com?" in box.text()
    assert box.defaultButton() is box.escapeButton()
    qtbot.keyClick(box, Qt.Key.Key_Escape)
    assert '"do": "decide", "call": "1", "accept": false' in still.sent[-1]  # type: ignore[attr-defined]


def test_a_link_asks_before_it_calls(still: PhoneWindow, qtbot: QtBot) -> None:
    box = still.ask_about_link(BOB)
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert not [line for line in still.sent if '"call"' in line]  # type: ignore[attr-defined]
    box = still.ask_about_link(BOB)
    box.buttons()[[button is box.defaultButton() for button in box.buttons()].index(False)].click()
    assert f'"uri": "{BOB}"' in still.sent[-1]  # type: ignore[attr-defined]


def test_every_widget_a_person_uses_has_a_name_and_the_keyboard_suffices(still: PhoneWindow) -> None:
    feed(still, *outgoing())
    used = (QAbstractButton, QLineEdit, QListWidget, QPlainTextEdit)
    for widget in still.findChildren(QWidget):
        if isinstance(widget, used) and not widget.objectName().startswith("qt_"):
            assert widget.accessibleName() or getattr(widget, "text", str)(), widget
            assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus, widget
    for button in still.buttons.buttons.values():
        assert not button.shortcut().isEmpty()
    for label in still.facts.labels:
        assert label.accessibleName()
        assert label.sentence.text() in label.accessibleDescription()


def test_typing_completes_names_and_dials_the_identity(still: PhoneWindow, qtbot: QtBot) -> None:
    still.controller.save(Contact(identity=BOB, name="Bob Berg"))
    assert still.dial_field.completer().model().rowCount() == 2
    qtbot.keyClicks(still.dial_field, "bob berg")
    qtbot.keyClick(still.dial_field, Qt.Key.Key_Return)
    assert f'"do": "call", "uri": "{BOB}"' in still.sent[-1]  # type: ignore[attr-defined]
    assert isinstance(still.dial_button, QPushButton)


def test_a_message_is_played_stopped_and_deleted(still: PhoneWindow, qtbot: QtBot) -> None:
    kept = {"message": "5f0c", "says_from": BOB, "left_at": 10.0, "duration_s": 5.0, "heard": False}
    feed(still, event("messages.listed", "", messages=[kept]))
    shown = still.messages
    assert shown.item(0).text() == f"● 0:05 says it is from {BOB}"
    still.sent.clear()  # type: ignore[attr-defined]
    shown.itemActivated.emit(shown.item(0))
    feed(still, event("message.playing", "", 1001.0, message="5f0c", **{"from": BOB}))
    assert shown.item(0).text() == f"▶ 0:05 from {BOB}"
    shown.itemActivated.emit(shown.item(0))
    box = still.ask_to_delete(still.phone.messages[0])
    delete = next(one for one in box.buttons() if one.text() == "Delete")
    qtbot.mouseClick(delete, Qt.MouseButton.LeftButton)
    sent = [json.loads(line) for line in still.sent]  # type: ignore[attr-defined]
    assert [(one["do"], one.get("message")) for one in sent] == [
        ("play-message", "5f0c"), ("stop-message", None), ("delete-message", "5f0c"),
    ]  # fmt: skip
    said = "kms-refused: ask the administrator"
    feed(still, event("command.failed", "", id=sent[0]["id"], reason="kms-refused", detail=said))
    assert said in still.log.toPlainText()


def test_a_message_whose_time_is_over_is_not_played(still: PhoneWindow) -> None:
    kept = {"message": "5f0c", "says_from": BOB, "left_at": 10.0, "duration_s": 5.0, "expired": True}
    feed(still, event("messages.listed", "", messages=[kept]))
    still.sent.clear()  # type: ignore[attr-defined]
    still.messages.itemActivated.emit(still.messages.item(0))
    assert still.sent == []  # type: ignore[attr-defined]
    assert "nobody can open it" in still.log.toPlainText()


def test_the_speaker_is_turned_up_and_down_within_limits(still: PhoneWindow, qtbot: QtBot) -> None:
    feed(still, event("agent.ready", "", identity=ALICE, features=["volume"]), *outgoing()[:2])
    feed(still, event("call.answered", security=security()))
    for _ in range(9):
        still._louder(3.0)
        asked = json.loads(still.sent[-1])  # type: ignore[attr-defined]
        feed(still, event("agent.sound", "", muted=False, input_db=0.0, output_db=asked["db"]))
    assert (asked["do"], asked["role"], asked["db"]) == ("volume", "output", 20.0)
    assert "The speaker is at +18 dB." in still.log.toPlainText()


BAD_NAMES = ("\u202eevil@example.com", "bob\u2066 ● PROVEN@example.com", "x" * 3000)


@pytest.mark.parametrize("user", BAD_NAMES)
def test_a_name_cannot_reverse_or_widen_what_the_window_says(still: PhoneWindow, user: str) -> None:
    caller = f"sip:{user}"
    rings = event(
        "call.rings", caller=caller, called=ALICE, security=security(peer=None, kms=None, media="held")
    )
    feed(still, event("call.in", caller=caller, called=ALICE, display_name=f"✔ protected {user}"), rings)
    said = [still.title.text(), *still.notifier.told, *words(still), still.facts.labels[2].sentence.text()]
    assert words(still)[2] == "▲  Who: NOT VOUCHED FOR"
    assert not any(mark in text for text in said for mark in ("\u202e", "\u2066", "✔"))
    assert still.minimumSizeHint().width() <= 1000


def test_missed_calls_are_counted_and_told(still: PhoneWindow) -> None:
    feed(still, *incoming(), ended(reason="cancelled"))
    assert still.tabs.tabText(1) == "Calls (1)"
    assert any("Missed" in told for told in still.notifier.told)
    still.tabs.setCurrentIndex(1)
    assert still.tabs.tabText(1) == "Calls"


def test_a_conference_shows_its_weakest_call_and_what_may_be_done(still: PhoneWindow, qtbot: QtBot) -> None:
    feed(still, *two_calls(**CLEAR))
    buttons = still.buttons.buttons
    assert words(still)[1] == "●  Sound: PROVEN"
    qtbot.mouseClick(buttons[Action.CONFERENCE], Qt.MouseButton.LeftButton)
    assert '"do": "conference", "call": "1", "other": "2"' in still.sent[-1]  # type: ignore[attr-defined]
    feed(still, mixed())
    assert words(still)[1] == "▲  Sound: IN CLEAR"
    assert still.facts.labels[1].sentence.text().startswith("sip:carol@example.com, of 2 in the conference")
    assert still.title.text() == f"Conference of 2: {BOB}, {CAROL}"
    assert still.note.isVisible()
    qtbot.mouseClick(buttons[Action.STEP_OUT], Qt.MouseButton.LeftButton)
    feed(still, mixed(present=False))
    assert "You are out of it" in still.note.text()
    assert not buttons[Action.STEP_OUT].isEnabled()
    qtbot.mouseClick(buttons[Action.STEP_IN], Qt.MouseButton.LeftButton)
    sent = [json.loads(line)["do"] for line in still.sent]  # type: ignore[attr-defined]
    assert sent[-2:] == ["step-out", "step-in"]
    feed(still, mixed(legs=()))
    assert words(still)[1] == "●  Sound: PROVEN"
    assert not still.note.isVisible()
