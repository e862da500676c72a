"""Lists whose entries have an identifier."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QListWidget, QListWidgetItem

IDENTIFIER = Qt.ItemDataRole.UserRole


def fill(shown: QListWidget, entries: list[tuple[str, str]]) -> None:
    """Show *entries*; nothing is done where nothing changed, so that the selection stays."""
    now = [(shown.item(row).data(IDENTIFIER), shown.item(row).text()) for row in range(shown.count())]
    if now == entries:
        return
    row = shown.currentRow()
    shown.clear()
    for identifier, text in entries:
        item = QListWidgetItem(text)
        item.setData(IDENTIFIER, identifier)
        shown.addItem(item)
    shown.setCurrentRow(min(row, len(entries) - 1))
