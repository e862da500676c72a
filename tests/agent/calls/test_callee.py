"""What the callee takes, what it refuses and why, and that nothing of it is ever in clear."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from sipmikey.media.keying import StreamKey
from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.offers import Callee, called, grant_of, offer_of
from tests.agent.calls.scripted import description

PLAIN = "RTP/AVP"


async def final_of(callee: Callee, sdp: str, **more: Any) -> tuple[SipMessage, dict[str, Any]]:
    """Send an INVITE that is refused; return the response and the event that ends the call."""
    callee.invited(sdp, **more)
    return await callee.refused(), await callee.event(type="call.end")


@pytest.mark.parametrize(
    ("settings", "profile", "status", "reason"),
    [
        ({"security": "required"}, PLAIN, 488, "key-mgmt-missing"),
        ({"security": "required"}, "RTP/SAVP", 488, "key-mgmt-missing"),
        ({"security": "preferred"}, PLAIN, 488, "key-mgmt-missing"),
        ({"security": "preferred", "fallback": "incoming"}, "RTP/SAVP", 488, "key-mgmt-missing"),
        ({"security": "off"}, "RTP/SAVP", 488, "policy"),
        ({"security": "off", "contacts": {CALLER: "required"}}, PLAIN, 488, "key-mgmt-missing"),
    ],
)
def test_offers_without_key_management_that_policy_refuses(
    settings: dict[str, Any], profile: str, status: int, reason: str, kms: TestKms
) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any], Callee]:
        async with called(kms, **settings) as callee:
            final, end = await final_of(callee, description(callee.ports, profile=profile))
        return final, end, callee

    final, end, callee = asyncio.run(scenario())
    assert (final.status, end["reason"], end["status"]) == (status, reason, status)
    assert (final.warning or "").startswith(f"{reason}: ")
    assert callee.ports.rtp == []
    assert callee.ports.rtcp == []


@pytest.mark.parametrize(
    "settings",
    [
        {"security": "off"},
        {"security": "preferred", "fallback": "incoming"},
        {"security": "required", "contacts": {CALLER: "off"}},
    ],
)
def test_offers_in_clear_that_policy_takes_are_shown_as_clear(
    settings: dict[str, Any], kms: TestKms, speech: str
) -> None:
    async def scenario() -> dict[str, Any]:
        async with called(kms, answer=True, play=speech, **settings) as callee:
            callee.invited(description(callee.ports, profile=PLAIN))
            final = await callee.peer.response()
            callee.peer.acknowledge(final, callee.address)
            answered = await callee.event(type="call.answered")
            await callee.ports.until_rtp(5)
            callee.process.do("hangup", call=answered["call"])
            await callee.event(type="call.end")
            return answered

    security = asyncio.run(scenario())["security"]
    assert security["media"] == "off"
    assert security["peer"] is None


def test_preferred_takes_keys_where_they_are_offered(kms: TestKms, speech: str) -> None:
    async def scenario() -> dict[str, Any]:
        settings = {"security": "preferred", "fallback": "incoming"}
        async with called(kms, answer=True, play=speech, **settings) as callee:
            offerer, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp)
            final = await callee.peer.response()
            offerer.receive_answer(final.to_tag, final.sdp)
            callee.peer.acknowledge(final, callee.address)
            answered = await callee.event(type="call.answered")
            callee.process.do("hangup", call=answered["call"])
            await callee.event(type="call.end")
            return answered

    security = asyncio.run(scenario())["security"]
    assert (security["media"], security["peer"]) == ("keyed", CALLER)


def test_a_stripped_line_does_not_push_preferred_down(kms: TestKms) -> None:
    """What is left of a protected offer is RTP/SAVP without keys: refused also where clear is accepted."""

    async def scenario() -> dict[str, Any]:
        async with called(kms, security="preferred", fallback="both") as callee:
            _, sdp = await offer_of(kms, callee.ports)
            stripped = "\r\n".join(line for line in sdp.split("\r\n") if "key-mgmt" not in line)
            return (await final_of(callee, stripped))[1]

    assert asyncio.run(scenario())["reason"] == "key-mgmt-missing"


def test_an_offer_that_is_refused_opens_no_media_socket(kms: TestKms) -> None:
    """pjmedia takes the next port for each media socket it opens: the first call taken has the first one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        first = free.getsockname()[1] & ~1

    async def scenario() -> tuple[list[str], SipMessage]:
        async with called(kms, answer=True, rtp_port=first) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            _, of_another = await offer_of(kms, callee.ports, caller="sip:carol@example.com")
            line = next(line for line in sdp.split("\r\n") if "key-mgmt" in line)
            changed = ("a=key-mgmt:mikey AAAA", f"{line}\r\n{line}", line.replace("mikey ", "mikey A", 1))
            bad = [description(callee.ports), "", of_another, *(sdp.replace(line, one) for one in changed)]
            reasons = [
                (await final_of(callee, offer, call_id=str(number)))[1]["reason"]
                for number, offer in enumerate(bad)
            ]
            callee.invited(sdp, call_id="good")
            final = await callee.peer.response()
            callee.peer.acknowledge(final, callee.address)
            answered = await callee.event(type="call.answered")
            callee.process.do("hangup", call=answered["call"])
            await callee.event(type="call.end", call=answered["call"])
            return reasons, final

    reasons, final = asyncio.run(scenario())
    assert reasons[:3] == ["key-mgmt-missing", "offer-missing", "identity-mismatch"]
    media = next(line for line in final.sdp.split("\r\n") if line.startswith("m="))
    assert int(media.split()[1]) == first


