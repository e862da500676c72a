"""Which calls a conference has, whatever happens to them and to other calls meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from sipmikey.agent.call import Call, CallFailed
from sipmikey.agent.conference import Conferences
from sipmikey.agent.driver.outcomes import Outcomes
from sipmikey.agent.engine import Engine
from sipmikey.agent.stack import Seat, StackError
from sipmikey.call.events import (
    CallConference,
    CallEnded,
    CallState,
    ConferenceChanged,
    Event,
    MediaProtection,
    PolicyRefused,
    Security,
)
from sipmikey.call.policy import CallPolicy, SecurityMode
from sipmikey.call.reasons import Reason
from sipmikey.mikey.errors import LocalError

CAROL = "sip:carol@example.com"
PROVEN = Security(signalling="tls", media=MediaProtection.PROVEN, peer="sip:bob@example.com")
SECURED = Security(signalling="tls", media=MediaProtection.PROVEN, peer=CAROL)
CLEAR = Security(signalling="tls", media=MediaProtection.OFF, peer=CAROL)
POLICY = CallPolicy(contacts={CAROL: SecurityMode.PREFERRED})


@dataclass(eq=False)
class Leg:
    """Stands for a call and for the stack's call."""

    number: str
    security: Security = PROVEN
    over: bool = False
    gone: bool = False
    answered: bool = True
    seats: list[Seat] = field(default_factory=list)
    fails: bool = False

    @property
    def live(self) -> Leg:
        return self

    def mixes_with(self, other: Leg) -> bool:
        return other is not self

    def seat(self, seat: Seat) -> None:
        if self.fails:
            raise StackError("the call is over")
        self.seats.append(seat)

    async def ended(self) -> CallEnded:
        return ended(self)


def ended(leg: Leg) -> CallEnded:
    return CallEnded(
        at=0.0, call=leg.number, reason=Reason.HANGUP, side="remote", status=200, detail="", duration_s=1.0,
        security=leg.security,
    )  # fmt: skip


class Engines:
    """Does work at once, and then what is to happen in the event loop meanwhile."""

    def __init__(self) -> None:
        self.meanwhile: list[Callable[[], None]] = []

    def post(self, work: Callable[[], object]) -> None:
        work()

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work())
        except StackError as error:
            future.set_exception(error)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return future


class Mixing:
    """An agent's conferences. ``events``: what they told."""

    def __init__(self) -> None:
        self.engine = Engines()
        self.events: list[Event] = []
        self.all = Conferences(cast("Engine", self.engine), POLICY, self._publish)

    def _publish(self, event: Event) -> None:
        """Take an event as the agent does: what conferences tell comes back to them."""
        self.events.append(event)
        self.all.follow(event)

    async def open(self, *legs: Leg) -> Any:
        return await self.all.open(*cast("tuple[Call, ...]", legs))

    def joined(self) -> list[tuple[str, bool]]:
        return [(one.call, one.joined) for one in self.events if isinstance(one, CallConference)]


def clear(mixing: Mixing, leg: Leg) -> None:
    leg.security = CLEAR
    mixing.all.follow(CallState(at=0.0, call=leg.number, state="clear", security=CLEAR))


def test_a_conference_is_followed_though_another_call_ends_while_it_is_opened() -> None:
    async def scenario() -> None:
        mixing, bob, carol, stranger = Mixing(), Leg("1"), Leg("2", SECURED), Leg("3")
        mixing.engine.meanwhile.append(lambda: mixing.all.follow(ended(stranger)))
        made = await mixing.open(bob, carol)
        clear(mixing, carol)
        assert made.legs == (bob,)
        assert carol.seats[-1] == Seat()
        assert any(isinstance(one, PolicyRefused) for one in mixing.events)

    asyncio.run(scenario())


