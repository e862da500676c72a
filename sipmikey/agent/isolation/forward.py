"""The observers in the stack process: they pass on what pjsua2 says, and its questions, to the agent's."""

from __future__ import annotations

import os
from typing import Any, Literal, Protocol

from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.channel import Channel, ChannelClosed, failure_of
from sipmikey.agent.stack import (
    CallObserver,
    Lane,
    OfferVerdict,
    Phase,
    Placement,
    Sighting,
    StackCall,
    StackError,
)
from sipmikey.call.reasons import AgentError
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.nat.path import MediaPath
from sipmikey.sip import SipMessage
from sipmikey.sound.settings import News


class Home(Protocol):
    """The stack process: its socket, and its calls by number."""

    channel: Channel
    calls: dict[int, StackCall]

    def next_number(self) -> int:
        """Return the number of a call that the agent did not make."""


class _KnownThere(SipmikeyError):
    """An error that the agent's process raised and so already knows."""


def _ask(process: Home, question: m.Question) -> Any:
    try:
        return process.channel.ask(question)
    except ChannelClosed:
        # Within a callback of pjsua2 there is no other way out.
        os._exit(1)
    except (StackError, AgentError) as error:
        raise _KnownThere(str(error)) from None


class ForwardingObserver:
    """What pjsua2 says outside of calls; a ``StackObserver``."""

    def __init__(self, process: Home) -> None:
        self._process = process

    def on_invite(self, invite: SipMessage, source: str) -> Placement:
        placement: Placement = _ask(self._process, m.PlaceInvite(invite=invite, source=source))
        return placement

    def on_incoming(self, call: StackCall, invite: SipMessage, source: str, lane: Lane) -> CallObserver:
        number = self._process.next_number()
        observer = ForwardingCall(self._process, number, known=True)
        observer.on_attached(call)
        question = m.Incoming(
            call=number, sip_call_id=call.sip_call_id, invite=invite, source=source, lane=lane
        )
        _ask(self._process, question)
        return observer

    def on_turned_away(self, caller: str, status: int, reason: str) -> None:
        self._process.channel.tell(m.TurnedAway(caller=caller, status=status, reason=reason))

    def on_message(self, message: SipMessage, source: str) -> None:
        self._process.channel.tell(m.MessageArrived(message=message, source=source))

    def on_played(self) -> None:
        self._process.channel.tell(m.Played())

    def on_sound_news(self, news: News) -> None:
        self._process.channel.tell(m.SoundTold(news=news))

    def on_media_path(self, sip_call_id: str, index: int, path: MediaPath) -> None:
        self._process.channel.tell(m.PathFound(sip_call_id=sip_call_id, index=index, path=path))

    def on_registration(self, status: int, reason: str, expires_s: int) -> None:
        self._process.channel.tell(m.Registration(status=status, reason=reason, expires_s=expires_s))

    def on_messages_waiting(self, notify: SipMessage, source: str) -> None:
        self._process.channel.tell(m.MessagesWaiting(notify=notify, source=source))

    def on_presence(self, sighting: Sighting) -> None:
        """Never said by pjsua2."""

    def on_stack_lost(self, calls: int, detail: str, again_in_s: float) -> None:
        """Never said by pjsua2."""


class ForwardingCall:
    """What pjsua2 says of the call *number*; a ``CallObserver``. *known*: the agent's process has it."""

    def __init__(self, process: Home, number: int, *, known: bool) -> None:
        self._process = process
        self._number = number
        self._known = known
        self._name = ""

    def _ask(self, question: m.Question) -> Any:
        return _ask(self._process, question)

    def on_attached(self, call: StackCall) -> None:
        self._process.calls[self._number] = call
        if not self._known:
            self._known = True
            self._ask(m.Attached(call=self._number))

    def on_local_sdp(self, sdp: str, remote: str) -> str:
        return str(self._ask(m.LocalSdp(call=self._number, sdp=sdp, remote=remote)))

    def on_remote_offer(self, sdp: str) -> OfferVerdict:
        verdict: OfferVerdict = self._ask(m.RemoteOffer(call=self._number, sdp=sdp))
        return verdict

    def on_stream_created(self, index: int) -> None:
        self._ask(m.StreamCreated(call=self._number, index=index))

    def on_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if direction == "sent" and not message.has_sdp:
            self._process.channel.tell(m.MessageSent(call=self._number, message=message))
        else:
            self._ask(m.MessagePassed(call=self._number, direction=direction, message=message))

    def on_phase(self, phase: Phase, status: int, reason: str) -> None:
        call = self._process.calls.get(self._number)
        if phase not in (Phase.CONFIRMED, Phase.DISCONNECTED):
            if call is not None and call.sip_call_id != self._name:
                self._name = call.sip_call_id
                self._process.channel.tell(m.Named(call=self._number, sip_call_id=self._name))
            return
        question = m.PhaseChanged(
            call=self._number, phase=phase, status=status, reason=reason,
            sip_call_id="" if call is None else call.sip_call_id,
            counts=() if call is None else call.counts(),
        )  # fmt: skip
        try:
            self._ask(question)
        finally:
            if phase is Phase.DISCONNECTED:
                self._process.calls.pop(self._number, None)

    def on_dtmf(self, digit: str) -> None:
        self._process.channel.tell(m.DtmfReceived(call=self._number, digit=digit))

    def on_transfer_requested(self, target: str) -> CallObserver | int:
        successor = self._process.next_number()
        question = m.TransferRequested(call=self._number, target=target, successor=successor)
        return self._succeed(successor, int(self._ask(question)))

    def on_transfer_progress(self, status: int, final: bool) -> None:
        self._process.channel.tell(m.TransferProgress(call=self._number, status=status, final=final))

    def on_replacement_asked(self, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        successor = self._process.next_number()
        question = m.ReplacementAsked(
            call=self._number, invite=invite, source=source, lane=lane, successor=successor
        )
        return self._succeed(successor, int(self._ask(question)))

    def _succeed(self, successor: int, status: int) -> CallObserver | int:
        return status or ForwardingCall(self._process, successor, known=False)

    def on_replaced(self) -> None:
        self._process.channel.tell(m.Replaced(call=self._number))

    def on_failed(self, error: BaseException) -> None:
        if not isinstance(error, _KnownThere):
            self._process.channel.tell(m.CallFailed(call=self._number, error=failure_of(error)))
