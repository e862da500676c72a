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
from sipmikey.call.callee import CalleeMachine, Invitation
from sipmikey.call.caller import CallerMachine
from sipmikey.call.events import MediaProtection
from sipmikey.call.keying.clear import ClearKeying
from sipmikey.call.keying.keying import Keying, Lane
from sipmikey.call.machine import CallMachine
from sipmikey.call.policy import CallPolicy, Retarget
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.settings import CallSettings, Patience
from sipmikey.call.state import CallState
from tests.call.fakes import BOB, CAROL, ENV, GRANT, FakeKeyings, FakeSdes, FakeTicket
from tests.call.values import clone

Moves = Iterator[tuple[str, Callable[[Any], None]]]

ALICE = "sip:alice@example.com"

STACK_FAILED = AgentError(Reason.TRANSPORT_FAILED, "the stack failed", side="local")

KMS_FAILED = AgentError(Reason.KMS_TIMEOUT, "no answer", side="kms")


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
        return self.keying.lane

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
                self.open_2xx.discard(output.to_tag)
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
        self.stream_of = self.keys = None
        # Another INVITE has other keys, which the fakes call by the same names.
        self.given.clear()

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
        assert len(self.open_2xx) <= 1, "a surplus 2xx was not ended"

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
            assert (
                self.keys.split()[-1] == self.stream_of
                or self.answered
                or isinstance(self.machine, CalleeMachine)
            ), f"the stream of {self.stream_of} runs on {self.keys}"
            party = CAROL if self.stream_of == "b" else BOB
            assert party in self.accepted, f"{party} is heard and not accepted"
        media = self.machine.security.media
        if media in (MediaProtection.KEYED, MediaProtection.PROVEN) and not self.ended_here:
            assert self.keys is not None or not keying.gives_keys, "keyed is told, and there are no keys"
        if self.audio and keying.unkeyed is MediaProtection.HELD and not keying.gives_keys:
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
        # The stack itself ends what it had.
        self.open_2xx -= {self.machine._attempt.to_tag}
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


# The caller


class CallerWorld(World):
    """A caller and its branches, named by their To-tags. *answers*: the descriptions they may send."""

    def __init__(
        self,
        *,
        tags: str = "acd",
        answers: tuple[str, ...] = ("good", "bad", "none", "other"),
        policy: CallPolicy | None = None,
        many_dialogs: bool = True,
        failures: tuple[int, ...] = (486,),
        contacts: tuple[str, ...] = (),
        redirects: int = 2,
        clear: bool = False,
    ) -> None:
        settings = CallSettings(
            identity=ALICE,
            policy=policy or CallPolicy(),
            patience=PATIENCE,
            many_dialogs=many_dialogs,
            redirects=redirects,
        )
        grant = None if clear else GRANT
        machine = CallerMachine("1", settings, ENV, FakeKeyings(), uri=BOB, called=BOB, grant=grant)
        super().__init__(machine, settings)
        self.tags, self.answers_sent = tags, answers
        self.failures, self.contacts = failures, contacts
        self.consents = settings.policy.retarget is not Retarget.ACCEPT

    def parts(self) -> object:
        hidden = (
            "outputs", "settings", "events", "done", "tags", "answers_sent", "failures", "contacts",
            "consents",
        )  # fmt: skip
        return [item for name, item in vars(self).items() if name not in hidden]

    def moves(self) -> Moves:
        state = self.machine.state
        if not self.started:
            yield "start", start
            return
        yield from self.common_moves()
        if self.user:
            yield "the user agrees", lambda w: decide(w, "")
            yield "the user refuses", lambda w: decide(w, "the user refused")
        if self.ticket:
            yield "a ticket is granted", lambda w: w.fetched(i.TicketGranted(called=BOB, grant=GRANT))
            yield "no ticket is granted", lambda w: w.fetched(i.TicketRefused(error=KMS_FAILED))
        if self.invited and not self.attached and state is CallState.CALLING:
            yield "the stack invites", stack_invites
            yield "the stack does not invite", not_invited
            yield "the stack sends something else", functools.partial(stack_invites, altered=True)
        if self.attached and self.offered:
            yield from self.branch_moves()

    def branch_moves(self) -> Moves:
        for tag in self.tags:
            yield f"{tag}: 180", functools.partial(respond, tag=tag, status=180, sdp=None)
            for status in (183, 200):
                for answer in self.answers_sent:
                    sdp = f"{answer} {tag}" if answer in ("good", "other") else answer
                    yield (
                        f"{tag}: {status} {answer}",
                        functools.partial(respond, tag=tag, status=status, sdp=sdp),
                    )
            yield f"{tag}: 200", functools.partial(respond, tag=tag, status=200, sdp=None)
            if tag in self.open_2xx:
                yield f"{tag}: BYE", functools.partial(bye, tag=tag)
        if not self.confirmed:
            for status in self.failures:
                yield f"{status}", functools.partial(fail, status=status)
            if self.ended_here:
                yield "487", functools.partial(fail, status=487)

    def event(self, event: e.Event) -> None:
        super().event(event)
        match event:
            case e.ForkCommitted() if self.settings.many_dialogs:
                # The stack's dialog, and with it the stream, is that branch's now.
                self.stream_of = event.to_tag
            case e.ForkAbandoned():
                keying = self.keying
                assert isinstance(keying, FakeTicket)
                assert event.to_tag not in keying.held, "the keys of a loser are kept"

    def fetched(self, item: i.Input) -> None:
        self.ticket = False
        self.give(item)

    def check(self) -> None:
        super().check()
        state = self.machine.state
        if state is CallState.TALKING:
            if self.lane is Lane.SECURED and self.keys is None:
                assert self.machine._renegotiation.busy, "held, and nothing is done about it"
            assert self.open_2xx == {self.machine._attempt.to_tag}, f"open: {self.open_2xx}"
        elif state is CallState.CALLING and self.settings.many_dialogs:
            assert not self.open_2xx, "a 2xx is neither taken nor ended"
        waits = state in (CallState.FETCHING, CallState.ASKING, CallState.CHOOSING)
        if waits or (state is CallState.CALLING and self.attached):
            assert o.Timer.SETUP in self.timers, "nothing ends an INVITE that is not answered"


