"""A re-INVITE without an offer gets one in our 200; the answer in its ACK is judged like any other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sipmikey.keys.suite import SUITE_128
from sipmikey.sdp import Offerer
from sipmikey.sip import SipMessage
from sipmikey.system import environment
from sipmikey.ticket import FULL_MODE, RequestedKey, TicketPolicy, TicketRequest
from tests.agent.calls.offers import Callee, called
from tests.agent.calls.scripted import description
from tests.regress.kms.strange_kms import StrangeKms
from tests.sdp.parties import ALICE, BOB, KMS, credential


def offerer_of(kms: StrangeKms) -> Offerer:
    env = environment()
    keys = (RequestedKey(length=SUITE_128.key_length),)
    policy = TicketPolicy(
        suite=SUITE_128, flags=FULL_MODE, responders=(BOB,), kms=KMS, initiator=ALICE, requested_keys=keys
    )
    request = TicketRequest.start(env, policy=policy, credential=credential(ALICE), identity=ALICE, kms=KMS)
    return Offerer(env, grant=request.receive(kms.kms.request(request.message)), called=BOB)


async def invited(callee: Callee, final: SipMessage, sdp: str, cseq: int) -> SipMessage:
    """Send a re-INVITE; an empty *sdp* leaves the offer to the callee."""
    callee.peer.offer_again(final, callee.address, sdp, cseq=cseq)
    return await callee.peer.response()


async def talk(kms: StrangeKms) -> dict[str, Any]:
    settings = {
        "psk": credential(BOB).key.reveal().hex(), "psk_id": BOB, "kms_url": kms.url, "answer": True,
        "suites": ("128",),
    }  # fmt: skip
    async with called(None, **settings) as callee:
        offerer = offerer_of(kms)
        plain = description(callee.ports, profile="RTP/AVP")
        callee.invited(offerer.make_offer(plain), caller=ALICE)
        final = await callee.peer.response()
        offerer.receive_answer(final.to_tag, final.sdp)
        session = offerer.choose(final.to_tag)
        callee.peer.acknowledge(final, callee.address)
        await callee.event(type="call.answered")

        offered = await invited(callee, final, "", 2)
        session.receive_offer(offered.sdp)
        answer, keys = session.make_answer(plain)
        callee.peer.acknowledge(offered, callee.address, branch="ack2", sdp=answer)
        assert not keys.changed

        answered = await invited(callee, final, session.make_offer(plain, rekey=True), 3)
        assert answered.status == 200, answered.warning
        assert session.receive_answer(answered.sdp).changed
        callee.peer.acknowledge(answered, callee.address, branch="ack3")
        await callee.event(type="media.rekeyed")

        offered = await invited(callee, final, "", 4)
        callee.peer.acknowledge(offered, callee.address, branch="ack4", sdp=plain)
        return await callee.event(type="call.end")


@pytest.mark.processes
def test_the_answer_in_the_ack_is_judged_and_changes_go_on() -> None:
    with StrangeKms() as kms:
        end = asyncio.run(talk(kms))
    assert (end["reason"], end["side"]) == ("media-not-secured", "remote")
