"""Offers of branches before one of them has the call (RFC 3311), each with a dialog of its own."""

from __future__ import annotations

import asyncio

from sipmikey.testing.kms import TestKms
from tests.agent.calls.test_branches import calling
from tests.agent.calls.test_update_before_the_200 import reliable, updated


def test_a_refused_offer_of_another_branch_leaves_the_streams_as_they_are(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[int, str]:
        async with calling(kms, speech, stack="python") as stage:
            first = await stage.device("first")
            await reliable(stage, first)
            await stage.heard_by(first)
            # It only rings: our offer has no answer of it, so that it may not offer.
            stage.peer.respond(stage.invite, 180, to_tag="second")
            await stage.caller.until(type="call.ringing", to_tag="second")
            refused = await updated(stage, await stage.device("second"), first.offers())
            first.is_refused()
            await stage.heard_by(first, len(first.ports.rtp) + 10)
            assert all(first.opens(packet) for packet in first.ports.rtp)
            stage.answers(first, 200)
            await stage.caller.until(type="call.answered")
            return refused.status, (await stage.hung_up())["reason"]

    assert asyncio.run(scenario()) == (491, "hangup")


def test_the_offer_of_a_branch_that_is_not_heard_has_it_heard(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[int, str]:
        async with calling(kms, speech, stack="python") as stage:
            first, second = await stage.device("first"), await stage.device("second")
            await reliable(stage, first)
            await reliable(stage, second)
            await stage.heard_by(second)
            taken = await updated(stage, first, first.offers(rekey=True))
            first.hears_answer(taken.sdp)
            await stage.heard_by(first, len(first.ports.rtp) + 10)
            assert first.opens(first.ports.rtp[-1])
            stage.answers(first, 200)
            await stage.caller.until(type="call.answered", to_tag="first")
            return taken.status, (await stage.hung_up())["reason"]

    assert asyncio.run(scenario()) == (200, "hangup")
