"""An established call whose two sides change it, at once if they will: hold, new keys, glare, transfers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.state import CallState
from tests.call.called import CalleeWorld, accept, acknowledge, describe
from tests.call.calling import CallerWorld, respond, stack_invites
from tests.call.fakes import INTERVAL_S, FakeKeyings, FakeTicket
from tests.call.worlds import LOOKS, STACK_FAILED, bye, dtmf, look, start

Moves = Iterator[tuple[str, Callable[[Any], None]]]

TOKEN = 7


class _Talk:
    """What the two worlds have in common once the call is established.

    ``wanted``: the machine asked the stack for a re-INVITE. ``ours``: our offer is out: ``request``, or
    ``200`` where the peer's re-INVITE had none. ``theirs``: an offer of the peer waits for our answer.
    ``proposed``: tokens of changes that the user waits for. ``referred``: the user waits for a transfer.
    """

    def settle(self: Any, changes: bool, ages: bool, wishes: bool = False) -> None:
        """Begin with the established call. *changes*: explore offers within it, else all the rest.

        *ages*: the keys are replaced because of their age, and for nothing else. *wishes*: the user wants new
        keys, and a hold while they are under way, and the peer offers nothing itself.
        """
        self.changes, self.ages, self.wishes = changes, ages, wishes
        self.wanted = ""
        self.ours = self.theirs = ""
        self.proposed: frozenset[int] = frozenset()
        self.referred = False
        self.renews = False

    def _forget_absolute_counts(self: Any) -> None:
        super()._forget_absolute_counts()  # type: ignore[misc]
        if self.changes:
            self.machine._streams._switches.clear()

    def moves(self: Any) -> Moves:
        state = self.machine.state
        for name, move in self.common_moves():
            # What the counts say is explored apart from the changes, which are many by themselves.
            if not self.changes or not name.startswith("look"):
                yield name, move
        if state is CallState.TALKING and self.changes:
            yield from self.changes_of_ours()
            if not self.wishes:
                yield from self.changes_of_theirs()
        if state is CallState.TALKING and not self.changes:
            yield "propose hold", functools.partial(propose, kind=i.Kind.HOLD)
            yield "DTMF", dtmf
            yield "a stream is made again", lambda w: w.give(i.StreamCreated(index=0))
            yield "replaced", lambda w: w.give(i.Replaced())
            yield "a replacement is asked for", replacement
            yield "a transfer is asked for", transfer
            yield "given away", lambda w: w.give(i.GivenAway(given=True))
            yield "leave", lambda w: w.give(i.Leave())
            if not self.referred:
                yield "refer", refer
            else:
                yield "the transfer goes on", functools.partial(progress, final=False)
                yield "the transfer is done", functools.partial(progress, final=True)
        if self.attached:
            yield "BYE", functools.partial(bye, tag=self.machine._attempt.to_tag)

    def changes_of_ours(self: Any) -> Moves:
        busy = self.machine._renegotiation.busy
        if self.wishes:
            kind = i.Kind.HOLD if busy else i.Kind.REKEY
            yield f"propose {kind}", functools.partial(propose, kind=kind)
        elif not self.ages and not busy:
            for kind in (i.Kind.HOLD, i.Kind.REKEY):
                yield f"propose {kind}", functools.partial(propose, kind=kind)
        if self.wanted:
            if not self.theirs and self.ours != "200":
                # No stack offers while an offer waits for its answer (RFC 3264 section 4).
                yield "the stack sends the request", offers
            yield "the stack does not send the request", not_sent
        if self.ours == "request":
            for sdp in ("good", "bad") if self.wishes else ("good", "bad", "none", None):
                yield f"200 {sdp}", functools.partial(answered, status=200, sdp=sdp)
            for status in (488, 491) if self.wishes else (401, 488, 491):
                yield f"{status}", functools.partial(answered, status=status, sdp=None)
        if self.ours == "challenged":
            yield "the stack has a password", authorized
        if self.ours == "200":
            for sdp in ("good", "bad", "none", None):
                yield f"ACK {sdp}", functools.partial(acknowledged, sdp=sdp)

    def changes_of_theirs(self: Any) -> Moves:
        if not self.theirs and self.ours in ("", "request"):
            for sdp in ("rekey",) if self.ages else ("offer", "rekey", "bad"):
                yield f"the peer offers: {sdp}", functools.partial(peer_offers, sdp=sdp)
            if not self.ours and not self.wanted and not self.ages:
                yield "the peer wants an offer", functools.partial(offers, in_200=True)
        if self.theirs:
            yield "the stack answers the offer", answers
            yield "something else is answered", functools.partial(answers, altered=True)

    def carry_out(self: Any, output: o.Output) -> None:
        match output:
            case o.Reinvite() | o.Update():
                assert not self.wanted, "two requests at once"
                self.wanted = "re-INVITE"
            case o.ChangeDone():
                assert output.token in self.proposed, "a change is told to be over twice"
                self.proposed -= {output.token}
            case o.ReferDone():
                assert self.referred, "a transfer is told to be over twice"
                self.referred = False
            case _:
                super().carry_out(output)  # type: ignore[misc]

    def check(self: Any) -> None:
        super().check()  # type: ignore[misc]
        machine = self.machine
        if machine.state is not CallState.TALKING:
            assert not self.proposed, "the call ended, and a change that was proposed did not"
            return
        if o.Timer.GLARE not in self.timers and self.ours == "challenged":
            self.ours = ""
        idle = not (self.wanted or self.ours or o.Timer.GLARE in self.timers)
        assert idle != machine._renegotiation.busy, "the call is stuck for every later change"
        waiting = machine._renegotiation._waiting
        assert waiting is None or machine._renegotiation.busy, "a change waits for nothing"
        parts = (machine._renegotiation._change, waiting)
        known = {part.token for part in parts if part is not None} - {None}
        assert known == self.proposed, "a change that was proposed is lost"
        keying = machine._attempt.keying
        if isinstance(keying, FakeTicket) and not self.theirs:
            made = machine._renegotiation._made is not None or (self.keys is None and self.renews)
            assert made or self.keys in keying.held.values(), "the stream runs on other keys than agreed"


def propose(world: Any, kind: i.Kind) -> None:
    """The user asks for a change: it is sent, or waits for the one under way; a third is refused."""
    busy, waits = world.machine._renegotiation.busy, world.machine._renegotiation._waiting is not None
    token = min({TOKEN, TOKEN + 1, TOKEN + 2} - world.proposed)
    under_way = world.wanted
    world.proposed |= {token}
    world.give(i.Propose(kind=kind, token=token))
    assert (token in world.proposed) != waits, "a change is lost, or a third one is taken"
    sends = any(isinstance(output, o.Reinvite) for output in world.outputs)
    assert sends != busy, "a change is not sent, or beside another"
    assert world.wanted == ("re-INVITE" if sends else under_way)


def offers(world: Any, *, in_200: bool = False) -> None:
    """The stack makes the request, or the 200 that has an offer because the peer's re-INVITE had none."""
    world.wanted = ""
    world.give(i.LocalDescription(sdp="stack"))
    (text,) = [output.sdp for output in world.outputs if isinstance(output, o.Describe)]
    world.ours = "200" if in_200 else "request"
    status = 200 if in_200 else 0
    world.give(i.Sent(message=i.Message(method="INVITE", status=status, to_tag="x", sdp=text)))


