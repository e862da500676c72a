"""A device offers (UPDATE) between its reliable 183 and its 200: new keys, another address, no harm done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import Device, altered
from tests.agent.calls.scripted import RtpPorts
from tests.agent.calls.test_branches import Stage, calling
from tests.key_stream import KeyStream

SUITE = "AES_CM_128_HMAC_SHA1_80"


async def reliable(stage: Stage, device: Device, number: int = 1) -> None:
    """Answer in a reliable 183, and wait for its PRACK."""
    stage.peer.respond(
        stage.invite, 183, to_tag=device.tag, sdp=device.sdp,
        headers=(("Require", "100rel"), ("RSeq", str(number))),
    )  # fmt: skip
    await stage.peer.request("PRACK")


async def updated(stage: Stage, device: Device, sdp: str, cseq: int = 1) -> SipMessage:
    stage.peer.update(stage.invite, to_tag=device.tag, sdp=sdp, cseq=cseq)
    return await stage.peer.response()


def test_a_device_changes_its_address_and_its_keys_before_it_answers(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[KeyStream, dict[str, Any], SipMessage, list[dict[str, Any]]]:
        found = KeyStream()
        async with calling(kms, speech) as stage:
            device = await stage.device("first")
            found.add_key(SUITE, device.key)
            await reliable(stage, device)
            await stage.heard_by(device)
            # Another address, and the same keys: the stream goes on where it was.
            old, device.ports = device.ports, await RtpPorts.open()
            moved = await updated(stage, device, device.offers())
            assert moved.status == 200
            device.hears_answer(moved.sdp)
            await stage.heard_by(device)
            assert all(device.opens(packet) for packet in device.ports.rtp)
            # New keys.
            rekeyed = await updated(stage, device, device.offers(rekey=True), 2)
            assert rekeyed.status == 200
            device.hears_answer(rekeyed.sdp)
            found.add_key(SUITE, device.key)
            await stage.heard_by(device, len(device.ports.rtp) + 10)
            assert device.opens(device.ports.rtp[-1])
            # One that must be refused changes nothing.
            refused = await updated(stage, device, altered(device.offers(rekey=True)), 3)
            device.is_refused()
            # The description in the 200 is that of the first answer, and is ignored.
            stage.answers(device, 200)
            answered = await stage.caller.until(type="call.answered")
            await stage.heard_by(device, len(device.ports.rtp) + 10)
            assert device.opens(device.ports.rtp[-1])
            await stage.hung_up()
            for packet in old.rtp + device.ports.rtp + device.ports.rtcp:
                found.take(packet)
            return found, answered, refused, stage.caller.seen

    found, answered, refused, seen = asyncio.run(scenario())
    assert refused.status == 488
    assert "auth-failure" in (refused.first("warning") or "")
    assert answered["security"]["media"] == "keyed"
    assert (found.keys, found.foreign, found.repeated) == (2, 0, [])
    assert len([event for event in seen if event["type"] in ("media.keyed", "media.rekeyed")]) == 2


@pytest.mark.pjsua2_only("pjsip has one dialog for all branches; the stack in Python judges the offer")
def test_an_offer_of_a_branch_that_is_not_the_last_heard_changes_nothing(kms: TestKms, speech: str) -> None:
    """pjsip's dialog is that of the branch whose response came last: it knows no other."""

    async def scenario() -> tuple[list[int], dict[str, Any]]:
        async with calling(kms, speech) as stage:
            first, second = await stage.device("first"), await stage.device("second")
            await reliable(stage, first)
            await reliable(stage, second)
            await stage.heard_by(second)
            late = await updated(stage, first, first.offers(rekey=True))
            # It has only rung since: our offer has no answer of it.
            stage.peer.respond(stage.invite, 180, to_tag="third")
            await stage.caller.until(type="call.ringing", to_tag="third")
            unanswered = await updated(stage, await stage.device("third"), second.offers())
            second.is_refused()
            stage.answers(second, 200)
            await stage.caller.until(type="call.answered")
            await stage.heard_by(second, len(second.ports.rtp) + 10)
            assert all(second.opens(packet) for packet in second.ports.rtp)
            return [late.status, unanswered.status], await stage.hung_up()

    statuses, end = asyncio.run(scenario())
    assert statuses == [481, 491]
    assert end["reason"] == "hangup"
