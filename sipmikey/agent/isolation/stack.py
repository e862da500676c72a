"""The SIP stack of an agent, in processes of its own that are started again when they die."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from sipmikey.agent.config import AgentConfig, Transport
from sipmikey.agent.isolation import farewell
from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.isolation.channel import ChannelClosed
from sipmikey.agent.isolation.worker import Spawned, Worker, spawn
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    HelpingServers,
    Lane,
    Phase,
    StackCall,
    StackError,
    StackObserver,
)
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sound.commands import Command

_log = logging.getLogger("sipmikey.agent.isolation")

_START_S = 30.0
_BUSY_RESTARTING_S = 0.1
_SPARE_AFTER_S = 5.0
_HEALTHY_S = 30.0
"""Deaths are in a row when less than this lies between them."""

_AT_ONCE = 3
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

Later = Callable[[float, Callable[[], None]], None]


class IsolatedStack:
    """A stack process, and what it takes to have one all the time. In the engine's thread only.

    *later* runs a callable in that thread after a delay in seconds. *suites*: names of the crypto suites
    of SDES. Raises ``StackError`` when the first
    process cannot open the stack.
    """

    def __init__(
        self, config: AgentConfig, observer: StackObserver, later: Later, *, suites: tuple[str, ...]
    ) -> None:
        self._config = config
        self._observer = observer
        self._later = later
        self._suites = suites
        self._worker: Worker | None = None
        self._spare: Spawned | None = None
        self._deaths: deque[float] = deque()
        self._registration_wanted = False
        self._codecs: tuple[str, ...] = ()
        self._servers: HelpingServers | None = None
        self._leaving = False
        self._failure: Exception | None = None
        self.addresses: dict[Transport, str] = {}
        self._bell, self._ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ring, False)
        try:
            self._start_first()
        except BaseException:
            self.destroy()
            raise

    # For the engine

    @property
    def busy(self) -> bool:
        """True while calls exist or the registrar has not confirmed that we left."""
        return self._worker is not None and (bool(self._worker.calls) or self._worker.registered)

    @property
    def can_be_woken(self) -> bool:
        """True: see `wake`."""
        return True

    def wake(self) -> None:
        """Have `poll` return soon; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._ring, b"\0")

    def poll(self, wait_ms: int) -> None:
        """Handle what the process says, waiting at most *wait_ms* for something to come."""
        poller = select.poll()
        poller.register(self._bell, select.POLLIN)
        if self._worker is not None:
            poller.register(self._worker.channel, select.POLLIN)
        if poller.poll(wait_ms):
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 4096)
        self._receive()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Within this, the process does only what it is asked."""
        worker = self._worker
        if worker is None or not worker.started:
            yield
            return
        try:
            worker.ask(m.Hold())
        except ChannelClosed:
            self._receive()
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(ChannelClosed):
                worker.channel.tell(m.GoOn())
            if worker.channel.closed:
                self._receive()

    def ready_in(self, streams: int) -> float | None:
        """Return seconds until a call of *streams* can be made; None when one must end first."""
        if self._worker is None or not self._worker.started:
            return _BUSY_RESTARTING_S
        try:
            answer: float | None = self._worker.ask(m.ReadyIn(streams=streams))
        except ChannelClosed:
            return _BUSY_RESTARTING_S
        return answer

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> StackCall:
        """Send an INVITE for *uri*, to *via* when given. Raises ``StackError``."""
        return self._up.make_call(uri, lane, observer, headers, via)

    def order_codecs(self, wanted: tuple[str, ...]) -> None:
        """Offer the codecs *wanted*, best first, and no others, from the next offer on."""
        self._codecs = wanted
        self._up.ask(m.PreferCodecs(names=wanted))

    def sound_command(self, command: Command) -> None:
        """Do what *command* says to the sound devices."""
        self._up.ask(m.ObeySound(command=command))

    def use_servers(self, servers: HelpingServers) -> None:
        """Let these servers help the media of calls made from now on."""
        self._servers = servers
        self._up.ask(m.UseServers(servers=servers))

    def set_registration(self, renew: bool) -> None:
        """Register, or refresh; or leave the registrar. Raises ``StackError``."""
        self._registration_wanted = renew
        self._up.ask(m.Register(renew=renew))

    def leave(self) -> None:
        """Hang up everything and leave the registrar."""
        self._leaving = True
        if self._worker is not None and self._worker.started:
            with contextlib.suppress(StackError):
                self._worker.ask(m.Leave())

    def destroy(self) -> None:
        """End the process."""
        self._leaving = True
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._spare is not None:
            self._spare.end()
            self._spare = None
        os.close(self._bell)
        os.close(self._ring)

    @property
    def _up(self) -> Worker:
        if self._worker is None or not self._worker.started:
            raise AgentError(Reason.STACK_FAILED, "the SIP stack is being started again", side="local")
        return self._worker

    # The process

    def _start_first(self) -> None:
        self._start({})
        deadline = time.monotonic() + _START_S
        while not self.addresses:
            assert self._worker is not None
            try:
                self._worker.channel.receive(0.1)
            except ChannelClosed:
                detail = _how_it_ended(self._worker.bury())
                self._worker = None
                raise StackError(f"the stack process did not start: {detail}") from None
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                raise StackError(f"the stack process did not start within {_START_S:g} s")

    def _start(self, ports: Mapping[Transport, int]) -> None:
        spawned, self._spare = self._spare or spawn(), None
        self._worker = Worker(
            spawned, self._config, self._observer, self._later,
            suites=self._suites, ports=ports, started=self._has_started,
        )  # fmt: skip

    def _has_started(self, addresses: Mapping[Transport, str] | None, error: Exception | None) -> None:
        if addresses is not None:
            first = not self.addresses
            self.addresses = self.addresses or dict(addresses)
            self._later(_SPARE_AFTER_S, self._have_spare)
            if not first:
                self._take_up()
        elif not self.addresses:
            self._failure = error
        else:
            self._later(0.0, lambda: self._died(str(error)))

    def _have_spare(self) -> None:
        """Have a process at hand that needs only be told to start: loading takes the most of a start."""
        if self._spare is None and not self._leaving:
            with contextlib.suppress(StackError):
                self._spare = spawn()

    def _take_up(self) -> None:
        """Have a process that was started again do what its predecessor did."""
        worker = self._up
        _log.warning("the SIP stack runs again (process %d)", worker.pid)
        try:
            if self._servers is not None:
                worker.ask(m.UseServers(servers=self._servers))
            if self._codecs:
                worker.ask(m.PreferCodecs(names=self._codecs))
            if self._registration_wanted:
                worker.ask(m.Register(renew=True))
        except StackError as error:
            _log.warning("after a restart: %s", error)

    def _receive(self) -> None:
        if self._worker is None:
            return
        if not self._worker.channel.closed:
            with contextlib.suppress(ChannelClosed):
                self._worker.channel.receive()
        if self._worker is not None and self._worker.channel.closed:
            self._died("")

    def _died(self, detail: str) -> None:
        """End the calls of a dead process, and start another, at once unless too many died in a row."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        ended = _how_it_ended(worker.bury())
        detail = detail or ended
        calls = list(worker.calls.values())
        pause_s = self._pause_s(time.monotonic())
        if not self._leaving:
            _log.error("the SIP stack failed (%s); %d calls are lost", detail, len(calls))
            self._observer.stack_lost(len(calls), detail, pause_s)
        for call in calls:
            worker.call_over(call)
            self._end(call, detail)
        if self._leaving:
            return
        if pause_s:
            self._later(pause_s, self._restart)
        else:
            self._restart()

    def _restart(self) -> None:
        if self._worker is not None or self._leaving:
            return
        ports = {transport: int(address.rpartition(":")[2]) for transport, address in self.addresses.items()}
        try:
            self._start(ports)
        except StackError as error:
            _log.error("%s", error)
            self._later(_LONGEST_PAUSE_S, self._restart)

    def _pause_s(self, now: float) -> float:
        """Return how long to wait before the next start, counting this death."""
        if self._deaths and now - self._deaths[-1] > _HEALTHY_S + _LONGEST_PAUSE_S:
            self._deaths.clear()
        self._deaths.append(now)
        in_a_row = len(self._deaths) - _AT_ONCE
        return 0.0 if in_a_row <= 0 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (in_a_row - 1))

    def _end(self, call: RemoteCall, detail: str) -> None:
        goodbye = call.dialog.farewell()
        if goodbye is not None:
            farewell.send(goodbye)
        if call.observer is None:
            return
        error = AgentError(Reason.STACK_FAILED, f"the SIP stack failed: {detail}", side="local")
        try:
            call.observer.failed(error)
            call.observer.phase(Phase.DISCONNECTED, 0, "")
        except Exception:  # noqa: BLE001 - the other calls must hear of their ends
            _log.exception("a call could not be ended")


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"its process ended with exit status {status}"
    try:
        return f"its process was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"its process was ended by signal {-status}"
