"""The thread that owns the SIP stack, and how other threads talk with it.

pjsua2 runs without threads of its own for signalling: one thread polls it, of a process of its own unless the
configuration says otherwise, and every callback is answered in one thread of ours. Work comes in through a
queue, which ends the poll at once, so that no work waits for a polling interval.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, TypeVar

from sipmikey.agent.config import AgentConfig, Sip, Transport
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    HelpingServers,
    Lane,
    StackCall,
    StackError,
    StackObserver,
    StackPresence,
)
from sipmikey.sound.commands import Command, PlayTone

_log = logging.getLogger("sipmikey.agent.engine")

_POLL_MS = 500
_POLL_IN_CALL_MS = 20
_POLL_WITHOUT_WAKER_MS = 2
_FAREWELL_S = 1.5

T = TypeVar("T")


class Stack(Protocol):
    """The SIP stack that the engine runs, in this process or in another."""

    @property
    def addresses(self) -> Mapping[Transport, str]: ...

    @property
    def busy(self) -> bool: ...

    @property
    def can_be_woken(self) -> bool: ...

    @property
    def presence(self) -> StackPresence | None: ...

    def wake(self) -> None: ...

    def poll(self, wait_ms: int) -> None: ...

    def standing_still(self) -> AbstractContextManager[None]: ...

    def ready_in(self, streams: int) -> float | None: ...

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> StackCall: ...

    def send_message(self, uri: str, content_type: str, body: str, headers: Headers) -> None: ...

    def order_codecs(self, wanted: tuple[str, ...]) -> None: ...

    def sound_command(self, command: Command) -> None: ...

    def use_servers(self, servers: HelpingServers) -> None: ...

    def set_registration(self, renew: bool) -> None: ...

    def follow_address(self) -> None: ...

    def leave(self) -> None: ...

    def destroy(self) -> None: ...


OpenStack = Callable[[AgentConfig, StackObserver, Callable[[float, Callable[[], None]], None]], Stack]
"""Starts a SIP stack that tells the observer what happens; the last argument calls a function later."""


class Engine:
    """Owns the SIP stack, which *open_stack* opens in the engine's thread.

    Methods may be called from any thread unless they say otherwise.
    """

    def __init__(self, config: AgentConfig, open_stack: OpenStack) -> None:
        self._config = config
        self._open_stack = open_stack
        self._observer: StackObserver | None = None
        self._work: deque[Callable[[], object]] = deque()
        self._outbox: list[Callable[[], None]] = []
        self._deliver: Callable[[list[Callable[[], None]]], None] | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name="sipmikey-engine", daemon=True)
        self._started: Future[None] = Future()
        self._closing: Future[None] | None = None
        self._addresses: dict[Transport, str] = {}
        self._stack: Stack | None = None

    def start(
        self,
        observer: StackObserver,
        deliver: Callable[[list[Callable[[], None]]], None] | None = None,
        *,
        sip: Sip | None = None,
    ) -> Future[None]:
        """Start the thread; the future completes when transports listen, or fails with ``StackError``.

        *observer* is told of incoming calls and registration, in the engine's thread. *deliver* is given
        what was handed out (``hand_out``), to be run elsewhere. *sip*: signalling in place of the
        configuration's, with addresses that were looked up since.
        """
        self._observer = observer
        self._deliver = deliver
        if sip is not None:
            self._config = replace(self._config, sip=sip)
        self._thread.start()
        return self._started

    @property
    def addresses(self) -> dict[Transport, str]:
        """``host:port`` each transport listens on."""
        return dict(self._addresses)

    def post(self, work: Callable[[], object]) -> None:
        """Run *work* in the engine's thread, soon."""
        self._work.append(work)
        if threading.current_thread() is not self._thread:
            self._wake()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run *work* in the engine's thread; the future carries its result or exception."""
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - the future carries it to the caller
                    future.set_exception(error)

        self.post(run)
        return future

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """In the engine's thread only: do *work* after *delay_s* seconds."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._timer_numbers), work))

    def hand_out(self, work: Callable[[], None]) -> None:
        """In the engine's thread only: have *work* delivered when this thread has nothing more to do.

        Waking another thread at once would make both wait for the interpreter lock during a call's
        set-up.
        """
        self._outbox.append(work)

    def wait(self, start: Callable[[], Future[T]], timeout_s: float) -> T:
        """In the engine's thread only: block until the future of *start* is done; return its result.

        For answers that the stack needs within a callback. Work handed out before goes first. Raises
        ``TimeoutError``, and cancels the future, after *timeout_s* seconds.
        """
        self._send_out()
        future = start()
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise

    def close(self) -> Future[None]:
        """End all calls, leave the registrar, and stop; the future completes when the thread is done."""
        done: Future[None] = Future()

        def finish() -> None:
            self._closing = done

        if not self._thread.is_alive():
            done.set_result(None)
        else:
            self.post(finish)
        return done

    def call(
        self,
        uri: str,
        lane: Lane,
        observer: CallObserver,
        headers: Headers = (),
        *,
        via: str | None = None,
    ) -> StackCall:
        """In the engine's thread: send an INVITE for *uri*, to *via* when given.

        Raises ``StackError``, also when there is no room for a call (see ``ready_in``).
        """
        return self._up.make_call(uri, lane, observer, headers, via)

    def send_message(self, uri: str, content_type: str, body: str, headers: Headers = ()) -> None:
        """In the engine's thread: send a MESSAGE (RFC 3428). Raises ``StackError``."""
        self._up.send_message(uri, content_type, body, headers)

    def ready_in(self, streams: int) -> float | None:
        """In the engine's thread: seconds until a call of *streams* may be made; None: too many calls."""
        return self._up.ready_in(streams)

    def prefer_codecs(self, names: tuple[str, ...]) -> None:
        """In the engine's thread: offer and accept these codecs, best first, in what is negotiated next."""
        self._up.order_codecs(names)

    def use_servers(self, servers: HelpingServers) -> None:
        """In the engine's thread: use these STUN and TURN servers from the next call on."""
        self._up.use_servers(servers)

    def sound(self, command: Command) -> None:
        """In the engine's thread: carry out *command* on the sound devices."""
        self._up.sound_command(command)

    def let_keys_be_heard(self, keys: str) -> None:
        """In the engine's thread: play the tones of DTMF *keys* that the user pressed, unless it is quiet."""
        for key in keys if self._config.audio.tones else "":
            self.sound(PlayTone(tone=key))

    def follow_address(self) -> None:
        """In the engine's thread: our address changed: listen at the new one, and register.

        Raises ``StackError``.
        """
        self._up.follow_address()
        self._addresses = dict(self._up.addresses)

    def register(self) -> None:
        """In the engine's thread: register, or refresh; the observer is told the outcome."""
        self._up.set_registration(True)

    def unregister(self) -> None:
        """In the engine's thread: remove the registration."""
        self._up.set_registration(False)

    @property
    def presence(self) -> StackPresence:
        """In the engine's thread: presence. Raises ``StackError`` where the stack has none."""
        if (presence := self._up.presence) is None:
            raise StackError("presence needs sip.stack python")
        return presence

    @property
    def _up(self) -> Stack:
        if self._stack is None:
            raise StackError("the SIP stack is not running")
        return self._stack

    def _wake(self) -> None:
        if (stack := self._stack) is not None:
            stack.wake()

    def _run(self) -> None:
        assert self._observer is not None
        try:
            stack = self._open_stack(self._config, self._observer, self.later)
            self._addresses = dict(stack.addresses)
            self._stack = stack
        except BaseException as error:  # noqa: BLE001 - start() reports it
            self._stack = None
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        deadline: float | None = None
        while deadline is None or (stack.busy and time.monotonic() < deadline):
            self._turn(stack)
            if self._closing is not None and deadline is None:
                deadline = time.monotonic() + _FAREWELL_S
                stack.leave()
        self._send_out()
        self._stack = None
        stack.destroy()
        if self._closing is not None:
            self._closing.set_result(None)

    def _send_out(self) -> None:
        if self._outbox and self._deliver is not None:
            outbox, self._outbox = self._outbox, []
            self._deliver(outbox)

    def _turn(self, stack: Stack) -> None:
        self._do_due_work(stack)
        self._send_out()
        stack.poll(self._poll_ms(stack))

    def _do_due_work(self, stack: Stack) -> None:
        now = time.monotonic()
        if not self._work and not (self._timers and self._timers[0][0] <= now):
            return
        with stack.standing_still():
            while self._work:
                _guarded(self._work.popleft())
            while self._timers and self._timers[0][0] <= now:
                _guarded(heapq.heappop(self._timers)[2])

    def _poll_ms(self, stack: Stack) -> int:
        if not stack.can_be_woken:
            return _POLL_WITHOUT_WAKER_MS
        longest = _POLL_IN_CALL_MS if stack.busy else _POLL_MS
        if self._closing is not None and not stack.busy:
            longest = 0
        if self._timers:
            next_due = self._timers[0][0] - time.monotonic()
            longest = min(longest, max(0, int(next_due * 1000) + 1))
        return longest


def _guarded(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 - the thread must live on
        _log.exception("work in the engine's thread failed")
