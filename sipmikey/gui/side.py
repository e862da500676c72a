"""The side of the window: whom to call and from which account, people, past calls, messages, digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QComboBox,
    QCompleter,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QMenu,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from sipmikey.gui.buttons import DialPad
from sipmikey.gui.lists import IDENTIFIER, fill
from sipmikey.gui.messages import MessageList
from sipmikey.gui.named_widgets import named
from sipmikey.phone import Phone, phone_actions
from sipmikey.phone.possible import Action
from sipmikey.phone.shown import history_line
from sipmikey.phone.state import Account, Message
from sipmikey.phone.text import Translate

PAST_TAB = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the side asks the window for. ``dial`` and ``leave`` return True where that was possible."""

    dial: Callable[[str], bool]
    leave: Callable[[str], bool]
    choose: Callable[[str], None]
    digit: Callable[[str], None]
    play: Callable[[Message], object]
    delete: Callable[[Message], object]
    remove: Callable[[str], None]


class Side(QWidget):
    """Shows people, calls and messages; *wishes* are carried out by the window."""

    looked_at_calls = Signal()

    def __init__(self, tr: Translate, wishes: Wishes) -> None:
        super().__init__()
        self.say = tr
        self._wishes = wishes
        self._people_of: Phone | None = None
        layout = QVBoxLayout(self)
        self.account = named(QComboBox(), tr("Account to call with"))
        self.account.activated.connect(lambda row: wishes.choose(self.account.itemData(row)))
        self.account.hide()
        self._dial_field()
        self._lists()
        self.pad = DialPad(tr, wishes.digit)
        layout.addWidget(self.account)
        layout.addWidget(self.dial_field)
        layout.addLayout(self._dial_buttons())
        layout.addWidget(self.tabs)
        layout.addWidget(self.pad)

    def _dial_field(self) -> None:
        tr = self.say
        self.dial_field = named(QLineEdit(), tr("Name, SIP address or number"))
        self.dial_field.setPlaceholderText(tr("Name, SIP address or number"))
        self._names = QStandardItemModel(self)
        completer = QCompleter(self._names, self)
        completer.setCompletionRole(IDENTIFIER)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.dial_field.setCompleter(completer)
        self.dial_field.returnPressed.connect(lambda: self._typed(self._wishes.dial))

    def _dial_buttons(self) -> QHBoxLayout:
        tr, row = self.say, QHBoxLayout()
        self.dial_button = named(QPushButton(tr("&Call")), tr("Call"))
        self.dial_button.clicked.connect(lambda: self._typed(self._wishes.dial))
        self.leave_button = named(QPushButton(tr("&Leave a message")), tr("Leave a message"))
        self.leave_button.setShortcut("Ctrl+R")
        self.leave_button.clicked.connect(lambda: self._typed(self._wishes.leave))
        row.addWidget(self.dial_button)
        row.addWidget(self.leave_button)
        return row

    def _lists(self) -> None:
        tr = self.say
        self.contacts = named(QListWidget(), tr("Contacts"))
        self.contacts.itemActivated.connect(lambda item: self._wishes.dial(item.data(IDENTIFIER)))
        self.contacts.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.contacts.customContextMenuRequested.connect(self._contact_menu)
        self.history = named(QListWidget(), tr("Calls"))
        self.history.itemActivated.connect(lambda item: self._wishes.dial(item.data(IDENTIFIER)))
        self.messages = named(
            MessageList(
                tr,
                play=self._wishes.play,
                call=lambda one: self._wishes.dial(one.peer or one.sender),
                delete=self._wishes.delete,
            ),
            tr("Messages"),
        )
        self.tabs = named(QTabWidget(), tr("Contacts and calls"))
        for shown, title in (
            (self.contacts, tr("Contacts")), (self.history, tr("Calls")), (self.messages, tr("Messages")),
        ):  # fmt: skip
            self.tabs.addTab(shown, title)
        self.tabs.currentChanged.connect(lambda tab: self.looked_at_calls.emit() if tab == PAST_TAB else None)

    def _typed(self, do: Callable[[str], bool]) -> None:
        if do(self.dial_field.text()):
            self.dial_field.clear()

    def _contact_menu(self, place: Any) -> None:
        item = self.contacts.itemAt(place)
        if item is not None:
            menu, uri = QMenu(self), str(item.data(IDENTIFIER))
            menu.addAction(self.say("Call")).triggered.connect(lambda: self._wishes.dial(uri))
            menu.addAction(self.say("Leave a message")).triggered.connect(lambda: self._wishes.leave(uri))
            menu.addAction(self.say("Remove")).triggered.connect(lambda: self._wishes.remove(uri))
            menu.popup(self.contacts.mapToGlobal(place))

    def show_phone(self, phone: Phone, account: Account | None) -> None:
        """Show what *phone* has; new calls are made with *account*."""
        tr = self.say
        self._show_accounts(phone, account)
        self._show_people(phone)
        past = [(one.peer or one.party, history_line(one, phone, tr)) for one in phone.history[:100]]
        fill(self.history, past)
        self.messages.show_messages(phone)
        self.tabs.setTabText(PAST_TAB, f"{tr('Calls')} ({phone.missed})" if phone.missed else tr("Calls"))
        possible = phone_actions(phone, "" if account is None else account.name)
        for button, action in (
            (self.dial_button, Action.DIAL), (self.leave_button, Action.LEAVE_MESSAGE),
        ):  # fmt: skip
            why = possible[action].why_not
            button.setEnabled(why is None)
            button.setToolTip("" if why is None else why.render(tr))
            button.setAccessibleDescription(button.toolTip())

    def _show_accounts(self, phone: Phone, account: Account | None) -> None:
        wanted = [(one.name, one.identity or one.name) for one in phone.accounts.values()]
        shown = [
            (self.account.itemData(row), self.account.itemText(row)) for row in range(self.account.count())
        ]
        if shown != wanted:
            self.account.clear()
            for name, text in wanted:
                self.account.addItem(text, name)
        self.account.setVisible(len(wanted) > 1)
        if account is not None:
            self.account.setCurrentIndex(self.account.findData(account.name))

    def _show_people(self, phone: Phone) -> None:
        """List all people, and offer their names and addresses where one is typed."""
        if self._people_of is not None and phone.same_people(self._people_of):
            return
        self._people_of, people = phone, phone.people
        fill(self.contacts, [(one.identity, one.line) for one in people])
        self._names.clear()
        for one in people:
            for typed, line in ((one.name, one.line), (one.identity, one.identity)):
                if typed:
                    entry = QStandardItem(line)
                    entry.setData(typed, IDENTIFIER)
                    self._names.appendRow(entry)
