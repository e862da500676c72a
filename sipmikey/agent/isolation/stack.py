"""The SIP stack of an agent: as many processes as its calls need, started again when they die.

The first process has the SIP port and the registration. Further calls are in other processes, to which the
first passes their messages on (see `sipmikey.agent.pjsua.handover`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from sipmikey.agent.config import MAX_CALLS, AgentConfig, Transport
from sipmikey.agent.isolation import farewell
from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.isolation.channel import ChannelClosed
from sipmikey.agent.isolation.nursery import Nursery
from sipmikey.agent.isolation.slot import START_S, Slot, Started
from sipmikey.agent.isolation.worker import Worker
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    HelpingServers,
    Lane,
    Phase,
    StackCall,
    StackError,
    StackKeys,
    StackObserver,
)
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sound.commands import Command

_log = logging.getLogger("sipmikey.agent.isolation")

_STARTS = 2
_BUSY_RESTARTING_S = 0.1
_EXPECTED_S = 2.0
"""How long a call counts as one of a process before that process reports it."""

Later = Callable[[float, Callable[[], None]], None]


class IsolatedStack:
    """In the engine's thread only.

    *later* runs a callable in that thread after a delay in seconds. *keys*: which the stack may make
    itself, None for none. Raises ``StackError`` when the first process cannot open the stack.
    """

    def __init__(
        self, config: AgentConfig, observer: StackObserver, later: Later, *, keys: StackKeys | None
    ) -> None:
        self.later = later
        self.leaving = False
        self._config = config
        self._observer = observer
        self._keys = keys
        self._secret = secrets.token_hex(12) if config.calls > MAX_CALLS else ""
        self._slots = [Slot(0, self)]
        self._most_slots = -(-config.calls // MAX_CALLS)
        self._expected: dict[str, tuple[float, int]] = {}
        self._nursery = Nursery()
        self._registration_wanted = False
        self._codecs: tuple[str, ...] = ()
        self._servers: HelpingServers | None = None
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
    def addresses(self) -> dict[Transport, str]:
        """``host:port`` of each transport."""
        return self._slots[0].addresses

    @property
    def busy(self) -> bool:
        """True while calls exist or the registrar has not confirmed that we left."""
        return any(worker.calls or worker.registered for _, worker in self._workers())

    @property
    def presence(self) -> None:
        """None: pjsua2 has no presence here."""

    @property
    def can_be_woken(self) -> bool:
        """True: see `wake`."""
        return True

    def wake(self) -> None:
        """Have `poll` return soon; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._ring, b"\0")

    def poll(self, wait_ms: int) -> None:
        """Handle what the processes say, waiting at most *wait_ms* for something to come."""
        poller = select.poll()
        poller.register(self._bell, select.POLLIN)
        for slot in self._slots:
            if (worker := slot.channel_of) is not None and not worker.channel.closed:
                poller.register(worker.channel, select.POLLIN)
        if poller.poll(wait_ms):
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 4096)
        for slot in self._slots:
            slot.receive()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """A context in which processes with calls do only what they are asked."""
        held = []
        for slot, worker in self._workers():
            if worker.calls or slot.number == 0:
                with contextlib.suppress(ChannelClosed):
                    worker.hold()
                    held.append(worker)
        try:
            yield
        finally:
            for worker in held:
                with contextlib.suppress(ChannelClosed):
                    worker.go_on()
            for slot in self._slots:
                if (worker_now := slot.channel_of) is not None and worker_now.channel.closed:
                    slot.receive()

    def ready_in(self, streams: int) -> float | None:
        """Return seconds until a call of *streams* can be made; None when one must end first."""
        worker = self._freest()
        if worker is None:
            all_up = len(list(self._workers())) == self._most_slots
            return None if all_up or self._full else _BUSY_RESTARTING_S
        try:
            answer: float | None = worker.ask(m.ReadyIn(streams=streams))
        except ChannelClosed:
            return _BUSY_RESTARTING_S
        return answer

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> StackCall:
        """Send an INVITE for *uri*, to *via* when given. Raises ``StackError``."""
        worker = self._freest()
        if worker is None:
            self._up.channel.fileno()  # raises where the process is being started again
            raise StackError(f"all {self._config.calls} calls of this agent are taken")
        call = worker.make_call(uri, lane, observer, headers, via)
        self._pass_on(worker, call)
        self._grow()
        return call

    def send_message(self, uri: str, content_type: str, body: str, headers: Headers) -> None:
        """Send a MESSAGE (RFC 3428); its response is not waited for. Raises ``StackError``."""
        self._up.ask(m.SendMessage(uri=uri, content_type=content_type, body=body, headers=headers))

    def order_codecs(self, wanted: tuple[str, ...]) -> None:
        """Offer the codecs *wanted*, best first, and no others, from the next offer on."""
        self._codecs = wanted
        for _, worker in self._workers():
            worker.ask(m.PreferCodecs(names=wanted))

    def sound_command(self, command: Command) -> None:
        """Carry out *command* on the sound devices."""
        for _, worker in self._workers():
            worker.ask(m.ObeySound(command=command))

    def use_servers(self, servers: HelpingServers) -> None:
        """Let these servers help the media of calls made from now on."""
        self._servers = servers
        for _, worker in self._workers():
            worker.ask(m.UseServers(servers=servers))

    def set_registration(self, renew: bool) -> None:
        """Register, or refresh; or leave the registrar. Raises ``StackError``."""
        self._registration_wanted = renew
        self._up.ask(m.Register(renew=renew))

    def follow_address(self) -> None:
        """Our address changed: have all processes listen at the new one, and register."""
        for slot, worker in self._workers():
            slot.addresses = dict(worker.ask(m.FollowAddress()))

    def leave(self) -> None:
        """Hang up everything and leave the registrar."""
        self.leaving = True
        for _, worker in self._workers():
            with contextlib.suppress(StackError):
                worker.ask(m.Leave())

    def destroy(self) -> None:
        """End the processes."""
        self.leaving = True
        for slot in self._slots:
            slot.stop()
        self._nursery.close()
        os.close(self._bell)
        os.close(self._ring)

    @property
    def _up(self) -> Worker:
        """The process that has the SIP port."""
        worker = self._slots[0].worker
        if worker is None:
            raise AgentError(Reason.STACK_FAILED, "the SIP stack is being started again", side="local")
        return worker

    # Which process has which call

    def _workers(self) -> Iterator[tuple[Slot, Worker]]:
        for slot in self._slots:
            if (worker := slot.worker) is not None and not worker.channel.closed:
                yield slot, worker

    def _load(self, slot: Slot, worker: Worker) -> int:
        now = time.monotonic()
        known = {call.sip_call_id for call in worker.calls.values()}
        self._expected = {
            name: (until, number)
            for name, (until, number) in self._expected.items()
            if until > now and name not in known
        }
        return len(worker.calls) + sum(number == slot.number for _, number in self._expected.values())

    @property
    def _full(self) -> bool:
        return sum(self._load(slot, worker) for slot, worker in self._workers()) >= self._config.calls

    def _freest(self) -> Worker | None:
        """Return the first process that has room; the first ones are filled first."""
        if self._full:
            return None
        return next((one for slot, one in self._workers() if self._load(slot, one) < MAX_CALLS), None)

    def _grow(self) -> None:
        """Start a process, so that there is room for more calls, unless the configuration forbids it."""
        free = sum(MAX_CALLS - self._load(slot, worker) for slot, worker in self._workers())
        starting = any(slot.worker is None for slot in self._slots)
        if free < MAX_CALLS and not starting and len(self._slots) < self._most_slots and not self.leaving:
            slot = Slot(len(self._slots), self)
            self._slots.append(slot)
            try:
                slot.start()
            except StackError as error:
                self._slots.remove(slot)
                _log.error("%s", error)

    def _place(self, call_id: str) -> str:
        """Say which process takes a new call: "" for the first, ``host:port`` of another, or ``full``."""
        for slot, worker in () if self._full else self._workers():
            if self._load(slot, worker) < MAX_CALLS:
                self._expected[call_id] = (time.monotonic() + _EXPECTED_S, slot.number)
                self.later(0.0, self._grow)
                return "" if slot.number == 0 else slot.addresses[Transport.UDP]
        return "full"

    def _pass_on(self, worker: Worker, call: RemoteCall) -> None:
        """Have the SIP port's process pass messages for *call* on to the process of the call."""
        slot = next((slot for slot in self._slots if slot.worker is worker), None)
        if slot is not None and slot.number and call.sip_call_id:
            with contextlib.suppress(StackError):
                address = "" if call.over else slot.addresses[Transport.UDP]
                self._up.tell(m.Relay(sip_call_id=call.sip_call_id, address=address))

    # The processes

    def _start_first(self) -> None:
        for _ in range(_STARTS):
            self._slots[0].start()
            if self._is_up(self._slots[0]):
                return
            _log.warning("the stack process hangs at its start: it is ended, and another one started")
            self._slots[0].stop()
            self._nursery.close()
        raise StackError(f"no stack process was ready within {START_S:g} s; {_STARTS} were tried")

    def _is_up(self, slot: Slot) -> bool:
        """Wait until the process of *slot* is up; False where it hangs. Raises what it says is wrong."""
        deadline = time.monotonic() + START_S
        while not slot.addresses and time.monotonic() < deadline:
            slot.receive(0.1)
            if slot.failure is not None:
                raise slot.failure
        return bool(slot.addresses)

    def make_worker(self, slot: Slot, ports: Mapping[Transport, int], started: Started) -> Worker:
        """Start a process for *slot*."""
        return Worker(
            self._nursery, self._config if slot.number == 0 else self._behind(slot.number), self._observer,
            self.later, keys=self._keys, ports=ports, started=started, secret=self._secret,
            first=slot.number == 0, contact=self._contact() if slot.number else "", place=self._place,
        )  # fmt: skip

    def _behind(self, number: int) -> AgentConfig:
        """Return the configuration of a process that does not have our SIP port."""
        config = self._config
        record, log = config.audio.record, config.log_file
        return replace(
            config,
            sip=replace(config.sip, port=0, registrar=None),
            audio=replace(
                config.audio, record=record and record.with_stem(f"{record.stem}-process{number + 1}")
            ),
            log_file=log and log.with_stem(f"{log.stem}-process{number + 1}"),
        )

    def _contact(self) -> str:
        """Return where the peers of calls in other processes reach us: at our SIP port."""
        host, _, port = self._slots[0].addresses[Transport.UDP].rpartition(":")
        if (public := self._config.sip.public_address) is not None:
            host = f"[{public}]" if ":" in public else public
        user = self._config.identity.partition(":")[2].rpartition("@")[0]
        return f"sip:{user}@{host}:{port}" if user else f"sip:{host}:{port}"

    def has_started(self, slot: Slot, *, again: bool) -> None:
        """Give a new process the settings; one that replaces a dead one also registers as that did."""
        worker = slot.worker
        if worker is None or (slot.number == 0 and not again):
            return
        if again:
            _log.warning("the SIP stack runs again (process %d)", worker.pid)
        try:
            if self._servers is not None:
                worker.ask(m.UseServers(servers=self._servers))
            if self._codecs:
                worker.ask(m.PreferCodecs(names=self._codecs))
            if slot.number == 0:
                for _, other in self._workers():
                    for call in other.calls.values():
                        self._pass_on(other, call)
                if self._registration_wanted:
                    worker.ask(m.Register(renew=True))
        except StackError as error:
            _log.warning("after a start: %s", error)

    def has_died(self, slot: Slot, calls: list[RemoteCall], detail: str, pause_s: float) -> None:
        """Report the death, and end the calls."""
        if not self.leaving:
            _log.error("the SIP stack failed (%s); %d calls are lost", detail, len(calls))
            self._observer.on_stack_lost(len(calls), detail, pause_s)
        for call in calls:
            self._end(call, detail)

    def _end(self, call: RemoteCall, detail: str) -> None:
        goodbye = call.dialog.farewell()
        if goodbye is not None:
            farewell.send(goodbye)
        if call.observer is None:
            return
        error = AgentError(Reason.STACK_FAILED, f"the SIP stack failed: {detail}", side="local")
        try:
            call.observer.on_failed(error)
            call.observer.on_phase(Phase.DISCONNECTED, 0, "")
        except Exception:  # noqa: BLE001 - the other calls must hear of their ends
            _log.exception("a call could not be ended")
