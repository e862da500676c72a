"""A secured call for any SIP stack: what the call machine wants, carried out; the stack fills in the SIP.

`sipua_phone.py`, `sippy_phone.py` and `bridge.py` in this folder derive from `CallerCall` and `CalleeCall`.
Everything about MIKEY-TICKET is here: the machine, its KMS, keys into SRTP, packet counts that prove them. A
stack of yours needs the abstract methods of both, and tells what it saw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from account import ENV, Account
from voice import Voice

from sipmikey.call import (
    CalleeMachine,
    CallerMachine,
    CallMachine,
    Invitation,
    Keying,
    events,
    inputs,
    outputs,
)
from sipmikey.call.keying.ticket import TICKET
from sipmikey.call.outputs import Headers
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket import TicketGrant

NO_ACK_S = 32.0  # RFC 3261: 64 times T1


class Cancellable(Protocol):
    """A timer of an event loop."""

    def cancel(self) -> object: ...


class SecuredCall(ABC):
    """One call. *show* is told every event; ``over`` holds the last one once the call is over."""

    def __init__(self, account: Account, machine: CallMachine, voice: Voice) -> None:
        self.account = account
        self.machine = machine
        self.voice = voice
        self.over: events.CallEnded | None = None
        self.proven = False
        self.talk_s: float | None = None  # how long we talk before we hang up; None: the peer does
        self.descriptions: dict[str, str] = {}
        self._keyed = False
        self._described = ""
        self._withheld: BaseException | None = None
        self._verdict: outputs.Output = outputs.Permit()
        self._timers: dict[outputs.Timer, Cancellable] = {}

    # What the stack has to do

    @abstractmethod
    def later(self, seconds: float, then: Callable[[], None]) -> Cancellable:
        """Have *then* called after so many seconds, in the thread of the calls."""

    @abstractmethod
    def in_background(self, work: Callable[[], bytes], then: Callable[[bytes | Exception], None]) -> None:
        """Do *work* in another thread; give what it returns or raises to *then*, in that of the calls."""

    @abstractmethod
    def send_bye(self, to_tag: str, headers: Headers) -> None:
        """Send BYE to the dialog of *to_tag*; ``""`` where we were called."""

    @abstractmethod
    def send_reinvite(self, sdp: str) -> None:
        """Send a re-INVITE, and give its final response to `reinvited`."""

    def on_event(self, event: events.Event) -> None:
        """Something happened: show it."""
        print(event.type, *self._words(event), flush=True)

    # What the stack tells

    def tell(self, *items: inputs.Input) -> None:
        """Give the machine inputs, and do what it wants."""
        for item in items:
            for output in self.machine.take(item):
                self._carry_out(output)

    def hang_up(self) -> None:
        """End the call, at whatever point it is."""
        self.tell(inputs.Hangup())

    def rekey(self) -> None:
        """Give the call new keys."""
        self.tell(inputs.Propose(kind=inputs.Kind.REKEY, token=1))

    def receive_bye(self) -> None:
        """The peer hung up, and its BYE was answered."""
        self.tell(inputs.Received(message=inputs.Message(method="BYE")), inputs.Disconnected(status=200))

    def receive_offer(self, sdp: str) -> tuple[int, str, Headers]:
        """Take a re-INVITE; return the status, description and header fields to answer with."""
        self.tell(inputs.RemoteOffer(sdp=sdp))
        if isinstance(self._verdict, outputs.Refuse):
            return self._verdict.status, "", self._verdict.headers
        answer = self.describe(sdp)
        return (200, answer, ()) if answer else (488, "", ())

    def answer_was_sent(self, to_tag: str, sdp: str) -> None:
        """Say that the 200 to a re-INVITE went out as *sdp*."""
        message = inputs.Message(method="INVITE", status=200, to_tag=to_tag, sdp=sdp)
        self.tell(inputs.Sent(message=message))

    def reinvited(self, status: int, to_tag: str, sdp: str) -> None:
        """Take the final response to our re-INVITE."""
        message = inputs.Message(method="INVITE", status=status, to_tag=to_tag, sdp=sdp or None)
        self.tell(inputs.Received(message=message))

    def describe(self, remote: str = "", *, hold: bool = False) -> str:
        """Return our description with what the machine adds; ``""`` where nothing may be sent."""
        self._described, self._withheld = "", None
        own = self.voice.description(remote, hold=hold)
        self.tell(inputs.LocalDescription(sdp=own, remote=remote))
        return self._described

    # What the machine wants

    def _carry_out(self, output: outputs.Output) -> None:
        match output:
            case outputs.Describe():
                self._described = output.sdp
            case outputs.Withhold():
                self._withheld = output.error
            case outputs.Permit() | outputs.Refuse():
                self._verdict = output
            case outputs.Key():
                self.voice.key(output.keys)
                self._keyed = True
                self.tell(inputs.StreamKeyed(index=output.index, before=self.voice.count()))
            case outputs.Unkey():
                self._keyed = False
                self.voice.unkey()
            case outputs.Count():
                self.tell(inputs.Counted(counts=(self.voice.count(),)))
            case outputs.StartTimer():
                self._stop(output.timer)
                ring = inputs.Rang(timer=output.timer)
                self._timers[output.timer] = self.later(output.after_s, lambda: self.tell(ring))
            case outputs.StopTimer():
                self._stop(output.timer)
            case outputs.AskKms():
                message, kms = output.message, output.kms
                self.in_background(lambda: self.account.client.request(message, kms=kms), self._kms_said)
            case outputs.AskTicket():
                self.tell(inputs.TicketRefused(error=LocalError("this phone follows no redirection")))
            case outputs.Tell():
                self._happened(output.event)
            case _:
                self._send(output)

    def _send(self, output: outputs.Output) -> None:
        """Send what concerns the other side."""
        match output:
            case outputs.Reinvite():
                sdp = self.describe(hold=output.hold)
                if not sdp:
                    self.tell(inputs.NotSent(output=output, error=self._withheld or LocalError("withheld")))
                    return
                self.tell(inputs.Sent(message=inputs.Message(method="INVITE", sdp=sdp)))
                self.send_reinvite(sdp)
            case outputs.EndBranch():
                self.send_bye(output.to_tag, output.headers)
            case outputs.EndInvite():
                self.send_bye(output.to_tag, output.headers)
                self.tell(inputs.Disconnected(status=200))

    def _kms_said(self, said: bytes | Exception) -> None:
        failed = isinstance(said, Exception)
        self.tell(inputs.KmsFailed(error=said) if failed else inputs.KmsAnswered(response=said))  # type: ignore[arg-type]

    def _stop(self, timer: outputs.Timer) -> None:
        if (running := self._timers.pop(timer, None)) is not None:
            running.cancel()

    def _happened(self, event: events.Event) -> None:
        match event:
            case events.MediaKeyed():
                self.voice.send_to(self.descriptions.get(event.to_tag) or self.descriptions.get("", ""))
            case events.MediaProven():
                self.proven = True
                if self.talk_s is not None:
                    self.later(self.talk_s, self.hang_up)
            case events.MediaFailed():
                self.later(0, self.hang_up)
            case events.CallEnded():
                self.over, self.talk_s = event, None
                for timer in tuple(self._timers):
                    self._stop(timer)
        self.on_event(event)

    def _words(self, event: events.Event) -> list[str]:
        match event:
            case events.CallAnswered(security=security):
                return [f"with {security.peer}, as {security.kms} says"]
            case events.ForkAbandoned() | events.CallEnded():
                return [event.reason, event.detail]
            case events.ForkCommitted():
                return [event.peer]
            case events.MediaKeyed() | events.MediaRekeyed():
                return [f"{event.suite} send key {event.send_key} receive key {event.receive_key}"]
        return []


class CallerCall(SecuredCall):
    """A call to *callee*, for which there is a ticket."""

    def __init__(self, account: Account, callee: str, grant: TicketGrant, voice: Voice) -> None:
        machine = CallerMachine(
            "1", account.settings, ENV, account.keyings, uri=callee, called=callee, grant=grant
        )
        super().__init__(account, machine, voice)
        self._confirmed = False

    @abstractmethod
    def send_invite(self, uri: str, sdp: str, headers: Headers) -> None:
        """Send the INVITE."""

    @abstractmethod
    def send_ack(self, to_tag: str) -> None:
        """Acknowledge the 2xx of *to_tag*."""

    @abstractmethod
    def send_cancel(self) -> None:
        """Cancel the INVITE, which has no final response yet."""

    def respond(self, status: int, to_tag: str, sdp: str, headers: Mapping[str, str]) -> None:
        """Take a response to the INVITE, of one of the devices that it reached; *headers* in lower case."""
        if sdp:
            self.descriptions[to_tag] = sdp
            if not self._keyed:
                self.tell(inputs.StreamCreated(index=0))
        if 200 <= status < 300 and not self._confirmed:
            self._confirmed = True
            self.tell(inputs.Confirmed())
        message = inputs.Message(
            method="INVITE",
            status=status,
            to_tag=to_tag,
            sdp=sdp or None,
            warning=headers.get("warning"),
            reason=headers.get("reason"),
        )
        self.tell(inputs.Received(message=message))
        if status >= 300:
            self.tell(inputs.Disconnected(status=status))

    def _send(self, output: outputs.Output) -> None:
        match output:
            case outputs.Invite():
                self.tell(inputs.Attached())
                sdp = self.describe()
                if not sdp:
                    self.tell(inputs.NotSent(output=output, error=self._withheld or LocalError("withheld")))
                    return
                self.tell(inputs.Sent(message=inputs.Message(method="INVITE", sdp=sdp)))
                self.send_invite(output.uri, sdp, output.headers)
            case outputs.Acknowledge():
                self.send_ack(output.to_tag)
            case outputs.EndInvite() if not self._confirmed:
                self.send_cancel()
            case _:
                super()._send(output)


class CalleeCall(SecuredCall):
    """A call that came in with *offer*. *caller*: its From, which the KMS's word has to agree with."""

    def __init__(self, account: Account, caller: str, offer: str, voice: Voice) -> None:
        keying: Keying = account.keyings.called(TICKET, caller=caller, offer=offer)
        invitation = Invitation(caller=caller, called=account.identity, sdp=offer)
        machine = CalleeMachine("1", account.settings, ENV, invitation, keying)
        super().__init__(account, machine, voice)
        self.offer = offer
        self.descriptions[""] = offer
        self.accepted = self._confirmed = False

    @abstractmethod
    def send_answer(self, status: int, sdp: str, headers: Headers) -> None:
        """Answer the INVITE that came."""

    def ring(self) -> None:
        """The call is judged and its ticket resolved: tell the user. This one says yes at once."""
        self.tell(inputs.Ring(), inputs.Accept())

    def begin(self) -> None:
        """Judge the offer, and ask the KMS about its ticket."""
        own = self.voice.description(self.offer)
        self.tell(inputs.LocalDescription(sdp=own, remote=self.offer), inputs.Start())

    def acknowledged(self) -> None:
        """The ACK to our 200 came."""
        self._confirmed = True
        self.tell(inputs.Confirmed())

    def _not_acknowledged(self) -> None:
        """End a call whose 200 nobody acknowledged (RFC 3261 section 13.3.1.4)."""
        if not self._confirmed and self.over is None:
            self.hang_up()

    def cancelled(self) -> None:
        """The caller gave up; the INVITE was answered with 487."""
        self.tell(inputs.Received(message=inputs.Message(method="CANCEL")), inputs.Disconnected(status=487))

    def _send(self, output: outputs.Output) -> None:
        match output:
            case outputs.Rings():
                self.ring()
            case outputs.Answer():
                sdp = output.sdp or ""
                self.accepted = output.status == 200
                self.send_answer(output.status, sdp, output.headers)
                if sdp:
                    self.tell(inputs.StreamCreated(index=0))
                    message = inputs.Message(method="INVITE", status=output.status, sdp=sdp)
                    self.tell(inputs.Sent(message=message))
                if self.accepted:
                    self.later(NO_ACK_S, self._not_acknowledged)
                if output.status >= 300:
                    self.tell(inputs.Disconnected(status=output.status))
            case outputs.EndInvite() if not self.accepted:
                self.send_answer(output.status or 480, "", output.headers)
                self.tell(inputs.Disconnected(status=output.status or 480))
            case _:
                super()._send(output)


def summary(call: SecuredCall) -> int:
    """Print how the call went; return the exit status: 0 when its media was proven."""
    stream = call.voice.stream
    print(f"packets: {stream.sent} sent, {stream.received} verified and decrypted", flush=True)
    return 0 if call.proven else 1
