"""What becomes of the calls when our address changes: each is moved for itself, or ends and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

import pytest

from sipmikey.agent.call import Call, CallFailed
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.engine import Engine
from sipmikey.agent.network import moving, repair
from sipmikey.agent.network.moving import Moving
from sipmikey.agent.network.repair import Repair
from sipmikey.agent.registration import Registration
from sipmikey.agent.stack import StackError
from sipmikey.call.events import CallMoved, Event, MediaResumed, MediaRoute, MediaStalled
from sipmikey.call.reasons import Reason
from sipmikey.nat.addresses import Cause, Change

GONE = Change(cause=Cause.ADDRESS, before="192.0.2.1", now="192.0.2.2")
SLEPT = Change(cause=Cause.WAKING, before="192.0.2.1", now="192.0.2.1")


class FakeCall:
    """A call that *answers* an offer when that event is set."""

    def __init__(self, number: str, *, answered: bool = True, outgoing: bool = True) -> None:
        self.number = number
        self.answered = answered
        self.outgoing = outgoing
        self.over = False
        self.answers = asyncio.Event()
        self.offers = 0
        self.refusals = 0
        self.left_behind = ""

    async def move(self, *, new_transports: bool) -> None:
        self.offers += 1
        if self.refusals:
            self.refusals -= 1
            raise CallFailed(Reason.UNEXPECTED_MESSAGE, "local", 0, "an offer is under way")
        await self.answers.wait()

    def leave_behind(self, detail: str) -> None:
        self.left_behind = detail


class FakeEngine:
    def __init__(self) -> None:
        self.fails = False

    def follow_address(self) -> None:
        if self.fails:
            raise StackError("cannot listen")

    def submit(self, work: Callable[[], object]) -> Future[object]:
        done: Future[object] = Future()
        try:
            done.set_result(work())
        except StackError as error:
            done.set_exception(error)
        return done


class Fixture:
    def __init__(self, *calls: FakeCall) -> None:
        self.told: list[CallMoved] = []
        self.news = asyncio.Event()
        self.engine = FakeEngine()
        registration = Registration(
            identity="sip:a@example.com", registrar="", wait_s=1.0, publish=self._publish
        )
        self.moving = Moving(
            AgentConfig(identity="sip:a@example.com"),
            cast(Engine, self.engine),
            registration,
            calls=lambda: cast("tuple[Call, ...]", calls),
            publish=self._publish,
        )

    def _publish(self, event: Event) -> None:
        if isinstance(event, CallMoved):
            self.told.append(event)
            self.news.set()

    async def next(self) -> tuple[str, bool]:
        """Return the call that was told of next, and whether it was moved."""
        while not self.told:
            self.news.clear()
            await self.news.wait()
        event = self.told.pop(0)
        return event.call, event.moved


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_a_slow_peer_keeps_no_other_call_and_no_other_change_waiting() -> None:
    async def test() -> None:
        slow, fast = FakeCall("1"), FakeCall("2")
        fast.answers.set()
        fixture = Fixture(slow, fast)
        await fixture.moving.follow(GONE)
        assert await fixture.next() == ("2", True)
        await fixture.moving.follow(GONE)
        assert await fixture.next() == ("2", True)
        slow.answers.set()
        assert await fixture.next() == ("1", True)
        await asyncio.sleep(0)
        assert (slow.offers, fast.offers, fixture.told) == (2, 2, []), "the older offer was given up"

    run(test())


def test_what_is_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_WAITS_S", (0.0, 0.0))

    async def test() -> None:
        busy, never = FakeCall("1"), FakeCall("2")
        busy.refusals, never.refusals = 2, 3
        busy.answers.set()
        never.answers.set()
        fixture = Fixture(busy, never)
        await fixture.moving.follow(GONE)
        assert sorted([await fixture.next(), await fixture.next()]) == [("1", True), ("2", False)]

    run(test())


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("outgoing", [False, True])
def test_a_call_that_rings_ends_and_says_why(fails: bool, outgoing: bool) -> None:
    async def test() -> None:
        call = FakeCall("1", answered=False, outgoing=outgoing)
        fixture = Fixture(call)
        fixture.engine.fails = fails
        await fixture.moving.follow(SLEPT)
        assert (call.left_behind, fixture.told) == ("", []), "it can still be reached"
        await fixture.moving.follow(GONE)
        assert await fixture.next() == ("1", False)
        assert call.left_behind.startswith("our address changed from 192.0.2.1 to 192.0.2.2 before")
        assert call.offers == 0

    run(test())


ROUTE = MediaRoute(
    at=0.0, call="1", sip_call_id="x", index=0, way="relayed", local="192.0.2.1:1", local_kind="relay",
    remote="192.0.2.9:1", remote_kind="relay", relay="192.0.2.3",
)  # fmt: skip
STALLED = MediaStalled(
    at=0.0, call="1", index=0, reason=Reason.MEDIA_STALLED, side="network", detail="nothing", silent_s=5.0
)


@pytest.mark.parametrize("outgoing", [True, False])
def test_a_call_that_ice_led_is_moved_where_it_stalls(
    outgoing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_CALLEE_WAITS_S", 0.001)

    async def test() -> None:
        call = FakeCall("1", outgoing=outgoing)
        told: list[str] = []
        moved = asyncio.Event()

        async def look() -> None:
            told.append("servers asked")

        def move(one: Call) -> None:
            told.append(one.number)
            moved.set()

        made = Repair(lambda number: cast(Call, call) if number == "1" else None, look=look, move=move)
        made.follow(STALLED)
        await asyncio.sleep(0.02)
        assert told == [], "without ICE there is no other way"
        made.follow(ROUTE)
        made.follow(STALLED)
        made.follow(STALLED)
        await moved.wait()
        assert told == ["servers asked", "1"]
        moved.clear()
        made.follow(STALLED)
        made.follow(MediaResumed(at=0.0, call="1", index=0, silent_s=6.0))
        await asyncio.sleep(0.02)
        assert not moved.is_set(), "it came back by itself"

    run(test())
