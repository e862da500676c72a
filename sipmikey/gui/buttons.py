"""Buttons for what may be done with a call; one that may not says why not."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import MappingProxyType

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QGridLayout, QPushButton, QWidget

from sipmikey.phone import Phone, ShownCall, Text, call_actions
from sipmikey.phone.possible import Action
from sipmikey.phone.text import Translate

BUTTONS = MappingProxyType(
    {
        Action.ANSWER: (Text("&Answer"), "F4", (0, 0)),
        Action.DECLINE: (Text("&Decline"), "Shift+F5", (0, 1)),
        Action.BUSY: (Text("&Busy"), "Ctrl+B", (0, 2)),
        Action.HANGUP: (Text("&Hang up"), "F5", (0, 3)),
        Action.HOLD: (Text("H&old"), "F6", (1, 0)),
        Action.RESUME: (Text("&Off hold"), "F6", (1, 0)),
        Action.MUTE: (Text("&Mute"), "F7", (1, 1)),
        Action.UNMUTE: (Text("Un&mute"), "F7", (1, 1)),
        Action.SWAP: (Text("O&ther call"), "F8", (1, 2)),
        Action.REKEY: (Text("New &keys"), "F10", (1, 3)),
        Action.TRANSFER: (Text("T&ransfer"), "F9", (2, 0)),
        Action.TRANSFER_TO: (Text("&Join both and leave"), "Ctrl+J", (2, 1)),
        Action.CONFERENCE: (Text("Con&ference"), "Ctrl+G", (2, 2)),
        Action.SPLIT: (Text("Take o&ut"), "Ctrl+T", (3, 0)),
        Action.STEP_OUT: (Text("&Step out"), "Ctrl+O", (3, 1)),
        Action.STEP_IN: (Text("Step &in"), "Ctrl+O", (3, 1)),
        Action.END_CONFERENCE: (Text("&End conference"), "Ctrl+L", (3, 2)),
    }
)
"""Action -> text of its button with the letter for the keyboard, its key, and its place: row and column."""

TWINS = MappingProxyType(
    {Action.RESUME: Action.HOLD, Action.UNMUTE: Action.MUTE, Action.STEP_IN: Action.STEP_OUT}
)
"""Action -> the one that it takes back. They share a place and a key; the first shows while it is of use."""

IN_CONFERENCE = frozenset({Action.SPLIT, Action.STEP_OUT, Action.STEP_IN, Action.END_CONFERENCE})
"""What shows only where there is a conference."""


class ActionButtons(QWidget):
    """The buttons of a call."""

    def __init__(self, tr: Translate, act: Callable[[Action], None]) -> None:
        super().__init__()
        self._tr = tr
        self.buttons: dict[Action, QPushButton] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for action, (text, keys, place) in BUTTONS.items():
            button = QPushButton(text.render(tr))
            button.setAccessibleName(text.render(tr).replace("&", ""))
            button.setShortcut(QKeySequence(keys))
            button.clicked.connect(lambda _=False, action=action: act(action))
            self.buttons[action] = button
            layout.addWidget(button, *place)
        self._show(())

    def show_call(self, phone: Phone, call: ShownCall | None) -> None:
        """Enable what may be done with *call*, and say of the rest why not."""
        possible = {} if call is None else call_actions(phone, call)
        for action, button in self.buttons.items():
            entry = possible.get(action)
            why = "" if entry is None or entry.why_not is None else entry.why_not.render(self._tr)
            button.setEnabled(entry is not None and entry.may)
            button.setToolTip(why)
            button.setAccessibleDescription(why)
        self._show([action for action, entry in possible.items() if entry.may])

    def _show(self, may: Collection[Action]) -> None:
        """Show one of twins; what is for conferences only where one of that may be done."""
        conference = bool(IN_CONFERENCE & set(may))
        shown = set(self.buttons) if conference else set(self.buttons) - IN_CONFERENCE
        for back, there in TWINS.items():
            shown.discard(there if back in may else back)
        focused = [action for action, button in self.buttons.items() if button.hasFocus()]
        for action, button in self.buttons.items():
            button.setVisible(action in shown)
        for action in focused:
            for pair in TWINS.items():
                if action in pair and action not in shown:
                    self.buttons[next(one for one in pair if one != action)].setFocus()


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
