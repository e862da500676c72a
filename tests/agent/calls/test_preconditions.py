"""Preconditions (RFC 3312) at the callee: nothing rings before the caller's resources are there."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from sipmikey.sdp import Offerer
from sipmikey.sdp.preconditions.negotiation import Preconditions
from sipmikey.sip import SipMessage
from sipmikey.system import environment
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.offers import Callee, called, grant_of
from tests.agent.calls.scripted import description

REQUIRES = (("Require", "precondition"), ("Supported", "100rel"))


def stated(message: SipMessage) -> list[str]:
    return [line[2:] for line in message.sdp.splitlines() if line.startswith(("a=curr", "a=conf"))]


async def offered(kms: TestKms, callee: Callee, conditions: Preconditions) -> tuple[Offerer, str]:
    offerer = Offerer(environment(), grant=await grant_of(kms), called=CALLED)
    return offerer, offerer.make_offer(conditions.describe(description(callee.ports, profile="RTP/AVP")))


def prack(callee: Callee, response: SipMessage) -> None:
    """Acknowledge a reliable provisional response (RFC 3262)."""
    lines = [
        f"PRACK {response.uri('contact')} SIP/2.0",
        f"Via: SIP/2.0/UDP {callee.peer.address};branch=z9hG4bKprack{response.first('rseq')};rport",
        "Max-Forwards: 70",
        f"From: {response.first('from')}",
        f"To: {response.first('to')}",
        f"Call-ID: {response.first('call-id')}",
        f"CSeq: {int(response.first('rseq') or 0) % 1000 + 2} PRACK",
        f"RAck: {response.first('rseq')} 1 INVITE",
        "Content-Length: 0",
    ]
    callee.peer.send("\r\n".join(lines) + "\r\n\r\n", callee.address)


async def answer_to(callee: Callee, method: str, least: int = 200) -> SipMessage:
    """Return the next response to a request with *method*; acknowledge reliable ones on the way."""
    while True:
        response = await callee.peer.response(least=101)
        if response.status < 200 and response.first("rseq"):
            prack(callee, response)
        if response.method == method and response.status >= least:
            return response


def test_the_call_rings_once_the_caller_has_its_resources(kms: TestKms) -> None:
    """INVITE, reliable 183 with the answer, PRACK, UPDATE and its answer, 180, 200: one pair of keys."""

    async def scenario() -> dict[str, Any]:
        async with called(kms, answer=True, preconditions=True) as callee:
            conditions = Preconditions(ours=False, offers=True)
            offerer, sdp = await offered(kms, callee, conditions)
            callee.invited(sdp, headers=REQUIRES)
            progress = await answer_to(callee, "INVITE", least=180)
            assert progress.status == 183
            assert stated(progress) == [
                "curr:qos local sendrecv", "curr:qos remote none", "conf:qos remote sendrecv",
            ]  # fmt: skip
            keys = offerer.receive_answer(progress.to_tag, progress.sdp)
            session = offerer.choose(progress.to_tag)
            conditions.hear_answer(progress.sdp)
            conditions.reserved()
            assert conditions.must_tell
            assert (await answer_to(callee, "PRACK")).status == 200
            again = conditions.describe(description(callee.ports, profile="RTP/AVP"))
            callee.peer.offer_again(
                progress, callee.address, session.make_offer(again), method="UPDATE", cseq=1000
            )
            updated = await answer_to(callee, "UPDATE")
            assert updated.status == 200
            assert stated(updated) == ["curr:qos local sendrecv", "curr:qos remote sendrecv"]
            after = session.receive_answer(updated.sdp)
            final = await answer_to(callee, "INVITE")
            assert final.status == 200
            callee.peer.acknowledge(final, callee.address)
            answered = await callee.event(type="call.answered")
            assert keys.media[0].receive.master_key == after.media[0].receive.master_key
            callee.process.do("hangup", call=answered["call"])
            await callee.event(type="call.end")
            return answered

    security = asyncio.run(scenario())["security"]
    assert (security["media"], security["peer"]) == ("keyed", CALLER)


def test_a_caller_that_has_its_resources_is_rung_for_at_once(kms: TestKms) -> None:
    async def scenario() -> SipMessage:
        async with called(kms, answer=True, preconditions=True) as callee:
            offerer, sdp = await offered(kms, callee, Preconditions(ours=True, offers=True))
            callee.invited(sdp, headers=REQUIRES)
            final = await answer_to(callee, "INVITE")
            offerer.receive_answer(final.to_tag, final.sdp)
            callee.peer.acknowledge(final, callee.address)
            answered = await callee.event(type="call.answered")
            callee.process.do("hangup", call=answered["call"])
            await callee.event(type="call.end")
            return final

    assert stated(asyncio.run(scenario())) == ["curr:qos local sendrecv", "curr:qos remote sendrecv"]


def test_our_offer_states_what_is_there(kms: TestKms) -> None:
    async def scenario() -> SipMessage:
        async with called(kms, preconditions=True) as callee:
            callee.process.do("call", uri=CALLER, via=f"sip:alice@{callee.peer.address}")
            invite = await callee.peer.request("INVITE")
            callee.peer.respond(invite, 486, to_tag="x")
            await callee.event(type="call.end")
            return invite

    invite = asyncio.run(scenario())
    assert stated(invite) == ["curr:qos local sendrecv", "curr:qos remote none"]
    # RFC 3312 section 11: nothing is mandatory, so it need not be required.
    assert "a=des:qos mandatory" not in invite.sdp
    assert {"precondition", "100rel"} <= set((invite.first("supported") or "").split(", "))
    assert invite.first("require") is None
    assert "UPDATE" in (invite.first("allow") or "")


@pytest.mark.parametrize(
    ("line", "words"),
    [("a=des:sec mandatory e2e sendrecv\r\n", "unknown type sec")],
)
def test_what_cannot_be_met_is_refused_with_580(line: str, words: str, kms: TestKms) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any]]:
        async with called(kms, answer=True, preconditions=True) as callee:
            offerer = Offerer(environment(), grant=await grant_of(kms), called=CALLED)
            sdp = offerer.make_offer(description(callee.ports, profile="RTP/AVP", media_extra=line))
            callee.invited(sdp, headers=REQUIRES)
            return await callee.refused(), await callee.event(type="call.end")

    final, end = asyncio.run(scenario())
    assert (final.status, end["reason"]) == (580, "precondition-failure")
    assert words in end["detail"]
    # Neither an offer nor an answer: which precondition is at fault (RFC 3312 section 8).
    assert final.sdp.endswith("a=des:sec unknown e2e sendrecv\r\n")
    assert re.search(r"^m=audio 0 RTP/S?AVP ", final.sdp, re.MULTILINE)
