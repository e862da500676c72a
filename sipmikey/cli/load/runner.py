"""Making calls at a rate, whatever becomes of those before."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sipmikey.agent import Agent, Call, CallFailed
from sipmikey.cli.load.figures import MadeCall
from sipmikey.mikey.errors import SipmikeyError

PROOF_S = 10.0
LEAST_GAP_S = 0.02
"""Between two calls: pjsua2 aborts on two of one process within about 10 ms."""


@dataclass(kw_only=True)
class Load:
    """*count* calls to *uri*, *rate* a second, each held for *hold_s* seconds after its media was proven.

    At most *at_once* are held at a time: a call that is due waits for its turn then, which ``late`` counts.
    ``calls`` are those that are over, ``most_at_once`` how many there were at a time.
    """

    agent: Agent
    uri: str
    via: str | None
    count: int
    rate: float
    hold_s: float
    at_once: int
    progress: Callable[[MadeCall], None] = lambda made: None
    calls: list[MadeCall] = field(default_factory=list)
    late: int = 0
    most_at_once: int = 0
    _now: int = 0
    _last: float = 0.0

    async def run(self) -> float:
        """Make all calls; return the seconds from the first order to the last end."""
        turns = asyncio.Semaphore(self.at_once)
        began = time.monotonic()
        tasks: list[asyncio.Task[None]] = []
        try:
            for number in range(self.count):
                due = began + number / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if turns.locked():
                    self.late += 1
                await turns.acquire()
                await asyncio.sleep(max(0.0, self._last + LEAST_GAP_S - time.monotonic()))
                self._last = time.monotonic()
                tasks.append(asyncio.create_task(self._call(turns)))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return time.monotonic() - began

    async def _call(self, turns: asyncio.Semaphore) -> None:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            made = await self._made()
        finally:
            self._now -= 1
            turns.release()
        self.calls.append(made)
        self.progress(made)

    async def _made(self) -> MadeCall:
        began = time.monotonic()
        answered_ms: float | None = None
        call: Call | None = None
        try:
            call = await self.agent.call(self.uri, via=self.via)
            await call.established()
            answered_ms = (time.monotonic() - began) * 1e3
            await asyncio.wait_for(call.proven(), PROOF_S)
            proven_ms = (time.monotonic() - began) * 1e3
            await asyncio.sleep(self.hold_s)
            if call.over:
                end = await call.ended()
                return MadeCall(answered_ms=answered_ms, proven_ms=proven_ms, reason=f"early {end.reason}")
            return MadeCall(answered_ms=answered_ms, proven_ms=proven_ms)
        except CallFailed as error:
            return MadeCall(answered_ms=answered_ms, reason=str(error.reason))
        except TimeoutError:
            return MadeCall(answered_ms=answered_ms, reason="media-unproven")
        except SipmikeyError as error:
            return MadeCall(answered_ms=answered_ms, reason=type(error).__name__)
        finally:
            if call is not None and not call.over:
                with contextlib.suppress(SipmikeyError):
                    await call.hangup()
