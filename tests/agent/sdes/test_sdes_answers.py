"""SDES as the alternative of calls that come in: never where a ticket would do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLER
from tests.agent.calls.offers import Callee, called, offer_of
from tests.agent.calls.scripted import RtpPorts, description
from tests.agent.calls.test_caller import pair
from tests.agent.processes import Process
from tests.agent.sdes.descriptions import OURS, THEIRS, WITHOUT_TLS, crypto, events, secrets_in, sent_key


def test_an_offer_with_keys_in_it_is_answered_so_where_policy_names_it(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[SipMessage, RtpPorts, Process]:
        async with called(kms, answer=True, play=speech, **WITHOUT_TLS) as bob:
            bob.invited(description(bob.ports, media_extra=crypto(OURS)))
            final = await bob.peer.response()
            bob.peer.acknowledge(final, bob.address)
            answered = await bob.event(type="call.answered")
            await bob.ports.until_rtp(10)
            bob.process.do("hangup", call=answered["call"])
            await bob.event(type="call.end")
            await bob.ports.until_rtcp()
            return final, bob.ports, bob.process

    final, ports, bob = asyncio.run(scenario())
    assert "key-mgmt" not in final.sdp
    session = Session(policy=Policy(key=sent_key(final)[1], ssrc_type=Policy.SSRC_ANY_INBOUND))
    assert all(session.unprotect(packet) for packet in ports.rtp)
    assert all(session.unprotect_rtcp(packet) for packet in ports.rtcp)
    assert len(events(bob, "policy.alternative")) == 1


@pytest.mark.parametrize(
    ("settings", "lines", "reason"),
    [
        ({"security": "preferred"}, crypto(OURS), "key-mgmt-missing"),
        ({"security": "preferred", "fallback": "both"}, crypto(OURS), "key-mgmt-missing"),
        ({"security": "required", "alternative": "sdes-without-tls"}, crypto(OURS), "key-mgmt-missing"),
        ({**WITHOUT_TLS, "contacts": {CALLER: "required"}}, crypto(OURS), "key-mgmt-missing"),
        (WITHOUT_TLS, "", "key-mgmt-missing"),
        (WITHOUT_TLS, crypto(OURS, suite="AES_CM_128_HMAC_SHA1_32"), "suite-unavailable"),
        (WITHOUT_TLS, crypto(OURS, rest=" UNENCRYPTED_SRTCP"), "suite-unavailable"),
        pytest.param(
            WITHOUT_TLS,
            crypto(OURS, rest=" UNENCRYPTED_SRTP") + crypto(THEIRS, tag=2),
            "media-mismatch",
            marks=pytest.mark.pjsua2_only(
                "pjmedia chooses the first line of a suite it has, whatever else that says;"
                " the stack in Python answers with the second"
            ),
        ),
    ],
)
def test_an_offer_with_keys_in_it_is_refused_otherwise(
    settings: dict[str, Any], lines: str, reason: str, kms: TestKms
) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any], RtpPorts, Process]:
        async with called(kms, answer=True, **settings) as bob:
            bob.invited(description(bob.ports, media_extra=lines))
            return await bob.refused(), await bob.event(type="call.end"), bob.ports, bob.process

    final, end, ports, bob = asyncio.run(scenario())
    assert (final.status, end["reason"]) == (488, reason)
    assert (final.warning or "").startswith(f"{reason}: ")
    assert "a=crypto" not in final.sdp
    assert not events(bob, "policy.alternative")
    assert ports.rtp == []


def test_an_offer_with_keys_in_it_over_udp_is_refused_where_policy_wants_tls(kms: TestKms, tls: str) -> None:
    async def scenario() -> tuple[SipMessage, dict[str, Any]]:
        more = {"security": "preferred", "alternative": "sdes", "transports": ("udp", "tls"), "tls": tls}
        async with called(kms, answer=True, **more) as bob:
            bob.invited(description(bob.ports, media_extra=crypto(OURS)))
            return await bob.refused(), await bob.event(type="call.end")

    final, end = asyncio.run(scenario())
    assert (final.status, end["reason"], end["side"]) == (488, "policy", "local")
    assert "TLS" in end["detail"]


def test_a_stripped_ticket_leaves_nothing_to_answer(kms: TestKms) -> None:
    async def scenario() -> dict[str, Any]:
        async with called(kms, **WITHOUT_TLS) as bob:
            _, offer = await offer_of(kms, bob.ports)
            bob.invited("\r\n".join(line for line in offer.split("\r\n") if "key-mgmt" not in line))
            await bob.refused()
            return await bob.event(type="call.end")

    assert asyncio.run(scenario())["reason"] == "key-mgmt-missing"


def test_tickets_are_preferred_where_both_can(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Process, Process]:
        async with pair(kms, speech, dict(WITHOUT_TLS), dict(WITHOUT_TLS)) as call:
            await call.talk()
            await call.hang_up()
        return call.alice, call.bob

    for who in asyncio.run(scenario()):
        assert not events(who, "policy.alternative")
        security = events(who, "call.end")[0]["security"]
        assert security["keying"] == "mikey-ticket"
        assert security["peer"] is not None


async def offer_later(bob: Callee, final: SipMessage, body: str, number: int) -> SipMessage:
    """Send a re-INVITE in the dialogue of *final* and return its final response, acknowledged."""
    lines = [
        f"INVITE {final.uri('contact')} SIP/2.0",
        f"Via: SIP/2.0/UDP {bob.peer.address};branch=z9hG4bKlater{number};rport",
        "Max-Forwards: 70",
        f"From: {final.first('from')}",
        f"To: {final.first('to')}",
        f"Call-ID: {final.first('call-id')}",
        f"CSeq: {number} INVITE",
        f"Contact: <sip:scripted@{bob.peer.address}>",
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
    ]
    bob.peer.send("\r\n".join(lines) + "\r\n\r\n" + body, bob.address)
    while (response := await bob.peer.response()).first("cseq") != f"{number} INVITE":
        pass
    lines[0] = lines[0].replace("INVITE", "ACK", 1)
    lines[6] = f"CSeq: {number} ACK"
    if response.status < 300:
        lines[1] = lines[1].replace("later", "ack")
    bob.peer.send("\r\n".join([*lines[:8], "Content-Length: 0"]) + "\r\n\r\n", bob.address)
    return response


def test_a_later_offer_without_keys_is_refused_and_one_with_new_keys_taken(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[SipMessage, SipMessage, Process]:
        async with called(kms, answer=True, play=speech, **WITHOUT_TLS) as bob:
            offer = description(bob.ports, media_extra=crypto(OURS))
            bob.invited(offer)
            final = await bob.peer.response()
            bob.peer.acknowledge(final, bob.address)
            await bob.event(type="call.answered")
            plain = await offer_later(bob, final, description(bob.ports, profile="RTP/AVP"), 2)
            await bob.event(type="mikey.refused", reason="media-not-secured")
            changed = description(bob.ports, media_extra=crypto(THEIRS)).replace("o=- 1 1", "o=- 1 2")
            keyed = await offer_later(bob, final, changed, 3)
            await bob.event(type="media.rekeyed")
            bob.process.do("hangup", call="1")
            await bob.event(type="call.end", reason="hangup")
            return plain, keyed, bob.process

    plain, keyed, bob = asyncio.run(scenario())
    assert (plain.status, keyed.status) == (488, 200)
    assert "a=crypto" in keyed.sdp
    assert secrets_in(bob.seen) == []
