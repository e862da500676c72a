"""Between a face and the processes that make the calls: documents in, commands out. No I/O of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sipmikey.mikey.errors import LocalError
from sipmikey.phone.calls import CallKey, ShownCall
from sipmikey.phone.conference import outside
from sipmikey.phone.documents import texts
from sipmikey.phone.fold import fold, replay
from sipmikey.phone.keys import current, other
from sipmikey.phone.people import Contact, to_dial
from sipmikey.phone.possible import Action, call_actions, phone_actions
from sipmikey.phone.shown import EXPIRED
from sipmikey.phone.state import Account, Message, Phone, Question, Recording
from sipmikey.phone.text import Text

Send: TypeAlias = Callable[[str, str], None]
"""Sends a line to the process of an account: (account, line)."""

Changed: TypeAlias = Callable[[Phone, Phone], None]
"""Is told what was shown before, and what is now."""

STARTS_AGAIN_S = (0.2, 1.0, 3.0, 10.0, 30.0)
"""How long to wait before a process that ended is started again: after the first end, the second, ..."""

MIN_DB, MAX_DB = -60.0, 20.0
"""Between which volumes can be set."""

STEP_DB = 3.0
"""By how much a key changes the volume."""

_TOLD_OTHERWISE = frozenset({"call", "answer", "devices", "leave-message"})
"""Commands whose failure an event tells, such as the end of a call."""

STEADY_S = 60.0
"""A process that ran so long may end and is started again at once."""


class NotPossible(LocalError):
    """What was asked cannot be done now; ``text`` says why, for the user."""

    def __init__(self, text: Text) -> None:
        super().__init__(str(text))
        self.text = text


@dataclass(frozen=True, slots=True)
class Line:
    """An account that is to be opened: its *name* and its *identity*."""

    name: str
    identity: str


class Controller:
    """What a face talks to: ``phone`` is to be rendered, the methods are what its user can do.

    *clock* returns Unix seconds. *send* carries commands away, *changed* tells the face to render.
    """

    def __init__(
        self, lines: Iterable[Line], *, send: Send, changed: Changed, clock: Callable[[], float]
    ) -> None:
        self.phone = Phone()
        self._send = send
        self._changed = changed
        self._clock = clock
        self._ends: dict[str, int] = {}
        self._asked = 0
        self._asking: dict[int, str] = {}
        self._chosen: str | None = None
        self.load(
            {"type": "account.opened", "account": line.name, "identity": line.identity} for line in lines
        )

    # Documents in

    def load(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Take what is stored: contacts and history; nothing of it is told as new."""
        self.phone = replay(documents, self.phone)

    def feed(self, account: str, line: str) -> None:
        """Take a line of the process of *account*; what is not JSON is of no interest."""
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(document, dict):
            self.take({**document, "account": account})

    def take(self, document: Mapping[str, Any]) -> None:
        """Take one document."""
        before, self.phone = self.phone, fold(self.phone, document)
        if document.get("type") == "agent.ready":
            self._command(
                str(document.get("account", "")),
                "devices" if "devices" in texts(document, "features") else "",
                {},
            )
        if document.get("type") == "command.failed":
            self._failed(document)
        if self.phone is not before:
            self._changed(before, self.phone)

    def note(self, kind: str, **fields: Any) -> None:
        """Take a document of the face's own."""
        self.take({"type": kind, "at": self._clock(), "call": "", **fields})

    def ended(self, account: str, detail: str, ran_s: float) -> float:
        """The process of *account* ended; return after how many seconds to start it again."""
        ends = 0 if ran_s >= STEADY_S else self._ends.get(account, 0)
        self._ends[account] = ends + 1
        self.note("engine.down", account=account, detail=detail)
        return STARTS_AGAIN_S[min(ends, len(STARTS_AGAIN_S) - 1)]

    def _failed(self, document: Mapping[str, Any]) -> None:
        identifier = document.get("id")
        verb = self._asking.pop(identifier, "") if isinstance(identifier, int) else ""
        detail = str(document.get("detail") or document.get("reason") or "")
        if verb and verb not in _TOLD_OTHERWISE:
            self.note("notice.given", detail=detail, account=document.get("account", ""))

    # What a user does

    @property
    def account(self) -> Account | None:
        """The account that new calls are made with: the chosen one, else the first that can be called."""
        accounts = tuple(self.phone.accounts.values())
        if self._chosen is not None and (chosen := self.phone.accounts.get(self._chosen)) is not None:
            return chosen
        return next((one for one in accounts if one.registered), accounts[0] if accounts else None)

    @property
    def current(self) -> ShownCall | None:
        """The call that is of most interest now."""
        return current(self.phone)

    def choose(self, account: str | None = None) -> None:
        """Make new calls with *account*, or with the one after that which they are made with now."""
        names = tuple(self.phone.accounts)
        if account is None and names:
            now = self.account
            account = names[(names.index(now.name) + 1) % len(names)] if now is not None else names[0]
        self._chosen = account
        self._changed(self.phone, self.phone)

    def dial(self, typed: str, *, account: str | None = None) -> str:
        """Call what *typed* means; return the URI. Raises ``NotPossible`` and ``LocalError``."""
        return self._with_somebody(Action.DIAL, typed, account)

    def leave(self, typed: str, *, account: str | None = None) -> str:
        """Record a message for whom *typed* means; return the URI. Raises ``NotPossible``, ``LocalError``."""
        return self._with_somebody(Action.LEAVE_MESSAGE, typed, account)

    def _with_somebody(self, action: Action, typed: str, account: str | None) -> str:
        chosen = self.account if account is None else self.phone.accounts.get(account)
        if chosen is None:
            raise NotPossible(Text("No account is set up. Run sipmikey setup."))
        uri = to_dial(self.phone.people, typed, domain=chosen.domain)
        possible = phone_actions(self.phone, chosen.name)[action]
        if possible.why_not is not None:
            raise NotPossible(possible.why_not)
        self._command(chosen.name, str(action), {"uri": uri})
        return uri

    def end_recording(self, recording: Recording, *, send: bool) -> None:
        """Leave the message that is recorded, or throw it away."""
        self._command(recording.account, "send-message" if send else "drop-message", {})

    def act(self, action: Action, key: CallKey, **fields: Any) -> None:
        """Do *action* with a call. Raises ``NotPossible``.

        *fields*: ``digits`` for DIGITS, ``uri`` for TRANSFER.
        """
        call = self.phone.calls.get(key)
        if call is None:
            raise NotPossible(Text("The call is over."))
        possible = call_actions(self.phone, call)[action]
        if possible.why_not is not None:
            raise NotPossible(possible.why_not)
        if action in (Action.MUTE, Action.UNMUTE):
            self._command(call.account, "mute", {"on": action is Action.MUTE})
            return
        values: dict[str, Any] = {"call": call.number, **fields}
        if action in (Action.SWAP, Action.TRANSFER_TO, Action.CONFERENCE):
            second = outside(self.phone, call) if action is Action.CONFERENCE else other(self.phone, call)
            assert second is not None, "it would not be possible"
            values = {"call": second.number} if action is Action.SWAP else {**values, "other": second.number}
        if action is Action.TRANSFER:
            account = self.phone.accounts.get(call.account)
            domain = account.domain if account else ""
            values["uri"] = to_dial(self.phone.people, str(fields.get("uri", "")), domain=domain)
        self._command(call.account, str(action), values)

    def play(self, message: Message) -> None:
        """Have a message that was left opened and played, or stop it if it plays. Raises ``NotPossible``."""
        if message.playing:
            self._command(message.account, "stop-message", {})
        elif message.expired:
            raise NotPossible(EXPIRED)
        else:
            self._about(message, "play-message")

    def delete(self, message: Message) -> None:
        """Delete a message that was left. Raises ``NotPossible``."""
        self._about(message, "delete-message")

    def _about(self, message: Message, verb: str) -> None:
        account = self.phone.accounts.get(message.account)
        if account is None or not account.engine:
            raise NotPossible(Text("The engine that makes the calls is not running."))
        self._command(message.account, verb, {"message": message.identifier})

    def decide(self, question: Question, accept: bool) -> None:
        """Answer a question of policy."""
        self._command(question.account, "decide", {"call": question.call, "accept": accept})

    def do_not_disturb(self, on: bool) -> None:
        """Refuse calls on all accounts, or let them ring."""
        for name in self.phone.accounts:
            self._command(name, "do-not-disturb", {"on": on})

    def select_device(self, account: str, role: str, name: str) -> None:
        """Use another sound device."""
        self._command(account, "device", {"role": role, "name": name})

    def volume(self, account: str, role: str, db: float) -> None:
        """Set a volume in decibels."""
        self._command(account, "volume", {"role": role, "db": db})

    def louder(self, step_db: float) -> float:
        """Change the speaker of the account that is talked with; return the volume asked for, in decibels.

        Raises ``NotPossible``.
        """
        call = self.current
        if call is None:
            raise NotPossible(Text("There is no call."))
        possible = call_actions(self.phone, call)[Action.VOLUME]
        if possible.why_not is not None:
            raise NotPossible(possible.why_not)
        now = self.phone.accounts[call.account].speaker_db
        wanted = min(MAX_DB, max(MIN_DB, now + step_db))
        self.volume(call.account, "output", wanted)
        return wanted

    def save(self, contact: Contact) -> None:
        """Keep a contact."""
        self.note(
            "contact.saved", identity=contact.identity, name=contact.name, kms=contact.kms,
            media=contact.media, signalling=contact.signalling, seen=contact.seen,
            numbers=list(contact.numbers), favourite=contact.favourite,
        )  # fmt: skip

    def remove(self, identity: str) -> None:
        """Forget a contact."""
        self.note("contact.removed", identity=identity)

    def quit(self) -> None:
        """End all calls and processes."""
        for name, account in self.phone.accounts.items():
            if account.engine:
                self._command(name, "quit", {})

    def _command(self, account: str, verb: str, fields: Mapping[str, Any]) -> None:
        if not verb:
            return
        self._asked += 1
        self._asking[self._asked] = verb
        self._send(account, json.dumps({"id": self._asked, "do": verb, **fields}))
