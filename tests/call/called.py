"""The callee: its KMS, its user, and a caller that cancels or offers early."""

from __future__ import annotations

import functools

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.callee import CalleeMachine, Invitation
from sipmikey.call.keying.clear_keying import ClearKeying
from sipmikey.call.keying.keying import Keying
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.policy import CallPolicy
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState
from tests.call.fakes import BOB, ENV, FakeSdes, FakeTicket
from tests.call.worlds import (
    ALICE,
    KMS_FAILED,
    PATIENCE,
    STACK_FAILED,
    Moves,
    World,
    bye,
    dtmf,
    early_offer,
    start,
)


class _ConnectionBroke(AgentError):
    """The KMS may have the question, and would take the same again for a replay."""

    ask_again = True


KMS_BROKE = _ConnectionBroke(Reason.KMS_UNREACHABLE, "the connection broke", side="kms")


class CalleeWorld(World):
    """A callee, its KMS and its user."""

    def __init__(
        self,
        *,
        lane: Lane = Lane.SECURED,
        offer: str | None = "offer",
        refusal: BaseException | None = None,
        replacing: bool = False,
        tickets: int = 1,
    ) -> None:
        settings = CallSettings(identity=BOB, policy=CallPolicy(), patience=PATIENCE)
        keyings: dict[Lane, Keying] = {
            Lane.SECURED: FakeTicket(calls=False, tickets=tickets),
            Lane.BY_STACK: FakeSdes(calls=False),
            Lane.CLEAR: ClearKeying(),
        }
        keying = keyings.get(lane)
        if lane is Lane.BY_STACK and keying is not None:
            keying.receive_offer(offer)
        invitation = Invitation(caller=ALICE, called=BOB, sdp=offer)
        machine = CalleeMachine("1", settings, ENV, invitation, keying, refusal=refusal, replacing=replacing)
        super().__init__(machine, settings)
        self.replacing = replacing
        self.attached = self.invited = not replacing
        self.described = ""
        self.final = 0
        self.acknowledged = False
        self.theirs = ""
        self.broke = False
        self.unresolved = tickets

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
            yield "the KMS refuses", lambda w: w.asked(i.KmsAnswered(response=b"refused"))
            yield "the KMS fails", lambda w: w.asked(i.KmsFailed(error=KMS_FAILED))
            yield "the connection to the KMS breaks", lambda w: w.asked(i.KmsFailed(error=KMS_BROKE))
        if self.attached and not self.final and not self.ended_here:
            yield "the caller cancels", lambda w: w.disconnect(487)
        if self.ringing and state is CallState.RINGING:
            yield "the user rings", lambda w: w.give(i.Ring())
            yield "the user rejects", reject
            if self.described:
                yield "the user accepts", accept
        if self.replacing and state is CallState.RINGING:
            yield "the stack answers", stack_answers
        if self.attached and not self.final and not self.ended_here:
            yield "an offer comes early", early_offer
            if state is CallState.RINGING:
                yield "the 180 is not sent", lambda w: w.give(i.NotSent(output=RINGING, error=STACK_FAILED))
        if state is CallState.ANSWERING:
            yield "the 200 is not sent", lambda w: w.give(i.NotSent(output=ANSWER, error=STACK_FAILED))
            if not self.theirs:
                yield "an offer comes before the ACK", offer_before_ack
        if self.theirs and not self.ended_here:
            yield "the stack answers the UPDATE", answer_update
        if self.ended_here and self.attached and not self.final:
            yield "the refusal is not sent", refusal_not_sent
        if self.final and not self.acknowledged and self.attached and not self.ended_here:
            yield "ACK", acknowledge
        if self.answered and self.attached:
            yield "BYE", functools.partial(bye, tag="")
        if state is CallState.TALKING:
            yield "DTMF", dtmf

    def asked(self, item: i.Input) -> None:
        self.kms = False
        late = self.machine.state is not CallState.RESOLVING
        again = isinstance(item, i.KmsFailed) and item.error is KMS_BROKE and not self.broke
        good = isinstance(item, i.KmsAnswered) and item.response == b"good"
        self.unresolved -= good
        self.broke |= again
        self.give(item)
        if late:
            return
        assert self.kms == (again or (good and self.unresolved > 0)), "the KMS is asked too often, or not"
        rings = self.machine.state is CallState.RINGING
        assert rings == (good and not self.unresolved), "what the KMS said is not obeyed"

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
        if state in (CallState.ANSWERING, CallState.TALKING) and not self.theirs:
            assert not self.machine._renegotiation.answering, "an offer waits for its answer for ever"
            assert self.machine._renegotiation._made is None, "an answer that went out has no effect"


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


RINGING = o.Answer(status=180)
ANSWER = o.Answer(status=200)


def offer_before_ack(world: CalleeWorld) -> None:
    """The caller sends an UPDATE with an offer right behind its ACK, and overtakes that."""
    world.give(i.RemoteOffer(sdp="offer"))
    world.theirs = "offer" if any(isinstance(output, o.Permit) for output in world.outputs) else ""


def answer_update(world: CalleeWorld) -> None:
    world.theirs = ""
    world.give(i.LocalDescription(sdp="stack", remote="offer"))
    (text,) = [output.sdp for output in world.outputs if isinstance(output, o.Describe)]
    world.give(i.Sent(message=i.Message(method="UPDATE", status=200, to_tag="us", sdp=text)))


def refusal_not_sent(world: CalleeWorld) -> None:
    world.attached = world.ended_here = False
    world.give(i.NotSent(output=o.Answer(status=488), error=STACK_FAILED))


def acknowledge(world: CalleeWorld) -> None:
    world.acknowledged = world.confirmed = True
    world.give(i.Confirmed())
    assert world.answered


def reject(world: CalleeWorld) -> None:
    world.give(i.Reject(status=486))
    assert world.ended_here
