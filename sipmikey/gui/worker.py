"""Work that takes seconds, done beside the window so that the window stays alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from PySide6.QtCore import QObject, Signal

from sipmikey.mikey.errors import LocalError

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
        except LocalError as error:
            self.failed.emit(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the person at the window must be told
            self.failed.emit(f"{type(error).__name__}: {error}")
        else:
            self.done.emit(result)
