"""Running the window as a program of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QLibraryInfo, QLocale, QTimer, QTranslator
from PySide6.QtWidgets import QApplication

from sipmikey.gui.assistant import Assistant
from sipmikey.gui.window import PhoneWindow, Report
from sipmikey.gui.worker import Work, Worker
from sipmikey.phone.assistant import Steps
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.process import Running
from sipmikey.phone.edge.store import Store
from sipmikey.phone.text import Translate

WAKE_MS = 250
"""How often Python is given the chance to see a signal."""


def _application() -> QApplication:
    """Return the one application of this process, with Qt's own words in the user's language."""
    running = QApplication.instance()
    if isinstance(running, QApplication):
        return running
    application = QApplication(sys.argv[:1])
    application.setApplicationName("sipmikey")
    application.setDesktopFileName("sipmikey")
    own = QTranslator(application)
    if own.load(QLocale(), "qtbase", "_", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        application.installTranslator(own)
    return application


def run_assistant(steps: Steps, *, tr: Translate) -> bool:
    """Show the assistant until it is closed; return True when an account was set up."""
    _application()
    assistant = Assistant(steps, tr)
    assistant.exec()
    return assistant.written


def read_books(window: PhoneWindow, books: Work) -> None:
    """Have *books* read beside the window, which takes the documents when they are there."""
    worker = Worker(window)

    def take(found: list[dict[str, Any]]) -> None:
        for document in found:
            window.controller.take(document)

    worker.done.connect(take)
    worker.start(lambda: list(books()))


def run_window(
    accounts: Sequence[tuple[Line, Sequence[str]]],
    *,
    store: Store | None,
    tr: Translate,
    wanted: str,
    books: Work | None = None,
    report: Report | None = None,
    running: Running | None = None,
) -> int:
    """Show the window until it is closed; SIGINT, SIGTERM and SIGHUP close it, and end the calls.

    *books* reads the address books, which may take seconds, and returns documents. *report* writes the report
    of a call. *running* has the processes of accounts that were started already.
    """
    application = _application()
    window = PhoneWindow(accounts, store=store, tr=tr, report=report, running=running)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: window.close())
    wake = QTimer(window)
    wake.timeout.connect(lambda: None)
    wake.start(WAKE_MS)
    window.show()
    window.start()
    if books is not None:
        read_books(window, books)
    if wanted:
        window.ask_about_link(wanted)
    return application.exec()
