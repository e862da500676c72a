"""Calls at a terminal: keys for what may be done, which are shown."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sipmikey.agent import CallFailed
from sipmikey.cli.calls.keyboard import ENDS, keys_typed
from sipmikey.cli.calls.session import AgentSession
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.phone import Phone
from sipmikey.phone.conference import outside
from sipmikey.phone.edge.desk import Desk
from sipmikey.phone.keys import DIGITS, KEYS, action_of, current, legend, other
from sipmikey.phone.people import to_dial
from sipmikey.phone.possible import Action
from sipmikey.phone.text import Text

BELL = "\a"
BACKSPACES = "\x7f\b"


class Console:
    """What a person at a terminal types, and which keys there are.

    *dials*: whether new calls may be made.
    """

    def __init__(self, session: AgentSession, desk: Desk, *, dials: bool) -> None:
        self._session = session
        self._desk = desk
        self._dials = dials
        self._interactive = False
        self._typed: str | None = None
        self._asking: Action | None = None
        self._shown: tuple[tuple[str, Text], ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def phone(self) -> Phone:
        """What is shown."""
        return self._session.phone

    def watch(self, document: Mapping[str, Any], before: Phone) -> None:
        """Show the keys that *document* gives or takes, and ring the bell for a call."""
        if self._interactive and len(self.phone.incoming) > len(before.incoming):
            print(BELL, end="", file=sys.stderr, flush=True)
        self._show_keys()

    def _show_keys(self) -> None:
        """Show the useful keys, when they have changed."""
        if not self._interactive or self._typed is not None:
            return
        keys = legend(self.phone, dials=self._dials)
        if keys != self._shown:
            self._shown = keys
            words = "  ".join(f"[{key}] {word}" for key, word in keys)
            print(self._session.output.paint.faint(words), file=sys.stderr, flush=True)

    @asynccontextmanager
    async def keyboard(self) -> AsyncIterator[None]:
        """Take keys from the terminal meanwhile, if standard input is one."""
        if not sys.stdin.isatty():
            yield
            return
        self._interactive = True
        self._session.watchers.append(self.watch)
        try:
            async with keys_typed(self.press, self._session.stopping.set):
                self._show_keys()
                yield
        finally:
            self._interactive = False
            self._session.watchers.remove(self.watch)
            for task in tuple(self._tasks):
                task.cancel()

    def press(self, key: str) -> None:
        """Do what *key* stands for."""
        question = self.phone.questions[0] if self.phone.questions else None
        if self._typed is not None:
            self._edit(key)
        elif question is not None and key in "yYnN\n":
            self._do("decide", call=question.call, accept=key in "yY")
        elif key in ENDS:
            self._session.stopping.set()
        elif key in DIGITS and (call := current(self.phone)) is not None:
            self._do("digits", call=call.number, digits=key)
        elif (action := action_of(self.phone, key)) is not None:
            self._act(action)
        elif key == "?":
            self._shown = ()
            self._show_keys()

    def _act(self, action: Action) -> None:
        if action is Action.DIAL and not self._dials:
            return
        asks = KEYS[action].asks
        if asks is not None:
            self._asking, self._typed = action, ""
            print(f"{asks} ", end="", file=sys.stderr, flush=True)
            return
        call = current(self.phone)
        if call is None:
            return
        if action in (Action.MUTE, Action.UNMUTE):
            self._do("mute", on=action is Action.MUTE)
            return
        fields = {"call": call.number}
        if action in (Action.SWAP, Action.TRANSFER_TO, Action.CONFERENCE):
            second = outside(self.phone, call) if action is Action.CONFERENCE else other(self.phone, call)
            if second is None:
                return
            if action is Action.SWAP:
                fields = {"call": second.number}
            else:
                fields["other"] = second.number
        self._do(str(action), **({"status": 603} if action is Action.DECLINE else {}), **fields)

    def _edit(self, key: str) -> None:
        """Take a key of a line that is asked for."""
        assert self._typed is not None
        if key in "\r\n":
            typed, action, self._typed, self._asking = self._typed, self._asking, None, None
            print(file=sys.stderr)
            self._shown = ()
            if typed.strip() and action is not None:
                self._asked(action, typed)
        elif key == "\x1b":
            self._typed = self._asking = None
            print(file=sys.stderr)
        elif key in BACKSPACES:
            if self._typed:
                self._typed = self._typed[:-1]
                print("\b \b", end="", file=sys.stderr, flush=True)
        elif key.isprintable():
            self._typed += key
            print(key, end="", file=sys.stderr, flush=True)

    def _asked(self, action: Action, typed: str) -> None:
        account = next(iter(self.phone.accounts.values()), None)
        own = self._desk.agent.identity.rpartition("@")[2]
        try:
            uri = to_dial(self.phone.contacts, typed, domain=account.domain if account else own)
        except SipmikeyError as error:
            self._say(str(error))
            return
        if action is Action.DIAL:
            self._do("call", uri=uri, via=None)
        elif (call := current(self.phone)) is not None:
            self._do(str(action), call=call.number, uri=uri)

    def _do(self, verb: str, **fields: Any) -> None:
        task = asyncio.ensure_future(self._carry_out(verb, fields))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, verb: str, fields: dict[str, Any]) -> None:
        try:
            await self._desk.do(verb, fields)
        except CallFailed as error:
            if verb not in ("call", "answer"):  # the end of the call tells the rest
                self._say(f"{verb}: {error.detail or error.reason}")
        except SipmikeyError as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        print(self._session.output.paint.bad(text), file=sys.stderr, flush=True)
