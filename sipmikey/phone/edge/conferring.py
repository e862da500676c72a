"""The conference of an agent's user: at most one, of calls that are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from sipmikey.agent import Agent, Call, CallFailed
from sipmikey.agent.conference import Conference
from sipmikey.mikey.errors import LocalError

Change = Callable[[str], Awaitable[None]]
"""Puts the call of that number on hold, or takes it off."""


class Conferring:
    """*agent* returns the agent. *hold* and *resume* may raise ``CallFailed``."""

    def __init__(self, agent: Callable[[], Agent], *, hold: Change, resume: Change, held: set[str]) -> None:
        self._agent = agent
        self._hold = hold
        self._resume = resume
        self._held = held
        self._conference: Conference | None = None

    @property
    def legs(self) -> tuple[str, ...]:
        """Numbers of the calls in it."""
        return () if self._conference is None else tuple(call.number for call in self._conference.legs)

    async def join(self, *calls: Call) -> None:
        """Have *calls* hear each other and the user, and those that are in it already.

        They join while they are on hold, if they are: whom policy keeps out stays there.
        """
        conference = self._conference
        if conference is None or not conference.legs:
            self._conference = await self._agent().conference(*calls)
        else:
            await conference.add(*calls)
        await self.step_in()
        for call in calls:
            if call.number in self._held:
                await self._resume(call.number)

    async def split(self, call: Call) -> None:
        """Take *call* out, on hold, so that its peer does not overhear the user's next words."""
        conference = self.check(call.number)
        if call.number not in self._held:
            await self._hold(call.number)
        await conference.remove(call)
        await self.settle()

    async def step_out(self) -> None:
        """Let the others go on without the user."""
        if self._conference is not None and self._conference.present:
            await self._conference.step_out()

    async def step_in(self) -> None:
        """Let the user speak and hear again."""
        if self._conference is not None and not self._conference.present:
            await self._conference.step_in()

    async def end(self, number: str) -> None:
        """End all calls of the conference that call *number* is in."""
        await self.check(number).hangup()

    async def settle(self) -> None:
        """Make a plain call of the last one that is left, on hold where the user is not in the conference."""
        conference = self._conference
        if conference is None or len(conference.legs) > 1:
            return
        self._conference = None
        for call in conference.legs:
            if not conference.present and call.number not in self._held:
                with suppress(CallFailed):
                    await self._hold(call.number)
            await conference.remove(call)

    def check(self, number: str) -> Conference:
        """Return the conference that call *number* is in. Raises ``LocalError``."""
        if self._conference is None or number not in self.legs:
            raise LocalError(f"call {number} is not in a conference")
        return self._conference