def test_an_invite_without_offer_is_refused(kms: TestKms) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any]]:
        async with called(kms) as callee:
            return await final_of(callee, "")

    final, end = asyncio.run(scenario())
    assert (final.status, end["reason"]) == (488, "offer-missing")


@pytest.mark.parametrize(
    ("headers", "trusted", "reason"),
    [
        ((), (), "identity-mismatch"),
        ((("P-Asserted-Identity", f"<{CALLER}>"),), (), "identity-mismatch"),
        ((("P-Asserted-Identity", f"<{CALLER}>"),), ("127.0.0.1",), None),
        ((("P-Asserted-Identity", "<sip:mallory@example.com>"),), ("127.0.0.1",), "identity-mismatch"),
    ],
)
def test_the_initiator_must_be_the_sip_caller(
    headers: tuple[tuple[str, str], ...], trusted: tuple[str, ...], reason: str | None, kms: TestKms
) -> None:
    async def scenario() -> str | None:
        async with called(kms, trusted=trusted) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp, caller="sip:mallory@example.com", headers=headers)
            if reason is None:
                await callee.event(type="rings", caller=CALLER)
                callee.process.do("reject", call="1", status=486)
                await callee.refused()
                return None
            assert (await callee.refused()).status == 403
            return str((await callee.event(type="call.end"))["reason"])

    assert asyncio.run(scenario()) == reason


def test_a_replayed_offer_is_refused(kms: TestKms) -> None:
    async def scenario() -> dict[str, Any]:
        async with called(kms) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp, call_id="one")
            await callee.event(type="rings")
            callee.process.do("reject", call="1", status=486)
            await callee.refused()
            await callee.event(type="call.end", call="1")
            return (await final_of(callee, sdp, call_id="two"))[1]

    assert asyncio.run(scenario())["reason"] == "replayed-message"


@pytest.mark.parametrize("keeps", [True, False])
def test_a_ticket_used_again_is_resolved_again_unless_it_may_be_kept(keeps: bool, kms: TestKms) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with called(kms, keep_resolved=keeps) as callee:
            grant = await grant_of(kms)
            for number in ("1", "2"):
                _, sdp = await offer_of(kms, callee.ports, grant=grant)
                callee.invited(sdp, call_id=number)
                await callee.event(type="rings", call=number)
                callee.process.do("reject", call=number, status=486)
                await callee.refused()
                await callee.event(type="call.end", call=number)
            return callee.process.seen

    seen = asyncio.run(scenario())
    answers = [event for event in seen if event["type"] == "kms.response"]
    assert len(answers) == (1 if keeps else 2)
    assert {event["answerer"] for event in answers} == {CALLED}


