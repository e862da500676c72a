"""Transfer: the new leg has a ticket of its own, and nobody is made to call without having said so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.test_caller import Pair, settings_of
from tests.agent.processes import Process, running_agent

THIRD = "sip:carol@example.com"


@contextlib.asynccontextmanager
async def three(kms: TestKms, speech: str, **bobs: Any) -> AsyncIterator[tuple[Pair, Process]]:
    """Alice and bob in a call, and carol, whom bob reaches through his outbound proxy."""
    async with running_agent(settings_of(kms, THIRD, speech, answer=True)) as carol:
        third = (await carol.until(type="ready"))["contact"].rpartition("@")[2]
        settings = settings_of(kms, CALLED, speech, answer=True, proxy=f"sip:{third};lr", **bobs)
        async with (
            running_agent(settings_of(kms, CALLER, speech)) as alice,
            running_agent(settings) as bob,
        ):
            await alice.until(type="ready")
            call = Pair(alice, bob, (await bob.until(type="ready"))["contact"])
            await call.talk()
            yield call, carol
            for process in (alice, bob, carol):
                assert await process.close() == 0


@pytest.mark.parametrize("prefetched", [True, False])
def test_a_transferred_peer_calls_with_a_ticket_of_its_own(
    prefetched: bool, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[Pair, Process]:
        async with three(kms, speech, transfer=True) as (call, carol):
            if prefetched:
                call.bob.do("prefetch", uri=THIRD)
                await call.bob.until(type="kms.response", exchange="ticket-request")
            call.alice.do("transfer", call="1", target=THIRD)
            end = await call.alice.until(type="call.end")
            assert (end["reason"], end["side"]) == ("transferred", "local")
            await carol.until(type="call.state", state="proven")
            await call.bob.until(type="call.end", call="1")
            call.bob.do("hangup", call="1")
        return call, carol

    call, carol = asyncio.run(scenario())
    asked = [event for event in call.bob.seen if event["type"] == "transfer.requested"]
    *earlier, last = [event["status"] for event in asked]
    assert last == 202
    assert set(earlier) == (set() if prefetched else {480})
    tickets = {event["security"]["ticket"] for event in call.bob.seen if event["type"] == "call.answered"}
    assert len(tickets) == 2
    (answered,) = [event for event in carol.seen if event["type"] == "call.answered"]
    assert answered["security"]["peer"] == CALLED


def test_a_transfer_is_declined_unless_policy_allows_it(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[dict[str, Any], Pair]:
        async with three(kms, speech) as (call, _):
            call.alice.do("transfer", call="1", target=THIRD)
            failed = await call.alice.until(type="failed")
            await call.hang_up()
            return failed, call

    failed, call = asyncio.run(scenario())
    assert (failed["reason"], failed["status"]) == ("declined", 603)
    (asked,) = [event for event in call.bob.seen if event["type"] == "transfer.requested"]
    assert (asked["status"], asked["new_call"]) == (603, "")
