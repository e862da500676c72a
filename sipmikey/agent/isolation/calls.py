"""Calls of a stack process as the agent's process sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.channel import ChannelClosed
from sipmikey.agent.isolation.dialog import Dialog
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    Phase,
    Seat,
    SrtpKeys,
    StackCall,
    StackError,
    StreamCount,
)
from sipmikey.call.reasons import AgentError, Reason


class RemoteCall:
    """One INVITE session in a stack process; implements ``StackCall``.

    *ask* puts a question to that process. *python_media*: the process runs the media in Python, which needs
    the keys in another form as well.
    """

    def __init__(self, number: int, ask: Callable[[m.Question], Any], *, python_media: bool) -> None:
        self.number = number
        self.sip_call_id = ""
        self.observer: CallObserver | None = None
        self.dialog = Dialog()
        self.over = False
        self._ask = ask
        self._python_media = python_media
        self._audio = False
        self._counts: tuple[StreamCount, ...] = ()

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None:
        self._do(m.Answer(call=self.number, status=status, sdp=sdp, headers=headers))

    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None:
        if not self.over:
            self._do(m.Hangup(call=self.number, status=status, headers=headers, sdp=sdp))

    def end_branch(self, to_tag: str, *, headers: Headers = ()) -> None:
        """Nothing: pjsip ends the branches that do not have the call."""

    def key(self, index: int, keys: SrtpKeys) -> StreamCount | None:
        sent = keys if self._python_media else replace(keys, directions=None)
        before: StreamCount | None = self._do(m.Key(call=self.number, index=index, keys=sent))
        return before

    def unkey(self) -> None:
        self._do(m.Unkey(call=self.number))

    def counts(self) -> tuple[StreamCount, ...]:
        if not self.over:
            # After a process died its last counts are used until its calls have ended.
            with contextlib.suppress(ChannelClosed):
                self._counts = self._ask(m.Counts(call=self.number))
        return self._counts

    def connect_audio(self) -> None:
        if not self._audio:
            # The stack process applies it to later streams too.
            self._do(m.ConnectAudio(call=self.number))
            self._audio = True

    def seat(self, seat: Seat) -> None:
        self._do(m.TakeSeat(call=self.number, seat=seat))

    def mixes_with(self, other: StackCall) -> bool:
        return isinstance(other, RemoteCall) and other._ask == self._ask

    def reinvite(
        self, *, hold: bool = False, unhold: bool = False, moved: bool = False, restart: bool = False
    ) -> None:
        self._do(m.Reinvite(call=self.number, hold=hold, unhold=unhold, moved=moved, restart=restart))

    def update(self) -> None:
        self._do(m.Update(call=self.number))

    def dtmf(self, digits: str) -> None:
        self._do(m.SendDtmf(call=self.number, digits=digits))

    def transfer(self, target: str, replacing: StackCall | None = None) -> None:
        number = None
        if isinstance(replacing, RemoteCall):
            if replacing._ask == self._ask:
                number = replacing.number
            else:
                # The other call is in another process, which this one knows nothing of.
                target = replacing.dialog.replacing(target)
        self._do(m.Transfer(call=self.number, target=target, replacing=number))

    def _do(self, question: m.Question) -> Any:
        if self.over:
            raise StackError("the call is over")
        try:
            return self._ask(question)
        except ChannelClosed as error:
            raise AgentError(Reason.STACK_FAILED, f"the SIP stack failed: {error}", side="local") from None

    def take(self, message: Any) -> Any:
        """Tell the observer a message of the stack process about this call; return the answer."""
        observer = self._live_observer
        match message:
            case m.LocalSdp(sdp=sdp, remote=remote):
                return observer.on_local_sdp(sdp, remote)
            case m.RemoteOffer(sdp=sdp):
                return observer.on_remote_offer(sdp)
            case m.StreamCreated(index=index):
                observer.on_stream_created(index)
            case m.MessagePassed(direction=direction, message=passed):
                self.dialog.take(direction, passed)
                observer.on_message(direction, passed)
            case m.MessageSent(message=sent):
                self.dialog.take("sent", sent)
                observer.on_message("sent", sent)
            case m.PhaseChanged():
                self._take_phase(observer, message)
            case m.TransferProgress(status=status, final=final):
                observer.on_transfer_progress(status, final)
            case m.DtmfReceived(digit=digit):
                observer.on_dtmf(digit)
            case m.Replaced():
                observer.on_replaced()
        return None

    def _take_phase(self, observer: CallObserver, change: m.PhaseChanged) -> None:
        self.sip_call_id = change.sip_call_id or self.sip_call_id
        self._counts = change.counts or self._counts
        self.over = self.over or change.phase is Phase.DISCONNECTED
        observer.on_phase(change.phase, change.status, change.reason)

    @property
    def _live_observer(self) -> CallObserver:
        if self.observer is None:
            raise StackError("the call has no observer")
        return self.observer
