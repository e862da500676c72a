"""Buttons for what may be done with a call; one that may not says why not."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QGridLayout, QPushButton, QWidget

from sipmikey.phone import Phone, ShownCall, Text, call_actions
from sipmikey.phone.possible import Action
from sipmikey.phone.text import Translate

BUTTONS = MappingProxyType(
    {
        Action.ANSWER: (Text("&Answer"), "F4"),
        Action.DECLINE: (Text("&Decline"), "Shift+F5"),
        Action.BUSY: (Text("&Busy"), "Ctrl+B"),
        Action.HANGUP: (Text("&Hang up"), "F5"),
        Action.HOLD: (Text("H&old"), "F6"),
        Action.RESUME: (Text("&Off hold"), "Shift+F6"),
        Action.MUTE: (Text("&Mute"), "F7"),
        Action.UNMUTE: (Text("Un&mute"), "Shift+F7"),
        Action.SWAP: (Text("O&ther call"), "F8"),
        Action.TRANSFER: (Text("T&ransfer"), "F9"),
        Action.TRANSFER_TO: (Text("&Join both and leave"), "Ctrl+J"),
        Action.REKEY: (Text("New &keys"), "F10"),
        Action.CONFERENCE: (Text("Con&ference"), "Ctrl+G"),
        Action.SPLIT: (Text("Take o&ut"), "Ctrl+T"),
        Action.STEP_OUT: (Text("&Step out"), "Ctrl+O"),
        Action.STEP_IN: (Text("Step &in"), "Ctrl+I"),
        Action.END_CONFERENCE: (Text("&End conference"), "Ctrl+L"),
    }
)
"""Action -> text of its button, with the letter for the keyboard, and its key."""

COLUMNS = 4


class ActionButtons(QWidget):
    """The buttons of a call."""

    def __init__(self, tr: Translate, act: Callable[[Action], None]) -> None:
        super().__init__()
        self._tr = tr
        self.buttons: dict[Action, QPushButton] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for place, (action, (text, keys)) in enumerate(BUTTONS.items()):
            button = QPushButton(text.render(tr))
            button.setAccessibleName(text.render(tr).replace("&", ""))
            button.setShortcut(QKeySequence(keys))
            button.clicked.connect(lambda _=False, action=action: act(action))
            self.buttons[action] = button
            layout.addWidget(button, place // COLUMNS, place % COLUMNS)

    def show_call(self, phone: Phone, call: ShownCall | None) -> None:
        """Enable what may be done with *call*, and say of the rest why not."""
        possible = {} if call is None else call_actions(phone, call)
        for action, button in self.buttons.items():
            entry = possible.get(action)
            why = "" if entry is None or entry.why_not is None else entry.why_not.render(self._tr)
            button.setEnabled(entry is not None and entry.may)
            button.setToolTip(why)
            button.setAccessibleDescription(why)


class DialPad(QWidget):
    """Digits to send in a call."""

    def __init__(self, tr: Translate, press: Callable[[str], None]) -> None:
        super().__init__()
        self.setAccessibleName(tr("Digits"))
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.keys: dict[str, QPushButton] = {}
        for place, digit in enumerate("123456789*0#"):
            button = QPushButton(digit)
            button.setAccessibleName(Text("Digit {digit}", {"digit": digit}).render(tr))
            button.clicked.connect(lambda _=False, digit=digit: press(digit))
            self.keys[digit] = button
            layout.addWidget(button, place // 3, place % 3)
