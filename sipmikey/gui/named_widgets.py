"""Widgets with the names that a screen reader speaks, and entries of menus with their keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QWidget

W = TypeVar("W", bound=QWidget)


def named(widget: W, name: str) -> W:
    """Give *widget* its name, and return it."""
    widget.setAccessibleName(name.replace("&", ""))
    return widget


def menu_entry(menu: QMenu, text: str, keys: str, do: Callable[[], object]) -> QAction:
    """Add to *menu* an entry that calls *do*."""
    action = menu.addAction(text)
    action.setShortcut(QKeySequence(keys))
    action.triggered.connect(lambda: do())
    return action
