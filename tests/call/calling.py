"""The caller: branches that answer, refuse or redirect, and the user whom a new party needs."""

from __future__ import annotations

import functools

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.caller import CallerMachine
from sipmikey.call.keying.keying import KeyingKind
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.policy import CallPolicy, Retarget
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState
from tests.call.fakes import BOB, CAROL, ENV, GRANT, FakeKeyings, FakeTicket
from tests.call.worlds import ALICE, KMS_FAILED, PATIENCE, STACK_FAILED, Moves, World, bye, early_offer, start


class CallerWorld(World):
    """A caller and its branches, named by their To-tags. *answers*: the descriptions they may send.

    *kind*: the keying of the first INVITE, None for a ticket. *updates*: what they may offer before their
    200, once they have answered in a reliable 183.
    """

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
        kind: KeyingKind | None = None,
        updates: tuple[str, ...] = (),
    ) -> None:
        settings = CallSettings(
            identity=ALICE,
            policy=policy or CallPolicy(),
            patience=PATIENCE,
            many_dialogs=many_dialogs,
            redirects=redirects,
        )
        grant = None if clear else GRANT
        keyings = FakeKeyings()
        machine = CallerMachine("1", settings, ENV, keyings, uri=BOB, called=BOB, grant=grant, kind=kind)
        super().__init__(machine, settings)
        self.tags, self.answers_sent = tags, answers
        self.failures, self.contacts = failures, contacts
        self.updates = updates
        self.consents = settings.policy.retarget is not Retarget.ACCEPT

    def parts(self) -> object:
        hidden = (
            "outputs", "settings", "events", "done", "tags", "answers_sent", "failures", "contacts",
            "consents", "updates",
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
        if not self.consents and not self.answered:
            yield "an offer comes early", functools.partial(early_offer, tag=self.tags[0])
        for tag in self.unlike_tags():
            yield f"{tag}: 180", functools.partial(respond, tag=tag, status=180, sdp=None)
            for status in (183, 200):
                for answer in self.answers_sent:
                    sdp = f"{answer} {tag}" if answer in ("good", "other") else answer
                    yield (
                        f"{tag}: {status} {answer}",
                        functools.partial(respond, tag=tag, status=status, sdp=sdp),
                    )
            yield f"{tag}: 200", functools.partial(respond, tag=tag, status=200, sdp=None)
            for offer in () if self.answered else self.updates:
                yield f"{tag}: UPDATE {offer}", functools.partial(update, tag=tag, offer=offer)
            if tag in self.open_2xx:
                yield f"{tag}: BYE", functools.partial(bye, tag=tag)
        if not self.confirmed:
            for status in self.failures:
                yield f"{status}", functools.partial(fail, status=status)
            if self.ended_here:
                yield "487", functools.partial(fail, status=487)

    def unlike_tags(self) -> list[str]:
        """Return one To-tag of each set of branches that are alike: what one does, the others might."""
        if self.consents:
            return list(self.tags)
        unlike = {known(self, tag): tag for tag in reversed(self.tags)}
        return sorted(unlike.values())

    def event(self, event: e.Event) -> None:
        super().event(event)
        match event:
            case e.ForkCommitted() | e.CallAnswered() if self.settings.many_dialogs:
                # The stack's dialog, and with it the stream, is that branch's now.
                self.dialog = self.stream_of = event.to_tag
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
            left = {o.Timer.SETUP, o.Timer.LATE} & self.timers
            assert not left, f"timers of the set-up run in an established call: {left}"
            if isinstance(self.keying, FakeTicket):
                assert set(self.keying.held) == {self.machine._attempt.to_tag}, "keys of losers are kept"
        elif state is CallState.CALLING and self.settings.many_dialogs:
            assert not self.open_2xx, "a 2xx is neither taken nor ended"
        waits = state in (CallState.FETCHING, CallState.ASKING, CallState.CHOOSING)
        if waits or (state is CallState.CALLING and self.attached):
            assert o.Timer.SETUP in self.timers, "nothing ends an INVITE that is not answered"


def known(world: CallerWorld, tag: str) -> str:
    """Return what is known of branch *tag*, wherever it is named."""
    attempt, keying = world.machine._attempt, world.keying
    branches = attempt.branches
    last = attempt.last
    facts = (
        branches._states.get(tag, ""),
        type(branches._refused.get(tag)).__name__,
        branches._last is not None and branches._last is branches._refused.get(tag),
        tag in branches._settled,
        tag in branches._agreed and branches._agreed[tag].streams[:1] and branches._agreed[tag].suite,
        tag in world.open_2xx,
        tag == world.dialog,
        tag == world.stream_of,
        tag == attempt.to_tag,
        last is not None and last.to_tag == tag,
        (world.keys or "").endswith(tag),
        getattr(keying, "held", {}).get(tag, "")[:4],
        getattr(keying, "chosen", None) == tag,
        getattr(keying, "held", {}).get(tag) in world.given,
    )
    return repr(facts)


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
        world.dialog = tag
        world.give(i.Confirmed())
    reliable = bool(world.updates) and status == 183
    message = i.Message(method="INVITE", status=status, to_tag=tag, sdp=sdp, reliable=reliable)
    world.give(i.Received(message=message))
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


def update(world: CallerWorld, tag: str, offer: str) -> None:
    """A branch offers before its 200: it changes itself and no other, and is not heard before consent."""
    machine, keying = world.machine, world.keying
    branches, state = machine._attempt.branches, machine.state
    held: dict[str, str] = getattr(keying, "held", {})
    before, heard, media = dict(held), world.keys, world.stream_of
    agreed = dict(branches._agreed)
    waits = state is CallState.CALLING and machine.ending is None
    good = waits and branches.settled(tag) and branches.refusal(tag) is None and offer != "bad"
    world.give(i.RemoteOffer(sdp=offer, to_tag=tag))
    permitted = any(isinstance(output, o.Permit) for output in world.outputs)
    assert permitted == good, f"an offer that is {'good' if good else 'bad'} before the 200"
    if not permitted:
        assert (held, branches._agreed, world.keys) == (before, agreed, heard), (
            "a refused offer has an effect"
        )
        assert machine.state is state, "an offer that was refused ends the call"
        return
    world.give(i.LocalDescription(sdp="stack", remote=offer))
    (text,) = [output.sdp for output in world.outputs if isinstance(output, o.Describe)]
    # The stack makes its stream again, and leaves it the keys that it has.
    assert media == tag or world.keys is None, "the stream of another branch keeps its keys"
    world.stream_of = tag
    world.give(i.StreamCreated(index=0))
    world.give(i.Sent(message=i.Message(method="UPDATE", status=200, to_tag="x", sdp=text)))
    after = branches.agreement(tag)
    assert after is not None
    assert after.streams[0].send_key == held[tag], "the branch is not bound to what it agreed on last"
    assert (held[tag] != before[tag]) == (offer == "rekey")
    for other in before.keys() - {tag}:
        assert held[other] == before[other], "another branch has other keys"
        assert branches.agreement(other) is agreed[other], "another branch agreed on something else"
    accepted = (CAROL if tag == "b" else BOB) in world.accepted
    ran = (
        heard != held[tag] and (media != tag or heard is None) and held[tag] in world.given and not world.keys
    )
    assert (world.keys == held[tag]) == (accepted and not ran), "who offered is not heard, or too early"


def fail(world: CallerWorld, status: int) -> None:
    contacts = tuple(i.Contact(uri=uri) for uri in world.contacts) if 300 <= status < 400 else ()
    message = i.Message(method="INVITE", status=status, to_tag="f", phrase=f"{status} No", contacts=contacts)
    world.give(i.Received(message=message))
    world.disconnect(status)
    state = world.machine.state
    assert state in (CallState.OVER, CallState.CALLING, CallState.FETCHING, CallState.CHOOSING), state
