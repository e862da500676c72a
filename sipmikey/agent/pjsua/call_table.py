"""The calls of one stack: those that live, those that are over, and the socket handles they hold."""

from __future__ import annotations

import time
from typing import Generic, Protocol, TypeVar

from sipmikey.agent.config import MAX_CALLS
from sipmikey.agent.pjsua.socket_budget import HANDLES_PER_STREAM, HandleBudget


class TabledCall(Protocol):
    """A call, as the table needs it."""

    @property
    def slot(self) -> int:
        """Number of pjsua's call slot, -1 for none."""

    def discard(self) -> None:
        """Let go of pjsua2's object."""


Call = TypeVar("Call", bound=TabledCall)


class CallTable(Generic[Call]):
    """All calls of the stack. ``living``: in the order in which they began."""

    def __init__(self) -> None:
        self.living: list[Call] = []
        self._over: list[Call] = []
        self._handles = HandleBudget()
        self._held: dict[int, int] = {}

    def ready_in(self, streams: int) -> float | None:
        """Return seconds until a call of *streams* can be made; None when one must end first."""
        if len(self.living) >= MAX_CALLS:
            return None
        return self._handles.wait_s(streams * HANDLES_PER_STREAM, time.monotonic())

    def admits(self, streams: int) -> bool:
        """Return whether an incoming call of *streams* may open its sockets."""
        return self._handles.admits(streams * HANDLES_PER_STREAM, time.monotonic())

    def add(self, call: Call, streams: int) -> None:
        """Enter a call that opens the sockets of *streams*; 0 for one that is refused."""
        handles = streams * HANDLES_PER_STREAM
        self._handles.take(handles, time.monotonic())
        self._held[id(call)] = handles
        self.living.append(call)

    def remove(self, call: Call) -> None:
        """Take out a call that is over. Its handles count until pjlib gives them back."""
        if call in self.living:
            self.living.remove(call)
            self._handles.give_back(self._held.pop(id(call)), time.monotonic())
            self._over.append(call)

    def bury(self) -> None:
        """Free the objects of calls that are over.

        The destructor of pjsua2's Call acts on the slot by number, so it must not run in the call's own
        callback, nor while a newer call has the slot.
        """
        if not self._over:
            return
        taken = {call.slot for call in self.living}
        waiting = [call for call in self._over if call.slot in taken]
        for call in self._over:
            if call.slot not in taken:
                call.discard()
        self._over = waiting

    def clear(self) -> None:
        """Free everything: the library is about to go."""
        for call in (*self.living, *self._over):
            call.discard()
        self.living.clear()
        self._over.clear()
        self._held.clear()
