"""The messages that were left: chosen to be played or stopped, called back, deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QMenu

from sipmikey.gui.lists import IDENTIFIER, fill
from sipmikey.phone import Phone
from sipmikey.phone.shown import message_line
from sipmikey.phone.state import Message
from sipmikey.phone.text import Translate

MOST = 100

Do = Callable[[Message], object]


class MessageList(QListWidget):
    """*play*, *call* and *delete* are given the message that is meant, as it is now."""

    def __init__(self, tr: Translate, *, play: Do, call: Do, delete: Do) -> None:
        super().__init__()
        self.say = tr
        self._phone = Phone()
        self._play = play
        self._call = call
        self._delete = delete
        self.itemActivated.connect(lambda item: self._do(play, _name_in(item)))
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._menu)
        key = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(lambda: self._do(delete, _name_in(self.currentItem())))

    def show_messages(self, phone: Phone) -> None:
        """Show the messages of *phone*."""
        self._phone = phone
        fill(self, [(_name(one), message_line(one, phone, self.say)) for one in phone.messages[:MOST]])

    def _menu(self, place: Any) -> None:
        name = _name_in(self.itemAt(place))
        message = self._named(name)
        if message is None:
            return
        tr, menu = self.say, QMenu(self)
        entries = (
            (tr("Stop") if message.playing else tr("Play"), self._play),
            (tr("Call"), self._call),
            (tr("Delete"), self._delete),
        )
        for text, do in entries:
            menu.addAction(text).triggered.connect(lambda _=False, do=do: self._do(do, name))
        menu.popup(self.mapToGlobal(place))

    def _do(self, do: Do, name: str) -> None:
        if (message := self._named(name)) is not None:
            do(message)

    def _named(self, name: str) -> Message | None:
        return next((one for one in self._phone.messages if _name(one) == name), None)


def _name(message: Message) -> str:
    return f"{message.account}|{message.identifier}"


def _name_in(item: QListWidgetItem | None) -> str:
    return "" if item is None else str(item.data(IDENTIFIER))