PATIENCE = Patience(silence=1.0, gone=2.0)


def start(world: World) -> None:
    world.started = True
    world.give(i.Start())


def decide(world: World, refusal: str) -> None:
    world.user = False
    if not refusal:
        world.accepted.add(CAROL)
    world.give(i.Decided(refusal=refusal))
    if refusal:
        assert world.ended_here or world.told_end, "who was refused is talked to"


def stack_invites(world: CallerWorld, *, altered: bool = False) -> None:
    world.attached, world.invited = True, True
    world.give(i.Attached())
    world.give(i.LocalDescription(sdp="stack"))
    described = [output.sdp for output in world.outputs if isinstance(output, o.Describe)]
    assert described, "no offer"
    world.offered = described[0]
    assert "stack" not in world.offered or world.lane is Lane.CLEAR, "the stack's own description is offered"
    message = i.Message(method="INVITE", sdp="stack altered" if altered else world.offered)
    world.give(i.Sent(message=message))
    if altered and world.lane is not Lane.CLEAR:
        assert world.ended_here, "something else went out than was made"


def not_invited(world: World) -> None:
    assert isinstance(world.machine, CallerMachine)
    invite = world.machine._invited
    assert invite is not None
    world.invited = False
    world.give(i.NotSent(output=invite, error=STACK_FAILED))
    assert world.told_end


def respond(world: CallerWorld, tag: str, status: int, sdp: str | None) -> None:
    machine = world.machine
    before, ending = machine.state, machine.ending
    refused = machine._attempt.branches.refusal(tag)
    agreement = machine._attempt.branches.agreement(tag)
    given, keying_held = set(world.given), getattr(world.keying, "held", {}).get(tag)
    first = status == 200 and not world.confirmed
    taken_by_other = world.answered or world.user
    if (
        sdp is not None
        and world.stream_of != tag
        and not taken_by_other
        and (world.settings.many_dialogs or not world.confirmed)
    ):
        # The stack makes a stream for each new branch's description, and takes the keys of the last away.
        world.stream_of, world.keys = tag, None
        world.give(i.StreamCreated(index=0))
    if status == 200:
        world.open_2xx.add(tag)
    if first:
        world.confirmed = True
        world.give(i.Confirmed())
    world.give(i.Received(message=i.Message(method="INVITE", status=status, to_tag=tag, sdp=sdp)))
    if status == 200 and before is CallState.CALLING and ending is None:
        good = refused is None and (agreement is not None or (sdp or "").startswith(("good", "other")))
        good = good or world.lane is Lane.CLEAR
        taken = world.answered or world.user
        if world.lane is Lane.SECURED:
            assert taken == good, f"a 200 that is {'good' if good else 'bad'}: {machine.state}"
    good = (sdp or "").startswith(("good", "other")) and refused is None
    accepted = not world.consents or (CAROL if tag == "b" else BOB) in world.accepted
    heard = before is CallState.CALLING and ending is None and good and accepted and world.stream_of == tag
    if heard and world.lane is Lane.SECURED:
        again = keying_held and keying_held in given
        assert world.keys is not None or again, "a branch that answered is not heard"
    if status < 200 and before is CallState.CALLING and ending is None:
        assert world.told(e.CallRinging), "ringing is not told"


def bye(world: World, tag: str) -> None:
    world.give(i.Received(message=i.Message(method="BYE", to_tag=tag)))
    world.open_2xx.discard(tag)
    if tag == world.machine._attempt.to_tag or not world.open_2xx:
        world.disconnect(200)


def fail(world: CallerWorld, status: int) -> None:
    contacts = tuple(i.Contact(uri=uri) for uri in world.contacts) if 300 <= status < 400 else ()
    message = i.Message(method="INVITE", status=status, to_tag="f", phrase=f"{status} No", contacts=contacts)
    world.give(i.Received(message=message))
    world.disconnect(status)
    state = world.machine.state
    assert state in (CallState.OVER, CallState.CALLING, CallState.FETCHING, CallState.CHOOSING), state