def not_sent(world: Any) -> None:
    world.wanted = ""
    world.give(i.NotSent(output=o.Reinvite(), error=STACK_FAILED))


def _response(world: Any, status: int, sdp: str | None) -> i.Message:
    tag = world.machine._attempt.to_tag
    return i.Message(method="INVITE", status=status, to_tag=tag, sdp=sdp, phrase=f"{status} No")


def answered(world: Any, status: int, sdp: str | None) -> None:
    world.ours = "challenged" if status == 401 else ""
    world.give(i.Received(message=_response(world, status, sdp)))
    _judged(world, sdp, final=200 if status == 200 else 0)


def authorized(world: Any) -> None:
    """The stack sends the same request once more, with a password."""
    world.ours = "request"
    keying = world.keying
    world.give(i.Sent(message=i.Message(method="INVITE", to_tag="x", sdp=keying.made)))


def acknowledged(world: Any, sdp: str | None) -> None:
    world.ours = ""
    message = i.Message(method="ACK", to_tag=world.machine._attempt.to_tag, sdp=sdp)
    world.give(i.Received(message=message))
    _judged(world, sdp, final=200)


def _judged(world: Any, sdp: str | None, final: int) -> None:
    if final and world.lane is Lane.SECURED:
        refused = sdp != "good"
        assert refused == (world.machine.state is CallState.ENDING), "an answer was not judged"


