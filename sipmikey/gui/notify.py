"""Calls told to a user who looks elsewhere: the tray, a notification, and the window that comes up."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QApplication, QMainWindow, QMenu, QSystemTrayIcon

from sipmikey.phone import Mood, Phone
from sipmikey.phone.palette import COLOURS
from sipmikey.phone.shown import call_text
from sipmikey.phone.text import Translate

# What shows notifications may take these for markup, and the text has names that others chose.
_NO_MARKUP = str.maketrans("<>&", "‹›＆")


def icon(mood: Mood) -> QIcon:
    """Return the icon of the phone, on the ground of *mood*, with a shape that differs too."""
    picture = QPixmap(64, 64)
    picture.fill(Qt.GlobalColor.transparent)
    text, ground = COLOURS[mood]
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(ground))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawRoundedRect(2, 2, 60, 60, 12, 12)
    painter.setPen(QColor(text))
    font = painter.font()
    font.setPixelSize(44)
    font.setBold(True)
    painter.setFont(font)
    letter = {Mood.GOOD: "S", Mood.OPEN: "s", Mood.BAD: "!", Mood.PAST: "s"}[mood]
    painter.drawText(picture.rect(), Qt.AlignmentFlag.AlignCenter, letter)
    painter.end()
    return QIcon(picture)


class Notifier:
    """Tells of calls that ring and calls that were missed."""

    def __init__(self, window: QMainWindow, tr: Translate) -> None:
        self._window = window
        self._tr = tr
        self.told: list[str] = []
        self._tray: QSystemTrayIcon | None = None
        window.setWindowIcon(icon(Mood.PAST))
        if QSystemTrayIcon.isSystemTrayAvailable():
            self._tray = QSystemTrayIcon(icon(Mood.PAST), window)
            menu = QMenu(window)
            menu.addAction(tr("Show")).triggered.connect(self._raise)
            menu.addAction(tr("Quit")).triggered.connect(window.close)
            self._tray.setContextMenu(menu)
            self._tray.activated.connect(self._raise)
            self._tray.show()

    def changed(self, before: Phone, after: Phone) -> None:
        """Tell what is new."""
        for call in after.incoming:
            known = before.calls.get(call.key)
            if known is None or known.stage is not call.stage:
                self._tell(self._tr("Call"), call_text(call, after, self._tr))
                self._come_up()
        if after.missed > before.missed:
            self._tell(self._tr("Missed call"), after.label(after.history[0].peer or after.history[0].party))
        self._window.setWindowIcon(icon(self._mood(after)))
        if self._tray is not None:
            self._tray.setIcon(icon(self._mood(after)))

    def _mood(self, phone: Phone) -> Mood:
        moods = [fact.mood for call in phone.live for fact in call.facts[1:]]
        for mood in (Mood.BAD, Mood.OPEN, Mood.GOOD):
            if mood in moods:
                return mood
        return Mood.PAST

    def _tell(self, title: str, text: str) -> None:
        self.told.append(f"{title}: {text}")
        if self._tray is not None:
            self._tray.showMessage(title, text.translate(_NO_MARKUP), self._tray.icon(), 10_000)
        QApplication.alert(self._window)

    def _come_up(self) -> None:
        """Show the window on a call, without taking the focus from what somebody types."""
        window = self._window
        if window.isMinimized():
            window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
        window.show()
        window.raise_()

    def _raise(self) -> None:
        self._come_up()
        self._window.activateWindow()

    def hide(self) -> None:
        """Take the icon out of the tray."""
        if self._tray is not None:
            self._tray.hide()