def test_a_cancel_while_the_kms_is_asked(kms: TestKms) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any], list[dict[str, Any]]]:
        async with called(kms) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            kms.delay(0.5)
            try:
                callee.invited(sdp)
                await callee.event(type="kms.request")
                callee.peer.cancel(callee.address, caller=CALLER)
                final = await callee.refused()
                while final.status != 487:
                    final = await callee.refused()
                end = await callee.event(type="call.end")
            finally:
                kms.delay(0)
            return final, end, callee.process.seen

    final, end, seen = asyncio.run(scenario())
    assert final.status == 487
    assert (end["reason"], end["side"]) == ("cancelled", "remote")
    assert not [event for event in seen if event["type"] == "rings"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("slow", "kms-timeout"), ("shut", "kms-unreachable"), ("wrong key", "kms-refused")],
)
def test_trouble_with_the_kms_at_the_callee(trouble: str, reason: str, kms: TestKms) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any], Callee]:
        settings: dict[str, Any] = {"kms_timeout": 0.3}
        if trouble == "wrong key":
            settings["psk"] = "00" * 32
        async with called(kms, **settings) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            kms.delay(1.0 if trouble == "slow" else 0)
            kms.shut(trouble == "shut")
            try:
                final, end = await final_of(callee, sdp)
            finally:
                kms.delay(0)
                kms.shut(False)
        return final, end, callee

    final, end, callee = asyncio.run(scenario())
    assert (final.status, end["reason"], end["side"]) == (500, reason, "kms")
    assert final.warning == reason
    assert callee.ports.rtp == []


def test_no_kms_is_a_reason_too(kms: TestKms) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any]]:
        async with called(None) as callee:
            _, sdp = await offer_of(kms, callee.ports)
            return await final_of(callee, sdp)

    final, end = asyncio.run(scenario())
    assert (final.status, end["reason"]) == (500, "no-kms")


def test_an_answer_is_in_the_200_and_media_runs_on_its_keys(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Callee, bytes]:
        async with called(kms, answer=True, ring=True, play=speech) as callee:
            offerer, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp)
            assert (await callee.peer.response(180)).sdp == ""
            final = await callee.peer.response()
            keyed = offerer.receive_answer(final.to_tag, final.sdp)
            callee.peer.acknowledge(final, callee.address)
            await callee.ports.until_rtp(10)
            answered = await callee.event(type="call.answered")
            callee.process.do("hangup", call=answered["call"])
            await callee.event(type="call.end")
            await callee.ports.until_rtcp()
            return callee, StreamKey.of(keyed.media[0].receive).keying().reveal()

    callee, key = asyncio.run(scenario())
    session = Session(policy=Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))
    assert all(session.unprotect(packet) for packet in callee.ports.rtp)
    assert all(session.unprotect_rtcp(packet) for packet in callee.ports.rtcp)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("profile", [PLAIN, "RTP/SAVP"])
def test_a_later_offer_without_keys_is_refused_and_the_call_stays_secured(
    method: str, profile: str, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[SipMessage, Callee, bytes]:
        async with called(kms, answer=True, play=speech) as callee:
            offerer, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp)
            final = await callee.peer.response()
            keyed = offerer.receive_answer(final.to_tag, final.sdp)
            callee.peer.acknowledge(final, callee.address)
            await callee.event(type="call.answered")
            port = description(callee.ports, profile=profile).replace("a=rtpmap", "a=inactive\r\na=rtpmap", 1)
            extra = "m=audio 9000 RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n" if profile != PLAIN else ""
            callee.peer.offer_again(final, callee.address, port + extra, method=method)
            refused = await callee.peer.response()
            before = len(callee.ports.rtp)
            await callee.ports.until_rtp(before + 10)
            callee.process.do("hangup", call="1")
            await callee.event(type="call.end")
            return refused, callee, StreamKey.of(keyed.media[0].receive).keying().reveal()

    refused, callee, key = asyncio.run(scenario())
    assert refused.status == 488
    session = Session(policy=Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))
    assert all(session.unprotect(packet) for packet in callee.ports.rtp)


def test_a_fifth_incoming_call_is_turned_away(kms: TestKms) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any]]:
        async with called(kms) as callee:
            for number in range(4):
                _, sdp = await offer_of(kms, callee.ports)
                callee.invited(sdp, call_id=f"call{number}")
                await callee.event(type="rings")
            _, sdp = await offer_of(kms, callee.ports)
            callee.invited(sdp, call_id="call4")
            return await callee.refused(), await callee.event(type="policy.refused")

    final, event = asyncio.run(scenario())
    assert final.status == 486
    assert event["reason"] == "too-many-calls"
