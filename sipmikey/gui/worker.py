"""Threads beside the window: work that takes seconds, and what is told to the window from there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from sipmikey.mikey.errors import SipmikeyError

Work: TypeAlias = Callable[[], Any]


class Worker(QObject):
    """Does work in a thread; ``done`` tells its result, ``failed`` what is wrong, in the window's thread."""

    done = Signal(object)
    failed = Signal(str)

    def start(self, work: Work) -> None:
        """Do *work*."""
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Work) -> None:
        try:
            result = work()
        except SipmikeyError as error:
            self.failed.emit(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the person at the window must be told
            self.failed.emit(f"sipmikey failed at this: {type(error).__name__}: {error}")
        else:
            self.done.emit(result)


class WindowThread(QObject):
    """The thread of the window, for what runs beside it."""

    _given = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._given.connect(self._do, Qt.ConnectionType.QueuedConnection)

    def _do(self, work: Callable[[], None]) -> None:
        work()

    def soon(self, work: Callable[[], None]) -> None:
        """Do *work* in the window's thread; called from another one."""
        with suppress(RuntimeError):  # the window is gone
            self._given.emit(work)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do *work* in so many seconds."""
        QTimer.singleShot(round(seconds * 1000), self, work)