# The callee


class CalleeWorld(World):
    """A callee, its KMS and its user."""

    def __init__(
        self,
        *,
        lane: Lane = Lane.SECURED,
        offer: str | None = "offer",
        refusal: BaseException | None = None,
        replacing: bool = False,
    ) -> None:
        settings = CallSettings(identity=BOB, policy=CallPolicy(), patience=PATIENCE)
        keyings: dict[Lane, Keying] = {
            Lane.SECURED: FakeTicket(calls=False),
            Lane.SDES: FakeSdes(calls=False),
            Lane.CLEAR: ClearKeying(),
        }
        keying = keyings.get(lane)
        if lane is Lane.SDES and keying is not None:
            keying.receive_offer(offer)
        invitation = Invitation(caller=ALICE, called=BOB, sdp=offer)
        machine = CalleeMachine("1", settings, ENV, invitation, keying, refusal=refusal, replacing=replacing)
        super().__init__(machine, settings)
        self.replacing = replacing
        self.attached = self.invited = not replacing
        self.described = ""
        self.final = 0
        self.acknowledged = False

    def moves(self) -> Moves:
        state = self.machine.state
        if self.lane is not Lane.REFUSED and not self.described and not self.replacing and not self.final:
            yield "the stack describes", describe
        if not self.started:
            yield "start", start
            return
        yield from self.common_moves()
        if self.kms:
            yield "the KMS answers", lambda w: w.asked(i.KmsAnswered(response=b"good"))
            yield "the KMS answers badly", lambda w: w.asked(i.KmsAnswered(response=b"bad"))
            yield "the KMS fails", lambda w: w.asked(i.KmsFailed(error=KMS_FAILED))
        if self.attached and not self.final and not self.ended_here:
            yield "the caller cancels", lambda w: w.disconnect(487)
        if self.ringing and state is CallState.RINGING:
            yield "the user rings", lambda w: w.give(i.Ring())
            yield "the user rejects", reject
            if self.described:
                yield "the user accepts", accept
        if self.replacing and state is CallState.RINGING:
            yield "the stack answers", stack_answers
        if self.final and not self.acknowledged and self.attached and not self.ended_here:
            yield "ACK", acknowledge
        if self.answered and self.attached:
            yield "BYE", functools.partial(bye, tag="")
        if state is CallState.TALKING:
            yield "DTMF", dtmf

    def asked(self, item: i.Input) -> None:
        self.kms = False
        late = self.machine.state is not CallState.RESOLVING
        self.give(item)
        good = isinstance(item, i.KmsAnswered) and item.response == b"good"
        assert late or good == (self.machine.state is CallState.RINGING), "what the KMS said is not obeyed"

    def answered_with(self, output: o.Answer) -> None:
        super().answered_with(output)
        if output.status == 200:
            assert not self.final, "two final responses"
            self.final = 200
            if output.sdp is not None:
                self.described = output.sdp

    def check_media(self) -> None:
        super().check_media()
        if self.keys is not None:
            assert self.final or self.replacing, "keys before the user took the call"

    def check(self) -> None:
        super().check()
        state = self.machine.state
        if state is CallState.ANSWERING:
            assert self.final, "no 200"
        if self.acknowledged and self.attached and not self.ended_here:
            assert state is CallState.TALKING, f"{state} after ACK"
        if state is CallState.TALKING and self.lane is Lane.SECURED:
            assert self.keys is not None, "a call without keys"


def describe(world: CalleeWorld) -> None:
    """The stack makes its answer when the call comes in."""
    world.give(i.LocalDescription(sdp="stack", remote="offer"))
    world.described = "stack"


def accept(world: CalleeWorld) -> None:
    world.give(i.Accept())
    assert world.final == 200, "no answer"
    _answered(world)


def stack_answers(world: CalleeWorld) -> None:
    """The call that was judged takes the place of another: the stack answers by itself."""
    world.attached = world.invited = True
    world.give(i.Attached())
    world.give(i.LocalDescription(sdp="stack", remote="offer"))
    (text,) = [output.sdp for output in world.outputs if isinstance(output, o.Describe)]
    world.described, world.final = text, 200
    _answered(world)


def _answered(world: CalleeWorld) -> None:
    keying = world.keying
    sent = keying.made if isinstance(keying, FakeTicket) else world.described
    if world.lane is Lane.SECURED:
        assert world.described == "answer", "the 200 has no TRANSFER_RESP"
    world.stream_of = ""
    world.give(i.StreamCreated(index=0))
    world.give(i.Sent(message=i.Message(method="INVITE", status=200, to_tag="us", sdp=sent)))
    if world.lane is Lane.SECURED:
        assert world.keys is not None, "no keys"


def acknowledge(world: CalleeWorld) -> None:
    world.acknowledged = world.confirmed = True
    world.give(i.Confirmed())
    assert world.answered


def reject(world: CalleeWorld) -> None:
    world.give(i.Reject(status=486))
    assert world.ended_here


def dtmf(world: World) -> None:
    world.give(i.DtmfHeard(digit="1"))
    assert world.told(e.DtmfReceived), "a digit is lost"
