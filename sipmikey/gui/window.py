"""The window of the phone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QCompleter,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QMenu,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from sipmikey.gui.buttons import ActionButtons, DialPad
from sipmikey.gui.facts import FactsPanel
from sipmikey.gui.lists import IDENTIFIER, fill
from sipmikey.gui.messages import MessageList
from sipmikey.gui.named import menu_entry, named
from sipmikey.gui.notify import Notifier
from sipmikey.gui.process import AgentProcess
from sipmikey.gui.questions import Questions
from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Contact, Phone, ShownCall, Stage, Text
from sipmikey.phone.advice import advice_for, ended_text
from sipmikey.phone.conference import conference_note, shown_facts
from sipmikey.phone.controller import STEP_DB, Controller, Line, NotPossible
from sipmikey.phone.edge.store import Store
from sipmikey.phone.ladder.call import call_ladder
from sipmikey.phone.plain import lines
from sipmikey.phone.possible import Action
from sipmikey.phone.shown import account_line, call_line, call_title, deleting, history_line
from sipmikey.phone.state import Message
from sipmikey.phone.text import Translate


class PhoneWindow(QMainWindow):
    """The phone. *accounts* gives each account with the options of its `sipmikey agent`."""

    def __init__(
        self,
        accounts: Sequence[tuple[Line, Sequence[str]]],
        *,
        store: Store | None,
        tr: Translate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.say = tr
        self._store = store
        self.questions = Questions(self, tr)
        self._chosen: tuple[str, str] | None = None
        self.setWindowTitle("sipmikey")
        self.resize(900, 640)
        self._lay_out()
        self.notifier = Notifier(self, tr)
        self.controller = Controller(
            (line for line, _ in accounts), send=self._send, changed=self._changed, clock=clock
        )
        self.processes = {
            line.name: AgentProcess(
                options, parent=self,
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
        split.addWidget(self._side())
        split.addWidget(self._main())
        split.setStretchFactor(1, 1)
        self.setCentralWidget(split)
        self._menus()

    def _side(self) -> QWidget:
        tr, side = self.say, QWidget()
        layout = QVBoxLayout(side)
        self.dial_field = named(QLineEdit(), tr("Name, SIP address or number"))
        self.dial_field.setPlaceholderText(tr("Name, SIP address or number"))
        self._names = QStandardItemModel(self)
        self._people_of: Phone | None = None
        completer = QCompleter(self._names, self)
        completer.setCompletionRole(IDENTIFIER)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.dial_field.setCompleter(completer)
        self.dial_field.returnPressed.connect(self._dial_typed)
        self.dial_button = named(QPushButton(tr("&Call")), tr("Call"))
        self.dial_button.clicked.connect(self._dial_typed)
        row = QHBoxLayout()
        row.addWidget(self.dial_field, 1)
        row.addWidget(self.dial_button)
        self.contacts = named(QListWidget(), tr("Contacts"))
        self.contacts.itemActivated.connect(lambda item: self.dial(item.data(IDENTIFIER)))
        self.contacts.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.contacts.customContextMenuRequested.connect(self._contact_menu)
        self.history = named(QListWidget(), tr("Calls"))
        self.history.itemActivated.connect(lambda item: self.dial(item.data(IDENTIFIER)))
        self.tabs = named(QTabWidget(), tr("Contacts and calls"))
        self.tabs.addTab(self.contacts, tr("Contacts"))
        self.tabs.addTab(self.history, tr("Calls"))
        self.messages = named(
            MessageList(
                tr,
                play=lambda one: self._about(self.controller.play, one),
                call=lambda one: self.dial(one.peer or one.sender),
                delete=self.ask_to_delete,
            ),
            tr("Messages"),
        )
        self.tabs.addTab(self.messages, tr("Messages"))
        self.tabs.currentChanged.connect(self._looked_at)
        self.pad = DialPad(tr, self._digit)
        for widget in (self.tabs, self.pad):
            layout.addWidget(widget)
        layout.insertLayout(0, row)
        return side

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
        menu_entry(menu, tr("&Louder"), "Ctrl+Up", lambda: self._louder(STEP_DB))
        menu_entry(menu, tr("So&fter"), "Ctrl+Down", lambda: self._louder(-STEP_DB))
        self.devices_menu = menu.addMenu(tr("&Sound devices"))
        menu_entry(menu, tr("&Quit"), "Ctrl+Q", self.close)
        QShortcut(QKeySequence("F2"), self, self.dial_field.setFocus)

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
        self.accounts.setText("\n".join(account_line(one, tr) for one in phone.accounts.values()))
        fill(self.calls, [("|".join(one.key), call_line(one, phone, tr)) for one in phone.live])
        self.calls.setVisible(len(phone.live) > 1)
        self._render_people(phone)
        fill(
            self.history,
            [(one.peer or one.party, history_line(one, phone, tr)) for one in phone.history[:100]],
        )
        self.messages.show_messages(phone)
        self.tabs.setTabText(1, f"{tr('Calls')} ({phone.missed})" if phone.missed else tr("Calls"))
        self._render_call(self.current)
        account = self.controller.account
        self.quiet.setChecked(account is not None and account.do_not_disturb)
        self._render_devices()
        self.questions.follow(phone.questions, self.controller.decide)

    def _render_people(self, phone: Phone) -> None:
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

    def _render_call(self, call: ShownCall | None) -> None:
        self.facts.setVisible(call is not None)
        self.buttons.show_call(self.phone, call)
        self.pad.setEnabled(call is not None and call.stage is Stage.TALKING)
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
            self.details.setPlainText(call_ladder(call, self.phone, width=100))

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

    def _dial_typed(self) -> None:
        if self.dial(self.dial_field.text()):
            self.dial_field.clear()

    def dial(self, typed: str) -> bool:
        """Call whom *typed* means; return False, and say why, when it is not possible."""
        try:
            self.controller.dial(typed)
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
        try:
            self.controller.act(action, call.key, **fields)
        except LocalError as error:
            self._complain(error)

    def _digit(self, digit: str) -> None:
        self.act(Action.DIGITS, digits=digit)

    def _choose(self, item: QListWidgetItem) -> None:
        account, _, number = str(item.data(IDENTIFIER)).partition("|")
        self._chosen = (account, number)
        self.render_phone()

    def _complain(self, error: LocalError) -> None:
        said = error.text.render(self.say) if isinstance(error, NotPossible) else str(error)
        self.statusBar().showMessage(said, 8000)
        self.log.appendPlainText(said)

    def _louder(self, step_db: float) -> None:
        try:
            self.controller.louder(step_db)
        except LocalError as error:
            self._complain(error)

    def _toggle_quiet(self) -> None:
        account = self.controller.account
        self.controller.do_not_disturb(not (account is not None and account.do_not_disturb))

    def _toggle_details(self) -> None:
        self.details.setVisible(self.details_action.isChecked())
        self.render_phone()

    def _looked_at(self, tab: int) -> None:
        if tab == 1 and self.phone.missed:
            self.controller.note("history.looked-at")

    def save_contact(self) -> None:
        """Ask for the name of the other side and keep it as a contact."""
        call = self.current
        if call is None:
            return
        name, ok = QInputDialog.getText(self, "sipmikey", self.say("Name of the contact"))
        if ok and name.strip():
            self.controller.save(Contact(identity=call.name, name=name.strip()))

    def _contact_menu(self, place: Any) -> None:
        item = self.contacts.itemAt(place)
        if item is not None:
            menu = QMenu(self)
            remove = menu.addAction(self.say("Remove"))
            remove.triggered.connect(lambda: self.controller.remove(item.data(IDENTIFIER)))
            menu.popup(self.contacts.mapToGlobal(place))

    def ask_to_delete(self, message: Message) -> QMessageBox:
        """Ask whether to delete a message."""
        tr = self.say

        def decided(accept: bool) -> None:
            if accept:
                self._about(self.controller.delete, message)

        text = deleting(message, self.phone, tr)
        return self.questions.ask(text, safe=tr("Keep"), other=tr("Delete"), decided=decided)

    def _about(self, do: Callable[[Message], None], message: Message) -> None:
        try:
            do(message)
        except LocalError as error:
            self._complain(error)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """End all calls and processes."""
        self.questions.close()
        for process in self.processes.values():
            process.stop()
        self.notifier.hide()
        super().closeEvent(event)
