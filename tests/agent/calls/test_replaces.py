"""An INVITE with Replaces (RFC 3891): who may take a call's place, and what becomes of the call when not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLER
from tests.agent.calls.offers import Callee, called, offer_of
from tests.agent.calls.scripted import description

THIRD = "sip:carol@example.com"


@contextlib.asynccontextmanager
async def talking(kms: TestKms, speech: str, **settings: Any) -> AsyncIterator[tuple[Callee, str]]:
    """Bob's agent in a call with alice; the value of Replaces that names it."""
    kms.user(THIRD)
    async with called(kms, answer=True, play=speech, **settings) as callee:
        offerer, sdp = await offer_of(kms, callee.ports)
        callee.invited(sdp)
        final = await callee.peer.response()
        offerer.receive_answer(final.to_tag, final.sdp)
        callee.peer.acknowledge(final, callee.address)
        await callee.event(type="call.answered")
        yield callee, f"scripted;to-tag={final.to_tag};from-tag=scripted"


async def replace(callee: Callee, sdp: str, replaces: str, *, caller: str = THIRD) -> SipMessage:
    """Send an INVITE that wants the call's place; return the final response, acknowledged."""
    callee.invited(sdp, caller=caller, call_id="second", headers=(("Replaces", replaces),))
    final = await callee.peer.response()
    while final.first("call-id") != "second":
        final = await callee.peer.response()  # the 200 of the first call, repeated before its ACK came
    callee.peer.acknowledge(final, callee.address, branch="second")
    return final


async def refused(callee: Callee, sdp: str, replaces: str) -> tuple[SipMessage, dict[str, Any]]:
    """Have it refused, and see that the call in progress goes on; return the response and the event."""
    final = await replace(callee, sdp, replaces)
    asked = await callee.event(type="replacement.requested")
    before = len(callee.ports.rtp)
    await callee.ports.until_rtp(before + 10)
    callee.process.do("hangup", call="1")
    end = await callee.event(type="call.end", call="1")
    assert (end["reason"], end["side"]) == ("hangup", "local")
    return final, asked


def test_a_call_takes_the_place_of_another(kms: TestKms, speech: str) -> None:
    """Carol is answered at once, with keys from a ticket of her own; alice gets a BYE."""

    async def scenario() -> tuple[Callee, str, dict[str, Any]]:
        async with talking(kms, speech, transfer=True) as (callee, replaces):
            offerer, sdp = await offer_of(kms, callee.ports, caller=THIRD)
            final = await replace(callee, sdp, replaces)
            assert final.status == 200
            keyed = offerer.receive_answer(final.to_tag, final.sdp)
            bye = await callee.peer.request("BYE")
            assert bye.first("call-id") == "scripted"
            end = await callee.event(type="call.end")
            callee.process.do("stats", call="1")
            await callee.event(type="done")
            return callee, keyed.media[0].receive.master_key.fingerprint(), end

    callee, key, end = asyncio.run(scenario())
    assert (end["call"], end["reason"], end["side"]) == ("1", "replaced", "remote")
    events = {event["type"]: event for event in callee.process.seen if event.get("call") == "2"}
    assert events["call.answered"]["security"]["peer"] == THIRD
    assert events["media.keyed"]["send_key"] == key
    (asked,) = [event for event in callee.process.seen if event["type"] == "replacement.requested"]
    assert (asked["call"], asked["caller"], asked["new_call"]) == ("1", THIRD, "2")
    order = [event["type"] for event in callee.process.seen if event.get("call") == "2"]
    assert order.index("call.in") < order.index("kms.request") < order.index("media.keyed")


def test_nobody_is_let_in_unless_policy_allows_it(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any], Callee]:
        async with talking(kms, speech) as (callee, replaces):
            _, sdp = await offer_of(kms, callee.ports, caller=THIRD)
            return *await refused(callee, sdp, replaces), callee

    final, asked, callee = asyncio.run(scenario())
    assert (final.status, asked["status"], asked["new_call"]) == (403, 403, "")
    assert [event["type"] for event in callee.process.seen].count("kms.request") == 1


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("in clear", 488, None),
        ("stripped", 488, "key-mgmt-missing"),
        ("altered", 488, "auth-failure"),
        ("not the caller's", 403, "identity-mismatch"),
    ],
)
def test_a_bad_offer_replaces_nothing(
    fault: str, status: int, reason: str | None, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any], Callee]:
        async with talking(kms, speech, transfer=True) as (callee, replaces):
            _, sdp = await offer_of(kms, callee.ports, caller=CALLER if fault[0] == "n" else THIRD)
            if fault == "in clear":
                sdp = description(callee.ports, profile="RTP/AVP")
            elif fault == "stripped":
                sdp = description(callee.ports)
            elif fault == "altered":
                attribute = sdp.partition("a=key-mgmt:mikey ")[2].split("\r\n")[0]
                # The last octets are the MAC's.
                sdp = sdp.replace(attribute, attribute[:-8] + "AAAA" + attribute[-4:])
            return *await refused(callee, sdp, replaces), callee

    final, asked, callee = asyncio.run(scenario())
    assert (final.status, asked["status"], asked["new_call"]) == (status, status, "")
    ends = [event for event in callee.process.seen if event["type"] == "call.end" and event["call"] == "2"]
    assert [end["reason"] for end in ends] == ([] if reason is None else [reason])


def test_a_silent_kms_replaces_nothing(kms: TestKms, speech: str) -> None:
    """The engine waits for the KMS, but not for ever; the call in progress is heard all the while."""

    async def scenario() -> tuple[SipMessage, dict[str, Any]]:
        async with talking(kms, speech, transfer=True, kms_timeout=0.3) as (callee, replaces):
            _, sdp = await offer_of(kms, callee.ports, caller=THIRD)
            kms.delay(5.0)
            try:
                return await refused(callee, sdp, replaces)
            finally:
                kms.delay(0.0)

    final, asked = asyncio.run(scenario())
    assert (final.status, asked["status"]) == (500, 500)


def test_a_call_that_does_not_exist_or_only_rings_is_not_replaced(kms: TestKms, speech: str) -> None:
    async def scenario() -> list[int]:
        kms.user(THIRD)
        async with called(kms, ring=True, transfer=True) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp)
            ringing = await callee.peer.response(least=180)
            statuses = []
            for tag in (ringing.to_tag, "unknown"):
                _, second = await offer_of(kms, callee.ports, caller=THIRD)
                replaces = f"scripted;to-tag={tag};from-tag=scripted"
                headers = (("Replaces", replaces),)
                callee.invited(second, caller=THIRD, call_id=f"for-{tag}", headers=headers)
                final = await callee.peer.response()
                callee.peer.acknowledge(final, callee.address)
                statuses.append(final.status)
            callee.process.do("reject", call="1", status=486)
            await callee.event(type="call.end", call="1")
            return statuses

    assert asyncio.run(scenario()) == [481, 481]
