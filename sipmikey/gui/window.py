"""The window of the phone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QInputDialog,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QMessageBox,
    QPlainTextEdit,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from sipmikey.gui.buttons import ActionButtons
from sipmikey.gui.facts import FactsPanel
from sipmikey.gui.lists import IDENTIFIER, fill
from sipmikey.gui.named_widgets import menu_entry, named
from sipmikey.gui.notify import Notifier
from sipmikey.gui.questions import Questions
from sipmikey.gui.recordings import Recordings
from sipmikey.gui.side import Side, Wishes
from sipmikey.gui.worker import WindowThread
from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Contact, Phone, ShownCall, Stage, Text
from sipmikey.phone.advice import advice_for, ended_text
from sipmikey.phone.conference import conference_note, shown_facts
from sipmikey.phone.controller import STEP_DB, Controller, Line, NotPossible
from sipmikey.phone.edge.process import AgentProcess, Running
from sipmikey.phone.edge.store import Store
from sipmikey.phone.ladder.details import call_details
from sipmikey.phone.plain import lines
from sipmikey.phone.possible import Action
from sipmikey.phone.shown import account_lines, call_line, call_title, deleting, report_line
from sipmikey.phone.state import Message
from sipmikey.phone.text import Translate

Report: TypeAlias = Callable[[ShownCall], Path]
SAID_MS = 8000
"""How long a sentence stands below the window."""


class PhoneWindow(QMainWindow):
    """The phone. *accounts* gives each account with the options of its `sipmikey agent`.

    *report* writes the report of a call and returns where it is. *running* has the processes of accounts that
    were started already.
    """

    def __init__(
        self,
        accounts: Sequence[tuple[Line, Sequence[str]]],
        *,
        store: Store | None,
        tr: Translate,
        clock: Callable[[], float] = time.time,
        report: Report | None = None,
        running: Running | None = None,
    ) -> None:
        super().__init__()
        self.say = tr
        self._store = store
        self._report = report
        self.questions = Questions(self, tr)
        self._chosen: tuple[str, str] | None = None
        self.setWindowTitle("sipmikey")
        self.resize(900, 640)
        self._lay_out()
        self.notifier = Notifier(self, tr)
        self.recordings = Recordings(
            self, tr, lambda one, send: self.controller.end_recording(one, send=send)
        )
        self.controller = Controller(
            (line for line, _ in accounts), send=self._send, changed=self._changed, clock=clock
        )
        thread = WindowThread(self)
        self.processes = {
            line.name: AgentProcess(
                options, face=thread, running=(running or {}).get(line.name),
                line=lambda text, name=line.name: self.controller.feed(name, text),  # type: ignore[misc]
                ended=lambda detail, ran, name=line.name: self.controller.ended(name, detail, ran),  # type: ignore[misc]
            )
            for line, options in accounts
        }  # fmt: skip
        if store is not None:
            self.controller.load(store.documents())
        self.render_phone()

    @property
    def phone(self) -> Phone:
        """What is shown."""
        return self.controller.phone

    @property
    def current(self) -> ShownCall | None:
        """The call whose facts are shown: the chosen one, that of most interest, or the last that ended."""
        chosen = self.phone.calls.get(self._chosen) if self._chosen else None
        if chosen is not None and chosen.live and not self.phone.incoming:
            return chosen
        return self.controller.current or next(reversed(tuple(self.phone.calls.values())), None)

    def start(self) -> None:
        """Start the processes that make the calls."""
        for process in self.processes.values():
            process.start()

    # Layout

    def _lay_out(self) -> None:
        split = QSplitter()
        self.side = self._side()
        self.side.looked_at_calls.connect(self._looked_at_calls)
        split.addWidget(self.side)
        split.addWidget(self._main())
        split.setStretchFactor(1, 1)
        self.setCentralWidget(split)
        self._menus()

    def _side(self) -> Side:
        return Side(
            self.say,
            Wishes(
                dial=self.dial,
                leave=self.leave_message,
                choose=lambda account: self.controller.choose(account),
                digit=lambda digit: self.act(Action.DIGITS, digits=digit),
                play=lambda one: self._try(lambda: self.controller.play(one)),
                delete=self.ask_to_delete,
                remove=lambda identity: self.controller.remove(identity),
            ),
        )

    def _main(self) -> QWidget:
        tr, main = self.say, QWidget()
        layout = QVBoxLayout(main)
        self.accounts = named(QLabel(), tr("Accounts"))
        self.accounts.setTextFormat(Qt.TextFormat.PlainText)
        self.accounts.setWordWrap(True)
        self.calls = named(QListWidget(), tr("Calls now"))
        self.calls.setMaximumHeight(90)
        self.calls.itemClicked.connect(self._choose)
        self.title = named(QLabel(), tr("Call"))
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setStyleSheet("font-size: 17px; font-weight: bold;")
        self.title.setWordWrap(True)
        self.facts = FactsPanel(tr)
        self.note = named(QLabel(), tr("Conference"))
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.note.setWordWrap(True)
        self.after = named(QLabel(), tr("How the call ended"))
        self.after.setTextFormat(Qt.TextFormat.PlainText)
        self.after.setWordWrap(True)
        self.buttons = ActionButtons(tr, self.act)
        self.details = named(QPlainTextEdit(), tr("Details"))
        self.details.setReadOnly(True)
        self.details.setStyleSheet("font-family: monospace;")
        self.details.hide()
        self.log = named(QPlainTextEdit(), tr("What happened"))
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(200)
        self.log.setMaximumHeight(110)
        for widget in (
            self.accounts,
            self.calls,
            self.title,
            self.facts,
            self.note,
            self.after,
            self.buttons,
        ):
            layout.addWidget(widget)
        layout.addWidget(self.details, 1)
        layout.addStretch(0)
        layout.addWidget(self.log)
        return main

    def _menus(self) -> None:
        tr = self.say
        menu = self.menuBar().addMenu(tr("&Phone"))
        self.quiet = menu_entry(menu, tr("&Do not disturb"), "Ctrl+N", self._toggle_quiet)
        self.quiet.setCheckable(True)
        menu_entry(menu, tr("Save c&ontact"), "Ctrl+S", self.save_contact)
        self.details_action = menu_entry(menu, tr("De&tails"), "F3", self._toggle_details)
        self.details_action.setCheckable(True)
        self.report_action = menu_entry(menu, tr("Write a &report of this call"), "Ctrl+E", self.write_report)
        menu_entry(menu, tr("&Louder"), "Ctrl+Up", lambda: self._louder(STEP_DB))
        menu_entry(menu, tr("So&fter"), "Ctrl+Down", lambda: self._louder(-STEP_DB))
        self.devices_menu = menu.addMenu(tr("&Sound devices"))
        menu_entry(menu, tr("&Quit"), "Ctrl+Q", self.close)
        QShortcut(QKeySequence("F2"), self, self.side.dial_field.setFocus)

    # Rendering

    def _send(self, account: str, line: str) -> None:
        if account in self.processes:
            self.processes[account].send(line)

    def _changed(self, before: Phone, after: Phone) -> None:
        if self._store is not None:
            self._store.keep(before, after)
        for line in lines(before, after):
            self.log.appendPlainText(line.text.render(self.say))
        self.render_phone()
        self.notifier.changed(before, after)

    def render_phone(self) -> None:
        """Show the phone as it is."""
        phone, tr = self.phone, self.say
        account = self.controller.account
        self.accounts.setText(account_lines(phone, account, tr))
        fill(self.calls, [("|".join(one.key), call_line(one, phone, tr)) for one in phone.live])
        self.calls.setVisible(len(phone.live) > 1)
        self.side.show_phone(phone, account)
        self._render_call(self.current)
        self.quiet.setChecked(account is not None and account.do_not_disturb)
        self._render_devices()
        self.questions.follow(phone.questions, self.controller.decide)
        self.recordings.show_recordings(phone)

    def _render_call(self, call: ShownCall | None) -> None:
        self.facts.setVisible(call is not None)
        self.buttons.show_call(self.phone, call)
        self.side.pad.setEnabled(call is not None and call.stage is Stage.TALKING)
        self.after.setVisible(call is not None and not call.live)
        self.note.hide()
        if call is None:
            self.title.setText(self.say("No call."))
            self.details.setPlainText("")
            return
        self.title.setText(call_title(call, self.phone, self.say))
        self.facts.show_facts(shown_facts(self.phone, call), call.warning)
        note = conference_note(self.phone, call)
        self.note.setVisible(note is not None)
        self.note.setText("" if note is None else note.render(self.say))
        if not call.live:
            advice = advice_for(call.reason, call.side)
            texts = (ended_text(call.reason, call.side, call.detail), advice)
            self.after.setText("\n".join(one.render(self.say) for one in texts if one is not None))
        if self.details.isVisible():
            self.details.setPlainText(call_details(call, self.phone, self.say))

    def _render_devices(self) -> None:
        account = self.controller.account
        devices = () if account is None else account.devices
        self.devices_menu.setEnabled(bool(devices))
        self.devices_menu.clear()
        for device in devices:
            entry = self.devices_menu.addAction(f"{device.kind}: {device.name}")
            entry.setCheckable(True)
            entry.setChecked(device.chosen)
            chosen = (account.name if account else "", device.kind, device.name)
            entry.triggered.connect(lambda _, chosen=chosen: self.controller.select_device(*chosen))

    # Questions

    def ask_about_link(self, target: str) -> QMessageBox:
        """Ask whether to call what a link names."""
        tr = self.say
        text = Text("A link wants to call {target}. Call?", {"target": target}).render(tr)
        return self.questions.ask(
            text, safe=tr("Do &not call"), other=tr("&Call"),
            decided=lambda accept: self._follow_link(target, accept),
        )  # fmt: skip

    def _follow_link(self, target: str, accept: bool) -> None:
        if accept:
            self.dial(target)

    # What a person does

    def dial(self, typed: str) -> bool:
        """Call whom *typed* means; return False, and say why, when it is not possible."""
        return self._try(lambda: self.controller.dial(typed))

    def leave_message(self, typed: str) -> bool:
        """Record a message for whom *typed* means, or else for the other side of the call that is over."""
        call = self.current
        if not typed.strip() and call is not None and not call.live:
            typed = call.name
        return self._try(lambda: self.controller.leave(typed))

    def _try(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except LocalError as error:
            self._complain(error)
            return False
        return True

    def act(self, action: Action, **fields: Any) -> None:
        """Do *action* with the call that is shown."""
        call = self.current
        if call is None:
            return
        if action is Action.TRANSFER and "uri" not in fields:
            typed, ok = QInputDialog.getText(self, "sipmikey", self.say("Transfer to whom?"))
            if not (ok and typed.strip()):
                return
            fields = {"uri": typed}
        self._try(lambda: self.controller.act(action, call.key, **fields))

    def _choose(self, item: QListWidgetItem) -> None:
        account, _, number = str(item.data(IDENTIFIER)).partition("|")
        self._chosen = (account, number)
        self.render_phone()

    def _complain(self, error: LocalError) -> None:
        said = error.text.render(self.say) if isinstance(error, NotPossible) else str(error)
        self._tell(said)

    def _tell(self, said: str) -> None:
        self.statusBar().showMessage(said, SAID_MS)
        self.log.appendPlainText(said)

    def _louder(self, step_db: float) -> None:
        self._try(lambda: self.controller.louder(step_db))

    def _toggle_quiet(self) -> None:
        account = self.controller.account
        self.controller.do_not_disturb(not (account is not None and account.do_not_disturb))

    def _toggle_details(self) -> None:
        self.details.setVisible(self.details_action.isChecked())
        self.render_phone()

    def _looked_at_calls(self) -> None:
        if self.phone.missed:
            self.controller.note("history.looked-at")

    def save_contact(self) -> None:
        """Ask for the name of the other side and keep it as a contact."""
        call = self.current
        if call is None:
            return
        name, ok = QInputDialog.getText(self, "sipmikey", self.say("Name of the contact"))
        if ok and name.strip():
            self.controller.save(Contact(identity=call.name, name=name.strip()))

    def write_report(self) -> None:
        """Write the report of the call that is shown, and say where it is."""
        call = self.current
        if call is None or self._report is None:
            self.statusBar().showMessage(self.say("No call."), SAID_MS)
            return
        try:
            path = self._report(call)
        except LocalError as error:
            self._complain(error)
            return
        self._tell(report_line(str(path), self.say))

    def ask_to_delete(self, message: Message) -> QMessageBox:
        """Ask whether to delete a message."""
        tr = self.say

        def decided(accept: bool) -> None:
            if accept:
                self._try(lambda: self.controller.delete(message))

        text = deleting(message, self.phone, tr)
        return self.questions.ask(text, safe=tr("Keep"), other=tr("Delete"), decided=decided)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """End all calls and processes."""
        self.questions.close()
        self.recordings.close()
        for process in self.processes.values():
            process.stop()
        self.notifier.hide()
        super().closeEvent(event)
