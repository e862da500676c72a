"""The place of one stack process: who is in it, and what happens when that dies."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from sipmikey.agent.config import Transport
from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.isolation.channel import ChannelClosed
from sipmikey.agent.isolation.worker import Worker
from sipmikey.agent.stack import StackError

_log = logging.getLogger("sipmikey.agent.isolation")

_HEALTHY_S = 60.0
"""Deaths count as a row when less than this lies between them."""

START_S = 20.0
"""A process that is not up by then hangs; it takes less than a second on an idle machine."""

_AT_ONCE = 3
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

Started = Callable[[Mapping[Transport, str] | None, Exception | None], None]


class Owner(Protocol):
    """The owner of the slots, which is told what happens in them."""

    leaving: bool

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Run *work* in the engine's thread after *delay_s* seconds."""

    def make_worker(self, slot: Slot, ports: Mapping[Transport, int], started: Started) -> Worker:
        """Start a process for *slot*. Raises ``StackError``."""

    def has_started(self, slot: Slot, *, again: bool) -> None:
        """The process of *slot* is up."""

    def has_died(self, slot: Slot, calls: list[RemoteCall], detail: str, pause_s: float) -> None:
        """The process of *slot* died; *calls* were its. It is started again after *pause_s* seconds."""


class Slot:
    """*number*: 0 for the process that has the SIP port of the agent."""

    def __init__(self, number: int, owner: Owner) -> None:
        self.number = number
        self.addresses: dict[Transport, str] = {}
        self.failure: Exception | None = None
        self._owner = owner
        self._worker: Worker | None = None
        self._deaths: deque[float] = deque()

    @property
    def worker(self) -> Worker | None:
        """The process, unless it is being started."""
        return self._worker if self._worker is not None and self._worker.started else None

    @property
    def channel_of(self) -> Worker | None:
        """The process, whether it is up or still starting."""
        return self._worker

    def start(self) -> None:
        """Start a process on the ports its predecessor had. Raises ``StackError``."""
        ports = {name: int(address.rpartition(":")[2]) for name, address in self.addresses.items()}
        worker = self._worker = self._owner.make_worker(self, ports, self._has_started)
        self._owner.later(START_S, lambda: self._too_late(worker))

    def receive(self, wait_s: float = 0.0) -> None:
        """Handle what the process says; find out that it is dead."""
        if self._worker is None:
            return
        if not self._worker.channel.closed:
            with contextlib.suppress(ChannelClosed):
                self._worker.channel.receive(wait_s)
        if self._worker is not None and self._worker.channel.closed:
            self._died("")

    def stop(self) -> None:
        """End the process."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _has_started(self, addresses: Mapping[Transport, str] | None, error: Exception | None) -> None:
        if addresses is not None:
            again = bool(self.addresses)
            self.addresses = self.addresses or dict(addresses)
            self._owner.has_started(self, again=again)
        elif not self.addresses:
            self.failure = error
        else:
            self._owner.later(0.0, lambda: self._died(str(error)))

    def _too_late(self, worker: Worker) -> None:
        """Take a process for dead that should be up by now. Who waits for the first one does so itself."""
        if self._worker is worker and not worker.started and self.addresses:
            self._died(f"it was not ready within {START_S:g} s")

    def _died(self, detail: str) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        ended = how_it_ended(worker.bury())
        detail = detail or ended
        if not self.addresses:
            self.failure = self.failure or StackError(f"the stack process did not start: {detail}")
            return
        calls = list(worker.calls.values())
        for call in calls:
            worker.call_over(call)
        pause_s = self._pause_s(time.monotonic())
        self._owner.has_died(self, calls, detail, pause_s)
        if not self._owner.leaving:
            if pause_s:
                self._owner.later(pause_s, self._restart)
            else:
                self._restart()

    def _restart(self) -> None:
        if self._worker is not None or self._owner.leaving:
            return
        try:
            self.start()
        except StackError as error:
            _log.error("%s", error)
            self._owner.later(_LONGEST_PAUSE_S, self._restart)

    def _pause_s(self, now: float) -> float:
        """Return how long to wait before the next start, counting this death."""
        if self._deaths and now - self._deaths[-1] > _HEALTHY_S:
            self._deaths.clear()
        self._deaths.append(now)
        in_a_row = len(self._deaths) - _AT_ONCE
        return 0.0 if in_a_row <= 0 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (in_a_row - 1))


def how_it_ended(status: int | None) -> str:
    """Say how a process with that exit status ended."""
    if status is None:
        return "its process is gone"
    if status >= 0:
        return f"its process ended with exit status {status}"
    try:
        return f"its process was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"its process was ended by signal {-status}"
