"""SDES as the alternative of calls that go out: only where policy names it, and said loudly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.calls.test_caller import settings_of
from tests.agent.processes import Process, running_agent
from tests.agent.sdes.descriptions import SUITE, THEIRS, WITHOUT_TLS, crypto, events, secrets_in, sent_key


async def again_with_sdes(
    alice: Process, peer: ScriptedPeer, first: dict[str, Any]
) -> tuple[SipMessage, SipMessage]:
    """Dial; answer the first INVITE so; return it and the second."""
    await alice.until(type="ready")
    alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
    offer = await peer.request("INVITE")
    peer.respond(offer, first.pop("status"), to_tag="first", **first)
    return offer, await peer.request("INVITE")


@pytest.mark.parametrize("status", [406, 415, 488, 606])
def test_a_refused_call_is_made_again_with_sdes_and_nothing_is_in_clear(
    status: int, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[Process, SipMessage, SipMessage, RtpPorts]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running_agent(settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
            first, second = await again_with_sdes(alice, peer, {"status": status})
            tag, _ = sent_key(second)
            answer = description(ports, media_extra=crypto(THEIRS, tag=int(tag)))
            peer.respond(second, 200, to_tag="second", sdp=answer)
            await ports.until_rtp(10)
            alice.do("hangup", call="1")
            await alice.until(type="call.end")
            await ports.until_rtcp()
            assert await alice.close() == 0
        return alice, first, second, ports

    alice, first, second, ports = asyncio.run(scenario())
    assert ("key-mgmt" in first.sdp, "a=crypto" in first.sdp) == (True, False)
    assert ("key-mgmt" in second.sdp, "a=crypto" in second.sdp) == (False, True)
    session = Session(policy=Policy(key=sent_key(second)[1], ssrc_type=Policy.SSRC_ANY_INBOUND))
    assert all(session.unprotect(packet) for packet in ports.rtp)
    assert all(session.unprotect_rtcp(packet) for packet in ports.rtcp)
    (told,) = events(alice, "policy.alternative")
    assert (told["keying"], told["reason"], told["side"]) == ("sdes", "peer-refused-keying", "remote")
    (answered,) = events(alice, "call.answered")
    security = answered["security"]
    assert (security["media"], security["keying"], security["suite"]) == ("keyed", "sdes", SUITE)
    assert (security["peer"], security["kms"], security["ticket"]) == (None, None, None)
    assert secrets_in(alice.seen) == []


def test_an_answer_without_key_management_is_hung_up_on_and_the_call_made_again(
    kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[Process, ScriptedPeer, SipMessage, RtpPorts]:
        peer, silent, ports = await ScriptedPeer.open(), await RtpPorts.open(), await RtpPorts.open()
        async with running_agent(settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
            own_way = {"status": 200, "sdp": description(silent, media_extra=crypto(THEIRS))}
            _, second = await again_with_sdes(alice, peer, own_way)
            tag, _ = sent_key(second)
            peer.respond(
                second, 200, to_tag="second",
                sdp=description(ports, media_extra=crypto(THEIRS, tag=int(tag))),
            )  # fmt: skip
            await ports.until_rtp(5)
            alice.do("hangup", call="1")
            await alice.until(type="call.end")
            assert await alice.close() == 0
        assert silent.rtp == []
        assert silent.rtcp == []
        return alice, peer, second, ports

    alice, peer, second, ports = asyncio.run(scenario())
    first_bye = next(message for message in peer.seen if message.method == "BYE" and not message.status)
    assert first_bye.to_tag == "first"
    session = Session(policy=Policy(key=sent_key(second)[1], ssrc_type=Policy.SSRC_ANY_INBOUND))
    assert all(session.unprotect(packet) for packet in ports.rtp)
    (told,) = events(alice, "policy.alternative")
    assert told["reason"] == "key-mgmt-missing"
    assert {event["reason"] for event in events(alice, "mikey.refused")} == {"key-mgmt-missing"}
    assert [event["reason"] for event in events(alice, "call.end")] == ["hangup"]


OUR_REFUSAL = (("Warning", '399 example.com "auth-failure: the MAC does not verify"'),)


@pytest.mark.parametrize(
    ("settings", "response", "reason"),
    [
        ({"security": "preferred"}, {"status": 488}, "peer-refused-keying"),
        ({"security": "required", "alternative": "sdes-without-tls"}, {"status": 488}, "peer-refused-keying"),
        ({**WITHOUT_TLS, "contacts": {CALLED: "required"}}, {"status": 488}, "peer-refused-keying"),
        (WITHOUT_TLS, {"status": 488, "headers": OUR_REFUSAL}, "auth-failure"),
        (WITHOUT_TLS, {"status": 486}, "busy"),
        (WITHOUT_TLS, {"status": 403}, "sip-failure"),
    ],
)
def test_calls_that_are_not_made_again(
    settings: dict[str, Any], response: dict[str, Any], reason: str, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[dict[str, Any], Process, ScriptedPeer]:
        peer = await ScriptedPeer.open()
        async with running_agent(settings_of(kms, CALLER, speech, **settings)) as alice:
            await alice.until(type="ready")
            alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
            more = {name: value for name, value in response.items() if name != "status"}
            peer.respond(await peer.request("INVITE"), response["status"], to_tag="x", **more)
            end = await alice.until(type="call.end")
            assert await alice.close() == 0
        return end, alice, peer

    end, alice, peer = asyncio.run(scenario())
    assert end["reason"] == reason
    assert not events(alice, "policy.alternative")
    invites = [message for message in peer.seen if message.method == "INVITE"]
    assert len({message.first("call-id") for message in invites}) == 1
    assert not any("a=crypto" in message.sdp for message in invites)


def test_over_udp_nothing_is_sent_with_keys_in_it(kms: TestKms, speech: str, tls: str) -> None:
    async def scenario() -> tuple[Process, ScriptedPeer]:
        peer = await ScriptedPeer.open()
        more = {
            "security": "preferred",
            "alternative": "sdes",
            "transports": ("udp", "tcp", "tls"),
            "tls": tls,
        }
        async with running_agent(settings_of(kms, CALLER, speech, **more)) as alice:
            await alice.until(type="ready")
            alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
            peer.respond(await peer.request("INVITE"), 488, to_tag="x")
            await alice.until(type="call.end")
            assert await alice.close() == 0
        return alice, peer

    alice, peer = asyncio.run(scenario())
    (refused,) = events(alice, "policy.refused")
    assert refused["reason"] == "policy"
    assert "TLS only" in refused["detail"]
    assert not events(alice, "policy.alternative")
    assert not any("a=crypto" in message.sdp for message in peer.seen)


@pytest.mark.parametrize(
    ("lines", "profile", "reason"),
    [
        ("", "RTP/AVP", None),
        ("", "RTP/SAVP", None),
        (crypto(THEIRS, tag=7), "RTP/SAVP", None),
        (crypto(THEIRS, rest=" UNENCRYPTED_SRTP"), "RTP/SAVP", "suite-unavailable"),
        (crypto(THEIRS, rest="|2^20|1:4"), "RTP/SAVP", "suite-unavailable"),
    ],
)
def test_a_bad_answer_ends_the_second_call_too(
    lines: str, profile: str, reason: str | None, kms: TestKms, speech: str
) -> None:
    """Where pjmedia refuses it first, the reason is whatever that made of the call; never sound.

    Not even while the answer waits to be judged.
    """

    async def scenario() -> tuple[Process, dict[str, Any], RtpPorts]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        settings = settings_of(kms, CALLER, speech, judge_after_s=0.1, **WITHOUT_TLS)
        async with running_agent(settings) as alice:
            _, second = await again_with_sdes(alice, peer, {"status": 488})
            answer = description(ports, profile=profile, media_extra=lines)
            peer.respond(second, 200, to_tag="second", sdp=answer)
            end = await alice.until(type="call.end")
            assert await alice.close() == 0
        return alice, end, ports

    alice, end, ports = asyncio.run(scenario())
    assert end["reason"] != "hangup"
    if reason is not None:
        assert end["reason"] == reason
    assert not events(alice, "call.answered")
    assert ports.rtp == []


def test_a_user_who_hangs_up_is_not_called_for_again(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[dict[str, Any], ScriptedPeer]:
        peer = await ScriptedPeer.open()
        async with running_agent(settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
            _, second = await again_with_sdes(alice, peer, {"status": 488})
            alice.do("hangup", call="1")
            peer.respond(second, 180, to_tag="second")
            await peer.request("CANCEL")
            peer.respond(second, 487, to_tag="second")
            end = await alice.until(type="call.end")
            assert await alice.close() == 0
        return end, peer

    end, peer = asyncio.run(scenario())
    assert (end["reason"], end["side"]) == ("cancelled", "local")
    invites = {message.first("call-id") for message in peer.seen if message.method == "INVITE"}
    assert len(invites) == 2


def test_clear_comes_after_sdes_and_only_where_policy_says_both(kms: TestKms, speech: str) -> None:
    async def scenario(fallback: str) -> tuple[list[str], Process]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        settings = settings_of(kms, CALLER, speech, **WITHOUT_TLS, fallback=fallback)
        async with running_agent(settings) as alice:
            first, second = await again_with_sdes(alice, peer, {"status": 488})
            peer.respond(second, 488, to_tag="second")
            bodies = [first.sdp, second.sdp]
            if fallback == "both":
                third = await peer.request("INVITE")
                bodies.append(third.sdp)
                peer.respond(third, 200, to_tag="third", sdp=description(ports, profile="RTP/AVP"))
                await alice.until(type="call.answered")
                alice.do("hangup", call="1")
            await alice.until(type="call.end")
            assert await alice.close() == 0
        return bodies, alice

    bodies, alice = asyncio.run(scenario("never"))
    assert len(bodies) == 2
    assert not events(alice, "policy.fallback")
    bodies, alice = asyncio.run(scenario("both"))
    assert ["RTP/SAVP" in body for body in bodies] == [True, True, False]
    assert "a=crypto" not in bodies[2]
    (answered,) = events(alice, "call.answered")
    assert (answered["security"]["media"], answered["security"]["keying"]) == ("off", None)