def test_a_leg_that_is_proven_no_longer_is_told_as_the_weakest_until_it_is_again() -> None:
    """As when packets come under another SSRC, or ICE is restarted: the other leg is not concerned."""

    async def scenario() -> None:
        mixing, bob, carol = Mixing(), Leg("1"), Leg("2", SECURED)
        await mixing.open(bob, carol)
        for media in (MediaProtection.KEYED, MediaProtection.HELD, MediaProtection.PROVEN):
            carol.security = replace(SECURED, media=media)
            mixing.all.follow(CallState(at=0.0, call="2", state="keyed", security=carol.security))
        told = [(one.weakest, one.security) for one in mixing.events if isinstance(one, ConferenceChanged)]
        assert [(leg, security and security.media) for leg, security in told] == [
            ("1", MediaProtection.PROVEN), ("2", MediaProtection.KEYED), ("2", MediaProtection.HELD),
            ("1", MediaProtection.PROVEN),
        ]  # fmt: skip
        assert [len(leg.seats) for leg in (bob, carol)] == [1, 1], "nobody is moved"

    asyncio.run(scenario())


def test_a_conference_whose_last_call_ends_is_over_once() -> None:
    async def scenario() -> None:
        mixing, bob = Mixing(), Leg("1")
        made = await mixing.open(bob)
        mixing.all.follow(ended(bob))
        assert made.legs == ()
        assert [one.legs for one in mixing.events if isinstance(one, ConferenceChanged)] == [("1",), ()]

    asyncio.run(scenario())


def test_a_conference_that_was_empty_is_followed_when_calls_come_again() -> None:
    async def scenario() -> None:
        mixing, bob, carol = Mixing(), Leg("1"), Leg("2", SECURED)
        made = await mixing.open(bob)
        mixing.all.follow(ended(bob))
        await made.add(dave := Leg("3"), carol)
        clear(mixing, carol)
        assert made.legs == (dave,)

    asyncio.run(scenario())


def test_a_call_is_in_one_conference_only() -> None:
    async def scenario() -> None:
        mixing, bob, carol = Mixing(), Leg("1"), Leg("2", SECURED)
        first, second = await mixing.open(bob), await mixing.open(carol)
        with pytest.raises(LocalError, match="in a conference already"):
            await second.add(bob)
        with pytest.raises(LocalError, match="in a conference already"):
            await mixing.open(bob)
        await first.remove(bob)
        await second.add(bob)
        assert (first.legs, second.legs) == ((), (carol, bob))

    asyncio.run(scenario())


def test_nobody_hears_who_stepped_out_though_one_call_is_about_to_end() -> None:
    async def scenario() -> None:
        mixing, legs = Mixing(), [Leg("1"), Leg("2"), Leg("3")]
        made = await mixing.open(*legs)
        legs[0].gone = legs[0].fails = True
        await made.step_out()
        assert [leg.seats[-1].present for leg in legs] == [True, False, False]
        legs[1].fails = True
        with pytest.raises(StackError):
            await made.step_in()
        assert legs[2].seats[-1].present

    asyncio.run(scenario())


def test_a_call_that_turns_clear_while_it_is_let_in_is_not_in() -> None:
    async def scenario() -> None:
        mixing, bob, carol = Mixing(), Leg("1"), Leg("2", SECURED)
        made = await mixing.open(bob)
        mixing.engine.meanwhile += [lambda: None, lambda: clear(mixing, carol)]
        with pytest.raises(CallFailed):
            await made.add(carol)
        assert made.legs == (bob,)
        assert carol.seats[-1] == Seat()
        assert mixing.joined()[-1] == ("2", False)

    asyncio.run(scenario())


def test_what_the_stack_cannot_offer_fails_as_a_change_of_the_call() -> None:
    class Driver:
        number = "1"
        machine = cast("Any", Leg("1"))

        def take(self, proposal: Any) -> None:
            outcomes.settle(proposal.token, StackError("another offer is under way"))

    outcomes = Outcomes()

    async def scenario() -> None:
        call = Call(cast("Any", Driver()), cast("Engine", Engines()), outcomes)
        with pytest.raises(CallFailed, match="another offer is under way"):
            await call.move(new_transports=False)

    asyncio.run(scenario())
