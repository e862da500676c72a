"""Messages that are being said: a box for each, over the window, which goes on behind it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from sipmikey.phone import Phone
from sipmikey.phone.shown import recording_line
from sipmikey.phone.state import Recording
from sipmikey.phone.text import Translate


class Recordings:
    """A box for each message that is being said: Enter sends it, Escape throws it away."""

    def __init__(self, parent: QWidget, tr: Translate, end: Callable[[Recording, bool], None]) -> None:
        self._parent = parent
        self._tr = tr
        self._end = end
        self.boxes: dict[str, QMessageBox] = {}

    def show_recordings(self, phone: Phone) -> None:
        """Open the boxes of new recordings, and close those of recordings that are over."""
        for account in tuple(self.boxes):
            recording = phone.recordings.get(account)
            if recording is None or recording.sends:
                self.boxes.pop(account).done(0)
        for account, recording in phone.recordings.items():
            if account not in self.boxes and not recording.sends:
                self.boxes[account] = self._open(recording, phone)

    def _open(self, recording: Recording, phone: Phone) -> QMessageBox:
        tr = self._tr
        text = recording_line(recording, phone, tr)
        box = QMessageBox(QMessageBox.Icon.Information, "sipmikey", "", parent=self._parent)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(text)
        send = box.addButton(tr("&Send"), QMessageBox.ButtonRole.ActionRole)
        box.setDefaultButton(send)
        box.setEscapeButton(box.addButton(tr("&Throw away"), QMessageBox.ButtonRole.ActionRole))
        box.buttonClicked.connect(lambda button: self._end(recording, button is send))
        box.setModal(False)
        box.show()
        return box

    def close(self) -> None:
        """Close the boxes."""
        for box in self.boxes.values():
            with suppress(RuntimeError):
                box.done(0)
