"""Conferences: calls of one agent whose peers hear each other, mixed here."""

from __future__ import annotations

import functools
import itertools
import time
from asyncio import wrap_future
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from sipmikey.agent.call import Call, CallFailed
from sipmikey.agent.engine import Engine
from sipmikey.agent.stack import Seat, StackError
from sipmikey.call.conference import exposed, objection, weakest
from sipmikey.call.events import (
    CallConference,
    CallEnded,
    CallState,
    ConferenceChanged,
    Event,
    PolicyRefused,
    Security,
)
from sipmikey.call.policy import CallPolicy
from sipmikey.call.reasons import Reason
from sipmikey.mikey.errors import LocalError

Publish = Callable[[Event], None]


class Conference:
    """Calls that hear each other; made by ``Agent.conference``. In the event loop.

    Each call keeps its own keys, which this agent alone shares with its peer: the agent decrypts, mixes and
    encrypts again, so it hears all of them, and the peers have to trust it. No party hears itself. A party
    on hold, on either side, neither hears nor is heard until it is resumed.

    ``number`` is the ``conference`` field of the events. When the agent ends its calls, the conference is
    over for all. `step_out` lets the peers go on without the user.
    """

    def __init__(
        self, number: str, engine: Engine, policy: CallPolicy, publish: Publish, occupied: list[Conference]
    ) -> None:
        """*occupied*: the agent's conferences that have calls; this one adds and removes itself."""
        self.number = number
        self.present = True
        self._engine = engine
        self._policy = policy
        self._publish = publish
        self._occupied = occupied
        self._legs: dict[str, Call] = {}
        self._told: ConferenceChanged | None = None

    @property
    def legs(self) -> tuple[Call, ...]:
        """The calls in it, in the order in which they came."""
        return tuple(self._legs.values())

    @property
    def weakest(self) -> Call | None:
        """The call that is protected least: the conference is only as safe as that call."""
        return self._legs.get(weakest(self._facts()))

    @property
    def security(self) -> Security | None:
        """The facts of the ``weakest`` call; None without calls."""
        call = self.weakest
        return None if call is None else call.security

    async def add(self, *calls: Call) -> None:
        """Let each of *calls*, which are answered, hear and be heard by the others.

        Raises ``CallFailed`` when one is over, or with ``policy`` where it is not protected and another call
        has to be; ``LocalError`` when it is not answered yet, or cannot be mixed with the others. The
        calls listed before it are in the conference then.
        """
        try:
            for call in calls:
                await self._add(call)
        finally:
            self._tell()

    async def _add(self, call: Call) -> None:
        if call.number in self._legs:
            return
        await self._check(call)
        if call.number in self._legs:
            return
        _check_free(call, self._occupied)
        if refusal := objection(self._policy, {**self._facts(), call.number: call.security}):
            self._refused(call.number, refusal)
            raise CallFailed(Reason.POLICY, "local", 0, refusal)
        self._legs[call.number] = call
        if self not in self._occupied:
            self._occupied.append(self)
        try:
            await wrap_future(self._engine.submit(functools.partial(self._seat, call, self.present)))
        except StackError as error:
            self._legs.pop(call.number, None)
            raise LocalError(f"call {call.number}: {error}") from None
        if call.over:
            raise CallFailed.of(await call.ended())
        if call.number not in self._legs:
            raise CallFailed(Reason.POLICY, "local", 0, f"call {call.number} was taken out again")
        self._joined(call.number, joined=True)

    async def _check(self, call: Call) -> None:
        if call.over:
            raise CallFailed.of(await call.ended())
        if not call.answered:
            raise LocalError(f"call {call.number} is not answered yet")
        others = self.legs
        together = await wrap_future(
            self._engine.submit(lambda: all(call.live.mixes_with(other.live) for other in others))
        )
        if not together:
            raise LocalError(
                f"call {call.number} is in another process than the conference: a process holds four calls, "
                "and mixes those only"
            )

    async def remove(self, call: Call) -> None:
        """Take *call* out: it goes on, between its peer and the user of this agent only."""
        if self._legs.pop(call.number, None) is None:
            raise LocalError(f"call {call.number} is not in this conference")
        self._unseat(call)
        self._joined(call.number, joined=False)
        self._tell()

    async def step_out(self) -> None:
        """Let the peers go on without the user: the user neither hears them nor is heard."""
        await self._set_present(present=False)

    async def step_in(self) -> None:
        """Let the user speak and hear again."""
        await self._set_present(present=True)

    async def _set_present(self, *, present: bool) -> None:
        self.present = present
        legs = self.legs

        def seat() -> None:
            failed: list[StackError] = []
            for call in legs:
                # Whatever happens to one call, the others must not hear a user who stepped out.
                try:
                    self._seat(call, present)
                except StackError as error:
                    failed.append(error)
            if failed:
                raise failed[0]

        await wrap_future(self._engine.submit(seat))
        self._tell()

    async def hangup(self) -> None:
        """End the calls in it."""
        for call in self.legs:
            await call.hangup()

    def follow(self, event: Event) -> None:
        """Follow the events of its calls; called by the agent, in order."""
        if event.call not in self._legs or not isinstance(event, CallState | CallEnded):
            return
        if isinstance(event, CallEnded):
            del self._legs[event.call]
        elif refusal := objection(self._policy, self._facts()):
            self._refused(event.call, refusal)
            for number in exposed(self._facts()):
                self._unseat(self._legs.pop(number))
                self._joined(number, joined=False)
        self._tell()

    def _facts(self) -> Mapping[str, Security]:
        return {number: call.security for number, call in self._legs.items()}

    def _seat(self, call: Call, present: bool) -> None:
        """In the engine's thread. A call that ended since needs no seat."""
        if not call.gone:
            call.live.seat(Seat(room=self.number, present=present))

    def _unseat(self, call: Call) -> None:
        def unseat() -> None:
            if not call.gone:
                call.live.seat(Seat())

        self._engine.post(unseat)

    def _joined(self, number: str, *, joined: bool) -> None:
        self._publish(CallConference(at=time.time(), call=number, conference=self.number, joined=joined))

    def _refused(self, number: str, detail: str) -> None:
        self._publish(
            PolicyRefused(at=time.time(), call=number, reason=Reason.POLICY, side="local", detail=detail)
        )

    def _tell(self) -> None:
        """Tell the state of the conference, if it has changed since it was last told."""
        facts = self._facts()
        number = weakest(facts)
        told = ConferenceChanged(
            at=0.0, conference=self.number, legs=tuple(facts), present=self.present, weakest=number,
            security=facts.get(number),
        )  # fmt: skip
        if told != self._told:
            self._told = told
            self._publish(replace(told, at=time.time()))


def _check_free(call: Call, conferences: Iterable[Conference]) -> None:
    if any(leg.number == call.number for one in conferences for leg in one.legs):
        raise LocalError(f"call {call.number} is in a conference already")


class Conferences:
    """All conferences of an agent. In the event loop."""

    def __init__(self, engine: Engine, policy: CallPolicy, publish: Publish) -> None:
        self._engine = engine
        self._policy = policy
        self._publish = publish
        self._numbers = itertools.count(1)
        self._occupied: list[Conference] = []

    async def open(self, *calls: Call) -> Conference:
        """Return a new conference of *calls*.

        Raises as ``Conference.add`` does; none of them is in it then.
        """
        for call in calls:
            _check_free(call, self._occupied)
        made = Conference(str(next(self._numbers)), self._engine, self._policy, self._publish, self._occupied)
        try:
            await made.add(*calls)
        except BaseException:
            for leg in made.legs:
                await made.remove(leg)
            raise
        return made

    def follow(self, event: Event) -> None:
        """Follow the events of calls; called by the agent, in order."""
        for one in tuple(self._occupied):
            one.follow(event)
        # What a conference tells comes back here: by now it may have gone from the list.
        self._occupied[:] = [one for one in self._occupied if one.legs]