def peer_offers(world: Any, sdp: str) -> None:
    world.give(i.RemoteOffer(sdp=sdp))
    (verdict,) = [output for output in world.outputs if isinstance(output, o.Permit | o.Refuse)]
    if world.ours:
        assert isinstance(verdict, o.Refuse), "two offers at once"
        assert verdict.status == 491
    else:
        assert isinstance(verdict, o.Permit) == (sdp != "bad"), "an offer was not judged"
    if isinstance(verdict, o.Permit):
        world.theirs = sdp
    assert world.machine.state is CallState.TALKING, "an offer that was refused ends the call"


def answers(world: Any, *, altered: bool = False) -> None:
    world.theirs = ""
    world.give(i.LocalDescription(sdp="stack", remote="offer"))
    (text,) = [output.sdp for output in world.outputs if isinstance(output, o.Describe)]
    sent = "altered" if altered else text
    message = i.Message(method="INVITE", status=200, to_tag="us", sdp=sent)
    world.give(i.Sent(message=message))
    assert altered == (world.machine.state is CallState.ENDING), "what was sent was not compared"


def refer(world: Any) -> None:
    world.referred = True
    world.give(i.Refer(target="sip:dave@example.com", token=TOKEN))
    assert any(isinstance(output, o.SendRefer) for output in world.outputs)


def progress(world: Any, *, final: bool) -> None:
    world.give(i.TransferProgress(status=200, final=final))
    assert world.referred != final


def replacement(world: Any) -> None:
    world.give(i.ReplacementAsked())
    assert o.Permit() in world.outputs


def transfer(world: Any) -> None:
    world.give(i.TransferAsked(target="sip:dave@example.com"))
    assert o.Permit() in world.outputs


class TalkingCaller(_Talk, CallerWorld):
    """A caller from the 200 on."""

    def __init__(self, *, changes: bool = True, rekey: bool = False, wishes: bool = False) -> None:
        super().__init__(tags="a")
        self.machine._keyings = FakeKeyings(INTERVAL_S)  # type: ignore[attr-defined]
        keying = self.keying
        assert isinstance(keying, FakeTicket)
        keying.rekey_s = INTERVAL_S if rekey else None
        self.settle(changes, rekey, wishes)
        start(self)
        stack_invites(self)
        respond(self, "a", 200, "good a")
        assert self.told(e.CallAnswered)
        look(self, LOOKS["a packet"])


class ReturnedCaller(_Talk, CallerWorld):
    """A caller from the 200 of a branch that was heard, then another was: its keys ran before."""

    def __init__(self) -> None:
        super().__init__(tags="ac")
        self.settle(changes=True, ages=True)
        self.renews = True
        start(self)
        stack_invites(self)
        for tag, status in (("a", 183), ("c", 183), ("a", 200)):
            respond(self, tag, status, f"good {tag}")
        assert self.told(e.CallAnswered)
        assert self.keys is None
        assert self.wanted, "the branch has the call, and no new keys are asked for"


class TalkingCallee(_Talk, CalleeWorld):
    """A callee from the ACK on."""

    def __init__(self, *, changes: bool = True, rekey: bool = False) -> None:
        super().__init__()
        keying = self.keying
        assert isinstance(keying, FakeTicket)
        keying.rekey_s = INTERVAL_S if rekey else None
        self.settle(changes, rekey)
        describe(self)
        start(self)
        self.asked(i.KmsAnswered(response=b"good"))
        accept(self)
        acknowledge(self)
        look(self, LOOKS["a packet"])
