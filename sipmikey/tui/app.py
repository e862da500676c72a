"""The screen of the phone in a terminal."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.widgets import Footer, Input, OptionList, Static, TabbedContent, TabPane

from sipmikey.mikey.errors import LocalError
from sipmikey.phone import Contact, Phone, Stage, Text
from sipmikey.phone.calls import Hold, ShownCall
from sipmikey.phone.controller import STEP_DB, Controller, Line, NotPossible
from sipmikey.phone.edge.process import AgentProcess, Running
from sipmikey.phone.edge.store import Store
from sipmikey.phone.ladder.details import call_details
from sipmikey.phone.plain import lines
from sipmikey.phone.possible import Action, may, phone_actions
from sipmikey.phone.shown import (
    account_lines,
    call_line,
    call_text,
    deleting,
    history_line,
    message_line,
    recording_line,
    report_line,
)
from sipmikey.phone.state import Message, Recording
from sipmikey.phone.text import Translate
from sipmikey.tui.contacts import ContactList
from sipmikey.tui.dialogs import Ask, AskText, AskToSend, AskWhich
from sipmikey.tui.keys import ACTIONS, bindings
from sipmikey.tui.lists import Names, fill
from sipmikey.tui.messages import MessageList
from sipmikey.tui.styled import call_content

SAID = 200
"""Lines of the log that are kept."""

LOG_LINES = 5
"""Lines of it that are shown where each takes one row; the last rows of them are."""


class PhoneApp(App[None]):
    """The phone. *accounts* maps each account to the options of its `sipmikey agent`.

    *books* reads the address books, which may take seconds, and returns documents. *report* writes the report
    of a call and returns where it is. *running* has the processes of accounts that were started already.
    """

    CSS_PATH = "phone.tcss"
    TITLE = "sipmikey"
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        accounts: Sequence[tuple[Line, Sequence[str]]],
        *,
        store: Store | None,
        tr: Translate,
        wanted: str = "",
        books: Callable[[], Iterable[dict[str, Any]]] | None = None,
        report: Callable[[ShownCall], Path] | None = None,
        running: Running | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.tr = tr
        for one in bindings(tr):
            self.bind(one.key, one.action, description=one.description, show=one.show)
        self._store = store
        self._wanted = wanted
        self._books = books
        self._report = report
        self._recording: dict[str, AskToSend] = {}
        self._said: list[str] = []
        self._people_of: Phone | None = None
        self._details = False
        self._asked: set[tuple[str, str]] = set()
        self.processes: dict[str, AgentProcess] = {}
        self.controller = Controller(
            (line for line, _ in accounts), send=self._send, changed=self._changed, clock=clock
        )
        for line, options in accounts:
            started = (running or {}).get(line.name)
            self.processes[line.name] = self._process(line.name, options, started)
        if store is not None:
            self.controller.load(store.documents())

    def _process(
        self, account: str, options: Sequence[str], started: subprocess.Popen[bytes] | None
    ) -> AgentProcess:
        return AgentProcess(
            options,
            face=self,
            running=started,
            line=lambda text: self.controller.feed(account, text),
            ended=lambda detail, ran_s: self.controller.ended(account, detail, ran_s),
        )

    def soon(self, work: Callable[[], None]) -> None:
        """Do *work* in the thread of the screen; called from another one."""
        with suppress(RuntimeError):  # the screen is gone
            self._face_loop.call_soon_threadsafe(work, context=self._face_context)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do *work* in so many seconds."""
        self._face_loop.call_later(seconds, work)

    def _send(self, account: str, line: str) -> None:
        if account in self.processes:
            self.processes[account].send(line)

    @property
    def phone(self) -> Phone:
        """What is shown."""
        return self.controller.phone

    # The screen

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="accounts")
        with Horizontal():
            with Vertical(id="side"):
                yield Input(
                    placeholder=self.tr("Name, SIP address or number"),
                    id="dial",
                    suggester=Names(lambda: self.phone),
                )
                with TabbedContent():
                    with TabPane(self.tr("Contacts"), id="people"):
                        yield ContactList(remove=self.controller.remove, id="contacts")
                    with TabPane(self.tr("Calls"), id="past"):
                        yield OptionList(id="history", markup=False)
                    with TabPane(self.tr("Messages"), id="left"):
                        yield MessageList(
                            lambda: self.phone,
                            call=lambda one: self._dial(one.peer or one.sender),
                            delete=self._ask_to_delete,
                            id="messages",
                        )
            with Vertical(id="main"):
                yield OptionList(id="calls", markup=False)
                with VerticalScroll(id="shown"):
                    yield Static(id="call")
                    yield Static(id="ladder", markup=False)
                yield Static(id="log", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Start the processes."""
        self._face_loop, self._face_context = asyncio.get_running_loop(), copy_context()
        for process in self.processes.values():
            process.start()
        self.render_phone()
        self.query_one("#dial", Input).focus()
        if self._wanted:
            self._ask_about_link(self._wanted)
        if self._books is not None:
            self.run_worker(self._read_books(self._books), exit_on_error=False)

    async def _read_books(self, books: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Have the address books read beside the screen, and take what they have."""
        for document in await asyncio.to_thread(lambda: list(books())):
            self.controller.take(document)

    async def on_unmount(self) -> None:
        """End all calls and processes."""
        for process in self.processes.values():
            await asyncio.to_thread(process.stop)

    def _changed(self, before: Phone, after: Phone) -> None:
        if self._store is not None:
            self._store.keep(before, after)
        self._said = [*self._said, *(line.text.render(self.tr) for line in lines(before, after))][-SAID:]
        if self._laid_out:
            for call in after.incoming:
                if call.key not in {one.key for one in before.incoming}:
                    self.bell()
                    self.notify(call_text(call, after, self.tr), title=self.tr("Call"), markup=False)
            self.render_phone()

    @property
    def _laid_out(self) -> bool:
        """True while there is a screen to render to."""
        return self.is_running and bool(self.screen_stack) and bool(self.screen_stack[0].query("#call"))

    def render_phone(self) -> None:
        """Show the phone as it is."""
        phone, tr, root = self.phone, self.tr, self.screen_stack[0]
        accounts = account_lines(phone, self.controller.account, tr)
        root.query_one("#accounts", Static).update(Content(accounts))
        fill(root.query_one("#calls", OptionList), _titles(phone, tr))
        root.query_one("#calls", OptionList).display = len(phone.live) > 1
        call = self.current
        root.query_one("#call", Static).update(
            call_content(call, phone, tr) if call else Content(tr("No call."))
        )
        ladder = call_details(call, phone, tr, width=78) if call is not None and self._details else ""
        root.query_one("#ladder", Static).update(ladder)
        self._show_log()
        if self._people_of is None or not phone.same_people(self._people_of):
            self._people_of = phone
            fill(root.query_one("#contacts", OptionList), ((one.identity, one.line) for one in phone.people))
        fill(
            root.query_one("#history", OptionList),
            ((f"{place}", history_line(entry, phone, tr)) for place, entry in enumerate(phone.history[:100])),
        )
        fill(
            root.query_one("#messages", OptionList),
            ((f"{place}", message_line(one, phone, tr)) for place, one in enumerate(phone.messages[:100])),
        )
        tab = root.query_one(TabbedContent).get_tab("past")
        tab.label = f"{tr('Calls')} ({phone.missed})" if phone.missed else tr("Calls")
        self._ask_questions()
        self._show_recordings()
        self.refresh_bindings()

    def _show_log(self) -> None:
        """Show the newest lines of what was said, however many rows each of them takes."""
        log = self.screen_stack[0].query_one("#log", Static)
        width, height = log.content_size
        said = Content("\n".join(self._said[-LOG_LINES:]))
        log.update(Content("\n").join(said.wrap(width)[-height:]) if width and height else said)

    def on_resize(self) -> None:
        """Fit the log to its new width, when that is known."""
        if self._laid_out:
            self.call_after_refresh(self._show_log)

    @property
    def current(self) -> ShownCall | None:
        """The call whose facts are shown: the one of most interest, else the last that ended."""
        return self.controller.current or next(reversed(tuple(self.phone.calls.values())), None)

    def _ask_questions(self) -> None:
        for question in self.phone.questions:
            key = (question.account, question.call)
            if key not in self._asked:
                self._asked.add(key)
                self.push_screen(
                    Ask(question.text.render(self.tr), safe=self.tr("End the call"), other=self.tr("Talk")),
                    lambda accept, asked=question: self.controller.decide(asked, bool(accept)),
                )

    def _show_recordings(self) -> None:
        """Open the question of each message that is being said, and close it when that is over."""
        for account, asked in tuple(self._recording.items()):
            recording = self.phone.recordings.get(account)
            if recording is None or recording.sends:
                del self._recording[account]
                if asked.is_current:
                    asked.dismiss(None)
        for account, recording in self.phone.recordings.items():
            if account not in self._recording and not recording.sends:
                text = recording_line(recording, self.phone, self.tr)
                ask = AskToSend(text, send=self.tr("Send"), drop=self.tr("Throw away"))
                self._recording[account] = ask
                self.push_screen(ask, lambda send, one=recording: self._end_recording(one, send))

    def _end_recording(self, recording: Recording, send: bool | None) -> None:
        if send is not None:
            self.controller.end_recording(recording, send=send)

    def _ask_about_link(self, target: str) -> None:
        question = Text("A link wants to call {target}. Call?", {"target": target}).render(self.tr)
        ask = Ask(question, safe=self.tr("Do not call"), other=self.tr("Call"))

        def answered(accept: bool | None) -> None:
            if accept:
                self._dial(target)

        self.push_screen(ask, answered)

    # What is typed

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Dial what was typed."""
        if event.input.id == "dial" and self._dial(event.value):
            event.input.value = ""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Dial a contact or a past call, play a message, or talk to the call that was chosen."""
        chosen = event.option.id or ""
        if event.option_list.id == "contacts":
            self._dial(chosen)
        elif event.option_list.id == "history":
            entry = self.phone.history[int(chosen)]
            self._dial(entry.peer or entry.party)
        elif event.option_list.id == "messages":
            self._try(lambda: self.controller.play(self.phone.messages[int(chosen)]))
        elif (call := self.current) is not None and chosen != "|".join(call.key):
            self._act(Action.SWAP)

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Missed calls have been looked at when their list was."""
        if event.pane.id == "past" and self.phone.missed:
            self.controller.note("history.looked-at")

    def on_key(self, event: Key) -> None:
        """Send digits while the dial field does not have the focus."""
        call = self.controller.current
        if (
            event.character
            and event.character in "0123456789*#"
            and not isinstance(self.focused, Input)
            and call
        ):
            self._act(Action.DIGITS, digits=event.character)

    def _ask_to_delete(self, message: Message) -> None:
        ask = Ask(deleting(message, self.phone, self.tr), safe=self.tr("Keep"), other=self.tr("Delete"))

        def answered(accept: bool | None) -> None:
            if accept:
                self._try(lambda: self.controller.delete(message))

        self.push_screen(ask, answered)

    def _try(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except LocalError as error:
            self._complain(error)
            return False
        return True

    def _dial(self, typed: str) -> bool:
        return self._try(lambda: self.controller.dial(typed))

    def _act(self, action: Action, **fields: Any) -> None:
        call = self.controller.current
        if call is None:
            self.notify(self.tr("No call."), severity="warning")
            return
        self._try(lambda: self.controller.act(action, call.key, **fields))

    def _complain(self, error: LocalError) -> None:
        said = error.text.render(self.tr) if isinstance(error, NotPossible) else str(error)
        self.notify(said, severity="warning", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave keys out of the footer that do nothing now."""
        account = self.controller.account
        if action == "next_account":
            return len(self.phone.accounts) > 1
        if action == "leave_message":
            name = "" if account is None else account.name
            return phone_actions(self.phone, name)[Action.LEAVE_MESSAGE].may
        wanted = ACTIONS.get(str(parameters[0]) if action == "act" else action)
        call = self.controller.current if wanted else None
        if wanted is None:
            return True
        return call is not None and any(may(self.phone, call, one) for one in wanted)

    # Actions of the keys

    def action_dial(self) -> None:
        """Go to the dial field."""
        self.query_one("#dial", Input).focus()

    def action_act(self, name: str) -> None:
        """Do what a key stands for with the call of most interest."""
        self._act(ACTIONS[name][0])

    def action_leave(self) -> None:
        """Decline the call that rings, or hang up."""
        call = self.controller.current
        self._act(Action.DECLINE if call is not None and call.stage is Stage.INCOMING else Action.HANGUP)

    def action_hold(self) -> None:
        """Put the other side on hold, or take it off."""
        call = self.controller.current
        held = call is not None and call.hold in (Hold.OURS, Hold.BOTH)
        self._act(Action.RESUME if held else Action.HOLD)

    def action_mute(self) -> None:
        """Switch the microphone off, or on."""
        account = self.controller.account
        self._act(Action.UNMUTE if account is not None and account.muted else Action.MUTE)

    def action_step(self) -> None:
        """Let the others of the conference go on without the user, or with him again."""
        call = self.controller.current
        away = call is not None and may(self.phone, call, Action.STEP_IN)
        self._act(Action.STEP_IN if away else Action.STEP_OUT)

    def action_transfer(self) -> None:
        """Ask whom to hand the call to."""
        call = self.controller.current
        if call is None or not may(self.phone, call, Action.TRANSFER):
            self._act(Action.TRANSFER)
            return
        self.push_screen(
            AskText(self.tr("Transfer to whom?")),
            lambda typed: self._act(Action.TRANSFER, uri=typed) if typed else None,
        )

    def action_details(self) -> None:
        """Show the ladder of the call, or hide it."""
        self._details = not self._details
        self.render_phone()

    def action_louder(self, steps: int) -> None:
        """Turn the speaker up, or down."""
        self._try(lambda: self.controller.louder(steps * STEP_DB))

    def action_leave_message(self) -> None:
        """Record a message for whom was typed, or else for the other side of the call that is over."""
        field, call = self.query_one("#dial", Input), self.current
        typed = field.value
        if not typed.strip() and call is not None and not call.live:
            typed = call.name
        if self._try(lambda: self.controller.leave(typed)):
            field.value = ""

    def action_next_account(self) -> None:
        """Make new calls with the next account."""
        self.controller.choose()

    def action_devices(self) -> None:
        """Choose a sound device."""
        account = self.controller.account
        devices = () if account is None else account.devices
        if account is None or not devices:
            self.notify(self.tr("There are no sound devices."), severity="warning")
            return
        entries = [f"{'●' if one.chosen else '○'} {one.kind}: {one.name}" for one in devices]

        def chosen(place: int | None) -> None:
            if place is not None:
                self.controller.select_device(account.name, devices[place].kind, devices[place].name)

        self.push_screen(AskWhich(self.tr("Sound devices"), entries), chosen)

    def action_report(self) -> None:
        """Write the report of the call that is shown, and say where it is."""
        call, report = self.current, self._report
        if call is None or report is None:
            self.notify(self.tr("No call."), severity="warning")
            return

        def write() -> None:
            said = report_line(str(report(call)), self.tr)
            self.notify(said, markup=False)
            self._said.append(said)

        self._try(write)
        self.render_phone()

    def action_do_not_disturb(self) -> None:
        """Refuse calls, or let them ring."""
        account = self.controller.account
        self.controller.do_not_disturb(not (account is not None and account.do_not_disturb))

    def action_save_contact(self) -> None:
        """Ask for the name of the other side and keep it as a contact."""
        call = self.current
        if call is not None:
            self.push_screen(
                AskText(f"{self.tr('Name of the contact')} {call.name}", self.phone.label(call.name)),
                lambda name: self.controller.save(Contact(identity=call.name, name=name)) if name else None,
            )


def _titles(phone: Phone, tr: Translate) -> Iterable[tuple[str, str]]:
    return (("|".join(call.key), call_line(call, phone, tr)) for call in phone.live)
