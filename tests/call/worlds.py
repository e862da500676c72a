"""What is around a call: a SIP stack, branches, a KMS, a user and a clock, as far as a call can tell.

A world carries out the outputs of one machine on a model, and checks what must hold after each input. The
model knows nothing of the machine's table: what must follow from an input is said here a second time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.events import MediaProtection
from sipmikey.call.keying.keying import Keying
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.machine import CallMachine
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.settings import CallSettings, Patience
from sipmikey.call.state import CallState
from tests.call.fakes import BOB, CAROL, GRANT, FakeTicket
from tests.call.values import clone

Moves = Iterator[tuple[str, Callable[[Any], None]]]

ALICE = "sip:alice@example.com"

STACK_FAILED = AgentError(Reason.TRANSPORT_FAILED, "the stack failed", side="local")

KMS_FAILED = AgentError(Reason.KMS_TIMEOUT, "no answer", side="kms")

PATIENCE = Patience(silence=1.0, gone=2.0)


class World:
    """The model of one call."""

    def __init__(self, machine: CallMachine, settings: CallSettings) -> None:
        self.machine = machine
        self.settings = settings
        self.replacing = False
        # The stack.
        self.invited = False
        self.attached = False
        self.offered = ""
        self.confirmed = False
        self.ended_here = False
        self.dialog: str | None = None
        self.stream_of: str | None = None
        self.keys: str | None = None
        self.given: set[str] = set()
        self.audio = False
        self.open_2xx: set[str] = set()
        # What is asked, and not answered yet.
        self.kms = False
        self.ticket = False
        self.user = False
        self.hung_up = False
        self.timers: set[o.Timer] = set()
        # What was told.
        self.started = False
        self.answered = False
        self.ringing = False
        self.told_end = False
        self.accepted = {BOB}
        self.protection = machine.security.media
        self.outputs: tuple[o.Output, ...] = ()
        self.done: list[int] = []
        self.events: list[e.Event] = []

    def parts(self) -> object:
        hidden = ("outputs", "settings", "events", "done")
        return [item for name, item in vars(self).items() if name not in hidden]

    def moves(self) -> Moves:
        """Yield what may happen next."""
        raise NotImplementedError

    @property
    def keying(self) -> Keying:
        return self.machine._attempt.keying

    @property
    def lane(self) -> Lane:
        return self.keying.kind.lane

    # Outputs

    def give(self, item: i.Input) -> None:
        """Give the machine an input, do what it wants, and check what that input alone demands."""
        before = self.machine.state
        was_answered, was_attached = self.answered, self.attached
        outputs = self.machine.take(item)
        for output in outputs:
            self.carry_out(output)
        self.outputs = outputs
        self.events = [output.event for output in outputs if isinstance(output, o.Tell)]
        assert not (before is CallState.OVER and self.events), "something is told after the end"
        self.must_follow(item, before, outputs, was_answered, was_attached)
        self._forget_absolute_counts()

    def told(self, kind: type[e.Event]) -> list[e.Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def carry_out(self, output: o.Output) -> None:
        match output:
            case o.StartTimer():
                self.timers.add(output.timer)
            case o.StopTimer():
                assert output.timer in self.timers, "a timer is stopped that does not run"
                self.timers.discard(output.timer)
            case o.Invite():
                assert not self.attached, "an INVITE while another is under way"
                assert not self.hung_up, "the user hung up, and is called for again"
                self._forget_stack()
                self.invited = True
            case o.EndInvite():
                assert self.attached, "an INVITE is ended that the stack does not have"
                self.ended_here = True
                self.dialog = output.to_tag or self.dialog
            case o.Answer():
                assert self.attached
                self.answered_with(output)
            case o.Key():
                assert not self.ended_here, "keys for a call that ends"
                self.key(str(output.keys))
            case o.Unkey():
                self.keys = None
            case o.OpenAudio():
                self.audio = True
            case o.EndBranch():
                assert output.to_tag in self.open_2xx, "BYE to a branch that has not answered"
                self._dialog_over(output.to_tag)
            case o.AskKms():
                assert not self.kms
                self.kms = True
            case o.AskTicket():
                assert not self.ticket
                self.ticket = True
            case o.AskUser():
                assert not self.user
                self.user = True
            case o.Rings():
                assert not self.ringing, "it rings twice"
                self.ringing = True
            case o.ChangeDone() | o.ReferDone():
                self.done.append(output.token)
            case o.Tell():
                self.event(output.event)

    def _forget_stack(self) -> None:
        self.attached = self.confirmed = self.ended_here = self.audio = False
        self.offered = ""
        self.dialog = self.stream_of = self.keys = None
        # Another INVITE has other keys, which the fakes call by the same names.
        self.given.clear()

    def _dialog_over(self, to_tag: str) -> None:
        self.open_2xx.discard(to_tag)
        if self.dialog == to_tag:
            self.dialog = None

    def answered_with(self, output: o.Answer) -> None:
        if output.status >= 300:
            self.ended_here = True

    def key(self, keys: str) -> None:
        assert self.stream_of is not None, "keys for a stream that does not exist"
        assert keys not in self.given, "keys are started twice, from the same packet index"
        self.keys = keys
        self.given.add(keys)
        self.give(i.StreamKeyed(index=0, before=_count(0)))

    def event(self, event: e.Event) -> None:
        match event:
            case e.CallAnswered():
                assert not self.answered, "answered twice"
                self.answered = True
            case e.CallEnded():
                assert not self.told_end, "two endings"
                assert event.reason is not Reason.INTERNAL_ERROR, f"internal error: {event.detail}"
                self.told_end = True
            case e.CallState(security=security):
                self.protection = security.media

    def _forget_absolute_counts(self) -> None:
        """Only differences of packet counts matter: count from 0 again, for fewer states.

        Keys that were replaced do not come back under their names, which the fakes use again.
        """
        streams = self.machine._streams
        if isinstance(self.keying, FakeTicket):
            held = set(self.keying.held.values())
            self.given &= held
            streams._given &= {f"{way} {name}" for name in held for way in ("send", "receive")}
        for proof in streams._proofs.values():
            proof.received = None if proof.received is None else 0
        for switch in streams._switches.values():
            switch.before = _count(0)
            switch.looks = min(switch.looks, 2)

    # What must hold

    def must_follow(
        self,
        item: i.Input,
        before: CallState,
        outputs: tuple[o.Output, ...],
        was_answered: bool,
        was_attached: bool,
    ) -> None:
        """Check what follows from one input, whatever the state."""
        live = before not in (CallState.NEW, CallState.ENDING, CallState.OVER)
        match item:
            case i.Hangup() | i.Fault() if live:
                assert self.ended_here or self.told_end, "the call goes on"
            case i.Hangup() if before is CallState.ENDING:
                assert self.ended_here, "the user cannot end it"
            case i.Rang(timer=o.Timer.EXPIRE) if live:
                assert self.ended_here, "the keys are too old"
                assert self.keys is None
            case i.Rang(timer=o.Timer.LOOK) if live:
                assert any(isinstance(output, o.Count) for output in outputs)
            case i.LocalDescription():
                kinds = [type(output) for output in outputs]
                assert kinds.count(o.Describe) + kinds.count(o.Withhold) == 1, "no description, or two"
            case i.RemoteOffer() | i.TransferAsked() | i.ReplacementAsked():
                kinds = [type(output) for output in outputs]
                assert kinds.count(o.Permit) + kinds.count(o.Refuse) == 1, "no verdict, or two"
            case i.Received(message=message) if message.method == "INVITE" and message.status // 100 == 2:
                assert o.Acknowledge(to_tag=message.to_tag) in outputs, "a 2xx without ACK"

    def check(self) -> None:
        """Check what must hold in every state."""
        machine, state = self.machine, self.machine.state
        assert machine._out.timers == self.timers, "timers are kept wrong"
        assert self.told_end == (state is CallState.OVER), f"state {state}, told: {self.told_end}"
        assert (state is CallState.NEW) == (not self.started), f"{state}, started: {self.started}"
        assert (
            machine.security.media is self.protection
            or state is CallState.NEW
            or not self.started
            or (self.keys is None)
        ), "the protection was not told"
        if state is CallState.OVER:
            self.check_over()
            self.too_late()
            return
        ending = state is CallState.ENDING
        assert self.user == (state in (CallState.ASKING, CallState.CHOOSING)) or ending, f"{state}, the user"
        assert self.ticket == (state is CallState.FETCHING) or ending, f"{state}, the ticket"
        assert self.kms == (state is CallState.RESOLVING) or ending, f"{state}, the KMS"
        assert self.answered == (state is CallState.TALKING) or state is CallState.ENDING, (
            f"{state}, answered"
        )
        # A refused 2xx is held for a while where the stack has one dialog only.
        assert self.ended_here == (state is CallState.ENDING), f"{state}, ended: {self.ended_here}"
        assert (state is CallState.CALLING) <= self.invited, "calling without an INVITE"
        if state is CallState.RINGING:
            assert self.ringing or self.replacing
        self.check_media()

    def check_over(self) -> None:
        """Check what is left behind."""
        assert not self.timers, f"timers left: {self.timers}"
        assert not self.attached, "the call is over, and the stack still has it"
        ending = self.machine.ending
        assert ending is not None
        assert ending.detail, "an ending without a reason"
        keying = self.keying
        assert not isinstance(keying, FakeTicket) or (keying.closed and not keying.held), "keys left"
        assert not self.open_2xx, f"a 2xx was not ended: {self.open_2xx}"

    def too_late(self) -> None:
        """Check that nothing of what comes too late has an effect but the ACK and the BYE of a 2xx."""
        late = clone(self.machine)
        for item in TOO_LATE:
            outputs = late.take(item)
            assert late.state is CallState.OVER
            allowed = o.Withhold | o.Refuse | o.ChangeDone | o.ReferDone | o.Acknowledge | o.EndBranch
            assert all(isinstance(output, allowed) for output in outputs), f"{item} has an effect: {outputs}"

    def check_media(self) -> None:
        """Check that what runs has the right keys, and is heard by the right party only."""
        keying = self.keying
        if self.ended_here:
            # The machine has erased its keys; the stack runs on until it has ended the call.
            return
        if self.keys is not None:
            assert isinstance(keying, FakeTicket)
            assert self.keys in keying.held.values(), f"the stream runs on the erased key {self.keys}"
            branch = next(tag for tag, key in keying.held.items() if key == self.keys)
            assert branch == self.stream_of, f"the stream of {self.stream_of} runs on {self.keys}"
            party = CAROL if self.stream_of == "b" else BOB
            assert party in self.accepted, f"{party} is heard and not accepted"
        media = self.machine.security.media
        if media in (MediaProtection.KEYED, MediaProtection.PROVEN) and not self.ended_here:
            assert self.keys is not None or not keying.kind.gives_keys, "keyed is told, and there are no keys"
        if self.audio and keying.kind.unkeyed is MediaProtection.HELD and not keying.kind.gives_keys:
            assert self.answered, "sound before the descriptions were judged"

    # Moves that all worlds have

    def common_moves(self) -> Moves:
        state = self.machine.state
        if self.started and state is not CallState.OVER:
            yield "hang up", hang_up
        for timer in sorted(self.timers):
            if timer is o.Timer.LOOK:
                for name, count in LOOKS.items():
                    yield f"look: {name}", functools.partial(look, count=count)
            else:
                yield f"timer {timer}", functools.partial(ring, timer=timer)
        if self.attached:
            yield "the stack disconnects", lambda w: w.disconnect(408, "timeout")
            yield "the stack fails", lambda w: w.give(i.Fault(error=STACK_FAILED))
        if self.ended_here and self.attached:
            yield "the end is not sent", not_ended

    def disconnect(self, status: int, reason: str = "") -> None:
        self.attached = self.invited = self.ended_here = False
        self.keys = self.stream_of = None
        self.audio = False
        # The stack itself ends the dialog that it has.
        self.open_2xx.discard(self.dialog or "")
        self.give(i.Disconnected(status=status, reason=reason))


TOO_LATE = (
    i.Hangup(),
    i.Decided(refusal=""),
    i.TicketGranted(called=BOB, grant=GRANT),
    i.KmsAnswered(response=b"good"),
    i.Accept(),
    i.Rang(timer=o.Timer.SETUP),
    i.StreamCreated(index=0),
    i.Received(message=i.Message(method="INVITE", status=200, to_tag="late", sdp="good late")),
    i.RemoteOffer(sdp="offer"),
    i.LocalDescription(sdp="stack"),
    i.Propose(kind=i.Kind.REKEY, token=1),
    i.Disconnected(status=200),
    i.Fault(error=STACK_FAILED),
)


def hang_up(world: World) -> None:
    world.hung_up = True
    world.give(i.Hangup())


def ring(world: World, timer: o.Timer) -> None:
    world.timers.discard(timer)
    world.give(i.Rang(timer=timer))


def look(world: World, count: i.StreamCount) -> None:
    """Ring, and answer with a count; what it must lead to depends on what was known before."""
    media = world.machine.security.media
    was_keyed = world.keys is not None
    ring(world, o.Timer.LOOK)
    world.give(i.Counted(counts=(count,)))
    if count.received and was_keyed and world.keys is not None and not world.ended_here:
        assert world.machine.security.media is MediaProtection.PROVEN, "a packet proves nothing"
    elif not count.received and media is not MediaProtection.PROVEN:
        assert world.machine.security.media is not MediaProtection.PROVEN, "proven without a packet"


def not_ended(world: World) -> None:
    world.attached = world.ended_here = False
    world.open_2xx.clear()
    world.give(i.NotSent(output=o.EndInvite(), error=STACK_FAILED))


def _count(received: int, trouble: str = "") -> i.StreamCount:
    return i.StreamCount(index=0, codec="PCMA", sent=0, received=received, lost=0, trouble=trouble)


LOOKS = {"nothing": _count(0), "clear RTP": _count(0, "clear RTP"), "a packet": _count(1)}


# Moves of either side


def start(world: World) -> None:
    world.started = True
    world.give(i.Start())


def early_offer(world: World, tag: str = "") -> None:
    """The peer offers (UPDATE) where no answer of its branch in a reliable response is known."""
    state = world.machine.state
    if world.machine._attempt.branches.settled(tag):
        tag = "nobody"
    world.give(i.RemoteOffer(sdp="offer", to_tag=tag))
    assert any(isinstance(output, o.Refuse) for output in world.outputs), "an early offer is taken"
    assert world.machine.state is state, "an offer that was refused ends the call"


def bye(world: World, tag: str) -> None:
    world.give(i.Received(message=i.Message(method="BYE", to_tag=tag)))
    had = tag in (world.dialog, world.machine._attempt.to_tag)
    world._dialog_over(tag)
    if had or not world.open_2xx:
        world.disconnect(200)


def dtmf(world: World) -> None:
    world.give(i.DtmfHeard(digit="1"))
    assert world.told(e.DtmfReceived), "a digit is lost"
