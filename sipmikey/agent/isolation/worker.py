"""One stack process, from the agent's side: its start, its calls, its end."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sipmikey.agent.config import AgentConfig, Transport
from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.isolation.channel import Channel, ChannelClosed, error_of
from sipmikey.agent.isolation.nursery import Nursery
from sipmikey.agent.pjsua.handover import as_it_came
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    Lane,
    StackError,
    StackKeys,
    StackObserver,
)
from sipmikey.call.policy import CallPolicy

_ANSWER_S = 30.0
"""How long a stack process may take for one answer; it may have to look up a name in between."""

_EXIT_S = 3.0


class Worker:
    """A stack process that runs, and its calls. In the engine's thread only.

    ``pid``: number of the process, which *nursery* makes. *later* runs a callable in that thread after a
    delay in seconds. *keys*: see `messages.Start`. *ports*: what to listen on where the
    configuration leaves it open. *started* takes the addresses, or why there are none. *secret*, *first*,
    *contact*: see `messages.Start`; *place* answers `messages.PlaceCall`.
    """

    def __init__(
        self,
        nursery: Nursery,
        config: AgentConfig,
        observer: StackObserver,
        later: Callable[[float, Callable[[], None]], None],
        *,
        keys: StackKeys | None,
        ports: Mapping[Transport, int],
        secret: str,
        first: bool,
        contact: str,
        place: Callable[[str], str],
        started: Callable[[Mapping[Transport, str] | None, Exception | None], None],
    ) -> None:
        self.calls: dict[int, RemoteCall] = {}
        self.registered = False
        self.started = False
        self._held = False
        self._observer = observer
        self._later = later
        self._python_media = config.audio.engine == "python"
        self._numbers = itertools.count(1, 2)
        self._successors: dict[int, CallObserver] = {}
        self._waker: tuple[socket.socket, tuple[str, int]] | None = None
        self._nursery = nursery
        self.pid, sock = nursery.make()
        self.channel = Channel(sock, m.FROM_STACK, self._handle, defer=False)

        def ready(addresses: Mapping[Transport, str] | None, error: Exception | None) -> None:
            self.started = addresses is not None
            if addresses is not None:
                self._waker = _open_waker(addresses.get(Transport.UDP))
            started(addresses, error)

        self._secret = "" if first else secret
        self._place = place
        start = m.Start(
            config=_without_keys(config), keys=keys, ports=ports, again=bool(ports), first=first,
            secret=secret, contact=contact,
        )  # fmt: skip
        self.channel.request(start, ready)

    def ask(self, question: m.Question) -> Any:
        """Put a question to the process. Raises its error, or ``ChannelClosed``."""
        if self._held or self.channel.answering:
            return self.channel.ask(question, _ANSWER_S)
        # The process is woken after the question was sent: earlier it would find nothing and wait again.
        return self.channel.ask(question, _ANSWER_S, wake=self._wake)

    def hold(self) -> None:
        """Have the process only answer questions, until `go_on`. Raises ``ChannelClosed``."""
        self.ask(m.Hold())
        self._held = True

    def go_on(self) -> None:
        """End `hold`. Raises ``ChannelClosed``."""
        self._held = False
        self.channel.tell(m.GoOn())

    def call_over(self, call: RemoteCall) -> None:
        """Forget a call."""
        call.over = True
        self.calls.pop(call.number, None)

    def tell(self, notice: m.Notice) -> None:
        """Send a notice. Raises ``ChannelClosed``."""
        self.channel.tell(notice)
        self._wake()

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> RemoteCall:
        """Send an INVITE. Raises ``StackError``."""
        call = self._add(next(self._numbers), observer)
        observer.on_attached(call)
        try:
            question = m.MakeCall(call=call.number, uri=uri, lane=lane, headers=headers, via=via)
            call.sip_call_id = self.ask(question) or call.sip_call_id
        except BaseException:
            call.over = True
            self.calls.pop(call.number, None)
            raise
        return call

    def stop(self) -> None:
        """End the process; kill it where it does not end by itself."""
        with contextlib.suppress(ChannelClosed):
            self.tell(m.Stop())
        self._reap(_EXIT_S)

    def bury(self) -> int | None:
        """Make sure that the process is dead; return its exit status, negative for a signal."""
        return self._reap(0.0)

    def _reap(self, wait_s: float) -> int | None:
        self.channel.close()
        if self._waker is not None:
            self._waker[0].close()
            self._waker = None
        return self._nursery.end(self.pid, wait_s)

    def _wake(self) -> None:
        if self._waker is not None:
            with contextlib.suppress(OSError):
                self._waker[0].sendto(b"\r\n\r\n", self._waker[1])

    def _add(self, number: int, observer: CallObserver | None) -> RemoteCall:
        call = self.calls[number] = RemoteCall(number, self.ask, python_media=self._python_media)
        call.observer = observer
        return call

    # What the process says

    def _handle(self, message: Any) -> Any:
        observer = self._observer
        match message:
            case m.PlaceInvite(invite=invite, source=source):
                return observer.on_invite(*as_it_came(invite, source, self._secret))
            case m.PlaceCall(sip_call_id=sip_call_id):
                return self._place(sip_call_id)
            case m.Incoming():
                self._take_incoming(message)
            case m.Attached(call=number):
                self._take_successor(number)
            case m.Named(call=number, sip_call_id=name):
                if (named := self.calls.get(number)) is not None:
                    named.sip_call_id = name
            case m.TurnedAway(caller=caller, status=status, reason=reason):
                observer.on_turned_away(caller, status, reason)
            case m.MessageArrived(message=arrived, source=source):
                observer.on_message(*as_it_came(arrived, source, self._secret))
            case m.Played():
                observer.on_played()
            case m.SoundTold(news=news):
                observer.on_sound_news(news)
            case m.PathFound(sip_call_id=sip_call_id, index=index, path=path):
                observer.on_media_path(sip_call_id, index, path)
            case m.Registration(status=status, reason=reason, expires_s=expires_s):
                self.registered = status // 100 == 2 and expires_s > 0
                observer.on_registration(status, reason, expires_s)
            case m.MessagesWaiting(notify=notify, source=source):
                observer.on_messages_waiting(notify, source)
            case m.Logged(level=level, logger=logger, text=text):
                logging.getLogger(logger).log(level, "%s", text)
            case _:
                return self._handle_of_call(message)
        return None

    def _take_incoming(self, arrived: m.Incoming) -> None:
        call = self._add(arrived.call, None)
        call.sip_call_id = arrived.sip_call_id
        invite, source = as_it_came(arrived.invite, arrived.source, self._secret)
        call.dialog.take("received", invite)
        call.observer = self._observer.on_incoming(call, invite, source, arrived.lane)

    def _take_successor(self, number: int) -> None:
        observer = self._successors.pop(number)
        observer.on_attached(self._add(number, observer))

    def _handle_of_call(self, message: Any) -> Any:
        call = self.calls.get(message.call)
        if call is None or call.observer is None:
            if isinstance(message, m.Notice):
                return None
            raise StackError("no such call")
        observer = call.observer
        if isinstance(message, m.CallFailed):
            observer.on_failed(error_of(message.error))
            return None
        try:
            if isinstance(message, m.TransferRequested):
                outcome = observer.on_transfer_requested(message.target)
                return self._succeed(message.successor, outcome)
            if isinstance(message, m.ReplacementAsked):
                asked = as_it_came(message.invite, message.source, self._secret)
                outcome = observer.on_replacement_asked(*asked, message.lane)
                return self._succeed(message.successor, outcome)
            return call.take(message)
        except Exception as error:
            # The call ends because of it, but after the stack's callback has returned.
            cause = error.with_traceback(None)
            self._later(0.0, lambda: observer.on_failed(cause))
            if isinstance(message, m.Notice):
                return None  # nobody waits for an answer
            raise
        finally:
            if call.over:
                self.calls.pop(call.number, None)

    def _succeed(self, number: int, outcome: CallObserver | int) -> int:
        if isinstance(outcome, int):
            return outcome
        self._successors[number] = outcome
        return 0


def _without_keys(config: AgentConfig) -> AgentConfig:
    """Return the configuration for a stack process: without keys, and without a policy."""
    nat = replace(config.nat, turn_username="", turn_password=None, turn_password_file=None, turn_secret=None)
    return replace(config, keys=None, policy=CallPolicy(), nat=nat)


def _open_waker(address: str | None) -> tuple[socket.socket, tuple[str, int]] | None:
    """Return a socket and the address of the process's UDP transport on this host, None without UDP.

    Two empty lines end a poll of pjsua2; SIP ignores them (NAT keep-alives look like that).
    """
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host in ("0.0.0.0", "::"):
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock, (host, int(port))
