"""The stack process: pjsua2 and a socket to the agent's process, in one thread.

A copy of the process that `loader` is. It has the configuration without the keys of the agent, and the SRTP
keys of its own calls. It ends when the agent's process does.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from sipmikey.agent.config import Transport
from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.channel import Channel, ChannelClosed
from sipmikey.agent.isolation.forward import ForwardingCall, ForwardingObserver
from sipmikey.agent.pjsua.stack import PjsuaStack
from sipmikey.agent.stack import StackCall, StackError

_POLL_MS = 500
_POLL_IN_CALL_MS = 20
_POLL_WITHOUT_WAKER_MS = 2


class StackProcess:
    """*sock* is connected to the agent's process."""

    def __init__(self, sock: socket.socket) -> None:
        self.channel = Channel(sock, m.TO_STACK, self._handle, defer=True)
        self.calls: dict[int, StackCall] = {}
        self._numbers = itertools.count(2, 2)
        self._stack: PjsuaStack | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._held = False
        self._stopped = False

    def run(self) -> None:
        """Do what the agent's process says, until it says stop. Then recordings are closed."""
        try:
            self._serve()
        except ChannelClosed:
            if not self._stopped:  # it closes its end as soon as it has said stop
                raise
        if self._stack is not None:
            with contextlib.suppress(ChannelClosed):
                self._stack.destroy()

    def _serve(self) -> None:
        while not self._stopped:
            if self._held or self._stack is None:
                self.channel.receive(60.0)
                continue
            self.channel.receive()
            self._run_timers()
            if not (self._held or self._stopped):
                self._stack.poll(self._poll_ms(self._stack))

    def next_number(self) -> int:
        """Return the number of a call that the agent did not make."""
        return next(self._numbers)

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Do *work* between two polls, after *delay_s* seconds."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._timer_numbers), work))

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _poll_ms(self, stack: PjsuaStack) -> int:
        if not stack.can_be_woken:
            return _POLL_WITHOUT_WAKER_MS
        longest = _POLL_IN_CALL_MS if stack.busy else _POLL_MS
        if self._timers:
            longest = min(longest, max(0, int((self._timers[0][0] - time.monotonic()) * 1e3) + 1))
        return longest

    def _handle(self, message: Any) -> Any:
        match message:
            case m.Hold():
                self._held = True
            case m.GoOn():
                self._held = False
            case m.Stop():
                self._stopped = True
            case m.Start():
                return self._start(message)
            case m.Relay(sip_call_id=sip_call_id, address=address):
                self._up.relay(sip_call_id, address)
            case _:
                return self._order(self._up, message)
        return None

    def _start(self, start: m.Start) -> Mapping[Transport, str]:
        self._stack = PjsuaStack(
            start.config, ForwardingObserver(self), self.later, keys=start.keys, ports=start.ports,
            again=start.again, contact=start.contact,
        )  # fmt: skip
        if start.first and start.secret:
            self._stack.share_port(start.secret, self._place)
        return self._stack.addresses

    def _place(self, sip_call_id: str) -> str:
        return str(self.channel.ask(m.PlaceCall(sip_call_id=sip_call_id)))

    def _order(self, stack: PjsuaStack, message: Any) -> Any:
        match message:
            case m.ReadyIn(streams=streams):
                return stack.ready_in(streams)
            case m.PreferCodecs(names=names):
                stack.order_codecs(names)
            case m.ObeySound(command=command):
                stack.sound_command(command)
            case m.UseServers(servers=servers):
                stack.use_servers(servers)
            case m.SendMessage(uri=uri, content_type=content_type, body=body, headers=headers):
                stack.send_message(uri, content_type, body, headers)
            case m.Register(renew=renew):
                stack.set_registration(renew)
            case m.FollowAddress():
                stack.follow_address()
                return stack.addresses
            case m.Leave():
                stack.leave()
            case m.MakeCall():
                return self._make_call(stack, message)
            case _:
                return self._order_call(self._call(message.call), message)
        return None

    def _make_call(self, stack: PjsuaStack, order: m.MakeCall) -> str:
        observer = ForwardingCall(self, order.call, known=True)
        try:
            call = stack.make_call(order.uri, order.lane, observer, order.headers, order.via)
        except BaseException:
            self.calls.pop(order.call, None)
            raise
        return call.sip_call_id

    def _order_call(self, call: StackCall, message: Any) -> Any:
        match message:
            case m.Answer(status=status, sdp=sdp, headers=headers):
                call.answer(status, sdp=sdp, headers=headers)
            case m.Hangup(status=status, headers=headers, sdp=sdp):
                call.hangup(status, headers=headers, sdp=sdp)
            case m.Key(index=index, keys=keys):
                return call.key(index, keys)
            case m.Unkey():
                call.unkey()
            case m.Counts():
                return call.counts()
            case m.ConnectAudio():
                call.connect_audio()
            case m.TakeSeat(seat=seat):
                call.seat(seat)
            case m.Reinvite(hold=hold, unhold=unhold, moved=moved, restart=restart):
                call.reinvite(hold=hold, unhold=unhold, moved=moved, restart=restart)
            case m.Update():
                call.update()
            case m.SendDtmf(digits=digits):
                call.dtmf(digits)
            case m.Transfer(target=target, replacing=replacing):
                call.transfer(target, None if replacing is None else self._call(replacing))
        return None

    def _call(self, number: int) -> StackCall:
        if number not in self.calls:
            raise StackError("the call is over")
        return self.calls[number]

    @property
    def _up(self) -> PjsuaStack:
        if self._stack is None:
            raise StackError("the SIP stack is not running")
        return self._stack


class _ToAgent(logging.Handler):
    """Forwards the log of this process to the agent's."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        if not self._channel.closed:
            text = self.format(record)
            self._channel.tell(m.Logged(level=record.levelno, logger=record.name, text=text))


def serve(descriptor: int) -> int:
    """Serve the socket *descriptor*, which is connected to the agent's process; return an exit status."""
    process = StackProcess(socket.socket(fileno=descriptor))
    logging.getLogger().addHandler(_ToAgent(process.channel))
    try:
        process.run()
    except ChannelClosed:
        # The agent's process is gone, so the calls are lost: exit without pjsua2's clean-up.
        os._exit(1)
    return 0
