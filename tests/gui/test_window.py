"""The phone in a window, offscreen, with real calls against a real KMS; and what each state looks like."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QLineEdit,
    QListWidget,
    QPlainTextEdit,
    QPushButton,
    QSystemTrayIcon,
    QTabBar,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from sipmikey.cli.phone.reports import reporter
from sipmikey.gui.facts import FactLabel
from sipmikey.gui.window import PhoneWindow
from sipmikey.phone import Contact, Mood, facts_of
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.phone.palette import COLOURS, contrast
from sipmikey.phone.possible import Action
from sipmikey.testing import TestKms
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from tests.agent.processes import children_of
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
    qtbot.mouseClick(window.side.pad.keys["5"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bob.heard("dtmf.received"), timeout=WAIT_MS)
    qtbot.mouseClick(buttons[Action.HANGUP], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: words(window)[1] == "○  Sound: PROVEN", timeout=WAIT_MS)
    assert bob.until("call.end")["side"] == "remote"
    window.close()


def test_the_window_outlives_what_makes_the_calls_and_registers_again(
    qtbot: QtBot, kms: TestKms, tmp_path: Path, peer: Callable[..., JsonAgent], forking_proxy: Kamailio
) -> None:
    """The process of the SIP stack is killed in a call, then the whole engine in the next one."""
    through = ("--registrar", forking_proxy.uri, "--proxy", forking_proxy.uri)
    bob = peer(BOB, *through)
    window = PhoneWindow([(Line("", ALICE), [*settings(kms, tmp_path, ALICE), *through])], store=None, tr=TR)
    qtbot.addWidget(window)
    window.show()
    window.start()

    def talk() -> None:
        reachable = f"● {ALICE}: can be called"
        qtbot.waitUntil(lambda: window.accounts.text() == reachable, timeout=WAIT_MS)
        bob.begin("call", uri=ALICE)
        qtbot.waitUntil(lambda: bool(window.phone.incoming), timeout=WAIT_MS)
        qtbot.mouseClick(window.buttons.buttons[Action.ANSWER], Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: words(window)[1] == "●  Sound: PROVEN", timeout=WAIT_MS)

    talk()
    engine = window.processes[""].process_id
    assert engine is not None
    (stack,) = (stack for loader in children_of(engine) for stack in children_of(loader))
    os.kill(stack, signal.SIGKILL)
    qtbot.waitUntil(lambda: not window.phone.live, timeout=WAIT_MS)
    assert window.isVisible()
    assert words(window)[1] == "○  Sound: PROVEN"
    assert window.after.text().startswith("The part that speaks SIP has ended, and the call with it.")
    assert "Its calls are lost; it is started again." in window.log.toPlainText()
    assert bob.until("call.end")["reason"] == "stack-failed"
    talk()
    assert window.processes[""].process_id == engine
    os.kill(engine, signal.SIGKILL)
    qtbot.waitUntil(lambda: not window.phone.live, timeout=WAIT_MS)
    assert window.isVisible()
    assert "The engine that makes the calls has ended: signal SIGKILL" in window.accounts.text()
    assert f"The engine ended, and with it the call with {BOB}." in window.log.toPlainText()
    qtbot.waitUntil(lambda: window.accounts.text() == f"● {ALICE}: can be called", timeout=WAIT_MS)
    assert window.log.toPlainText().count(f"{ALICE} can be called.") == 3
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
    assert still.side.dial_field.completer().model().rowCount() == 2
    qtbot.keyClicks(still.side.dial_field, "bob berg")
    qtbot.keyClick(still.side.dial_field, Qt.Key.Key_Return)
    assert f'"do": "call", "uri": "{BOB}"' in still.sent[-1]  # type: ignore[attr-defined]
    assert isinstance(still.side.dial_button, QPushButton)


def test_a_message_is_played_stopped_and_deleted(still: PhoneWindow, qtbot: QtBot) -> None:
    kept = {"message": "5f0c", "says_from": BOB, "left_at": 10.0, "duration_s": 5.0, "heard": False}
    feed(still, event("messages.listed", "", messages=[kept]))
    shown = still.side.messages
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
    still.side.messages.itemActivated.emit(still.side.messages.item(0))
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


def test_rendering_loses_no_reference_to_none(still: PhoneWindow) -> None:
    """A version of PySide6 did with each call, and a flood of events ended the process."""
    before = sys.getrefcount(None)
    for _ in range(50):
        still.render_phone()
    assert sys.getrefcount(None) > before - 500


def test_missed_calls_are_counted_and_told(still: PhoneWindow) -> None:
    feed(still, *incoming(), ended(reason="cancelled"))
    assert still.side.tabs.tabText(1) == "Calls (1)"
    assert any("Missed" in told for told in still.notifier.told)
    still.side.tabs.setCurrentIndex(1)
    assert still.side.tabs.tabText(1) == "Calls"


def test_a_call_raises_the_window_and_stands_in_the_tray(
    monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", lambda: True)
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(
        QSystemTrayIcon, "showMessage", lambda self, title, text, *_: shown.append((title, text))
    )
    window = PhoneWindow([(Line("", ALICE), [])], store=None, tr=TR)
    window.processes.clear()
    qtbot.addWidget(window)
    window.showMinimized()
    feed(window, event("agent.ready", "", identity=ALICE), *incoming())
    assert not window.isMinimized()
    assert window.isVisible()
    assert shown == [("Call", f"{BOB}\nVOUCHED FOR. {KMS} vouches that this is {BOB}.")]
    odd = json.dumps(incoming("2")).replace(BOB, "sip:<b>&@example.com")
    feed(window, *json.loads(odd))
    assert shown[-1][1].startswith("sip:‹b›＆@example.com\n")  # no markup for what shows notifications
    (tray,) = window.findChildren(QSystemTrayIcon)
    assert [entry.text() for entry in tray.contextMenu().actions()] == ["Show", "Quit"]
    window.close()
    assert not tray.isVisible()


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


ABLE = event("agent.ready", "", identity=ALICE, features=["leave-message"])
RECORDS = event("message.recording", "", to=BOB, longest_s=120.0)


@pytest.mark.parametrize(
    ("key", "verb"), [(Qt.Key.Key_Return, "send-message"), (Qt.Key.Key_Escape, "drop-message")]
)
def test_a_message_is_said_and_sent_or_thrown_away(
    still: PhoneWindow, qtbot: QtBot, key: Qt.Key, verb: str
) -> None:
    assert not still.side.leave_button.isEnabled()
    assert "No mailbox is set up" in still.side.leave_button.toolTip()
    feed(still, ABLE)
    qtbot.keyClicks(still.side.dial_field, "bob")
    qtbot.mouseClick(still.side.leave_button, Qt.MouseButton.LeftButton)
    feed(still, RECORDS)
    (box,) = still.recordings.boxes.values()
    assert box.text() == f"Speak now: a message for {BOB} is recorded, 120 s at most."
    qtbot.keyClick(box, key)
    sent = [json.loads(line) for line in still.sent]  # type: ignore[attr-defined]
    assert [(one["do"], one.get("uri")) for one in sent] == [("leave-message", BOB), (verb, None)]
    feed(still, event("message.sending", "", to=BOB), event("message.sent", "", to=BOB))
    assert not still.recordings.boxes
    assert f"The message for {BOB} was left." in still.log.toPlainText()


def test_somebody_who_did_not_answer_is_left_a_message(still: PhoneWindow, qtbot: QtBot) -> None:
    feed(still, ABLE, *outgoing()[:2], ended(reason="no-answer"))
    qtbot.mouseClick(still.side.leave_button, Qt.MouseButton.LeftButton)
    assert f'"do": "leave-message", "uri": "{BOB}"' in still.sent[-1]  # type: ignore[attr-defined]


def test_of_several_accounts_one_is_chosen_to_call_with_and_the_called_one_is_shown(
    still: PhoneWindow, qtbot: QtBot
) -> None:
    work = "sip:alice@work.example"
    assert not still.side.account.isVisible()
    feed(
        still,
        event("agent.ready", "", identity=work, contact="sip:alice@127.0.0.1:5062") | {"account": "work"},
    )
    assert still.side.account.isVisible()
    assert [still.side.account.itemText(row) for row in range(2)] == [ALICE, work]
    qtbot.keyClick(still.side.account, Qt.Key.Key_Down)
    assert f"● {work}: ready at sip:alice@127.0.0.1:5062 ← you call with this one" in still.accounts.text()
    asked: list[str] = []
    still.controller._send = lambda account, line: asked.append(account)
    still.dial(BOB)
    assert asked == ["work"]
    feed(still, *(one | {"account": "work"} for one in incoming()))
    assert still.title.text() == f"{BOB}: calls you (for {work})"
    assert any(f"(for {work})" in told for told in still.notifier.told)


def test_a_report_of_the_call_is_one_click_away(still: PhoneWindow, tmp_path: Path) -> None:
    configured = tmp_path / "alice.toml"
    configured.write_text(f'[identity]\nuri = "{ALICE}"\n')
    still._report = reporter({"": configured}, tmp_path / "reports")
    feed(still, *incoming(), ended(reason="cancelled"))
    still.report_action.trigger()
    (path,) = (tmp_path / "reports").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"Read it before you send it: {path}" in still.log.toPlainText()
    report = path.read_text()
    assert [one["type"] for one in json.loads(report)["events"]["1"]["events"]] == [
        "call.in", "call.state", "call.rings", "call.end",
    ]  # fmt: skip
    assert "bob@example.com" not in report
    assert "alice@example.com" not in report


def test_the_details_tell_keys_ticket_kms_and_path(still: PhoneWindow) -> None:
    feed(still, *outgoing(), event("media.path", way="relayed"))
    still.details_action.trigger()
    said = still.details.toPlainText()
    suite = "AES_256_CM_HMAC_SHA1_80"
    for word in ("MIKEY-TICKET (RFC 6043)", "3a9cd2f1", KMS, suite, "through a relay", "INVITE"):
        assert word in said


def test_tab_leads_to_everything_that_can_be_used(still: PhoneWindow, qtbot: QtBot) -> None:
    """From the dial field on, Tab comes to every button, field and list once, and back to the first."""
    feed(still, ABLE | {"features": ["leave-message", "mute", "conference"]}, *outgoing())
    still.details_action.trigger()
    still.activateWindow()
    still.side.dial_field.setFocus()
    qtbot.waitUntil(still.side.dial_field.hasFocus)
    reached: list[QWidget] = []
    while (now := QApplication.focusWidget()) is not None and now not in reached:
        reached.append(now)
        still.focusNextChild()
    used = (QAbstractButton, QLineEdit, QListWidget, QPlainTextEdit)
    for widget in still.findChildren(QWidget):
        ours = not widget.objectName().startswith("qt_") and not isinstance(widget, QToolButton)
        if ours and isinstance(widget, used) and widget.isVisible() and widget.isEnabled():
            assert widget in reached, widget.accessibleName()
    assert all(widget.accessibleName() for widget in reached if not isinstance(widget, QTabBar))
