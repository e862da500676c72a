"""SDES as the alternative: only where policy names it, said loudly, and never where a ticket would do."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from sipmikey.agent.config import AgentConfig, Sip
from sipmikey.agent.message import SipMessage
from sipmikey.agent.policy import Alternative, CallPolicy
from sipmikey.agent.sdes import SdesExchange, crypto_suites, why_unfit
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.testing.kms import TestKms
from tests.agent.branches import CALLED, CALLER
from tests.agent.offers import Callee, called, offer_of
from tests.agent.processes import Process, running
from tests.agent.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.test_caller import pair, settings_of
from tests.interop.lab.certificates import Authority

SUITE = "AES_CM_128_HMAC_SHA1_80"
OURS = base64.b64encode(bytes(range(30))).decode()
THEIRS = base64.b64encode(bytes(range(100, 130))).decode()
WITHOUT_TLS = {"security": "preferred", "alternative": "sdes-without-tls", "suites": ("128",)}


def crypto(key: str, *, tag: int = 1, suite: str = SUITE, rest: str = "") -> str:
    return f"a=crypto:{tag} {suite} inline:{key}{rest}\r\n"


def sdp(*lines: str, profile: str = "RTP/SAVP", session: str = "") -> str:
    head = f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{session}"
    return head + f"m=audio 4000 {profile} 8\r\n" + "".join(lines)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tls")
    Authority().issue(folder, "127.0.0.1")
    return str(folder)


def secrets_in(seen: list[dict[str, Any]]) -> list[str]:
    """Long runs of base64 in events: no key may be there."""
    return re.findall(r"inline:|[A-Za-z0-9+/]{40,}", json.dumps(seen).replace("CM_128_HMAC", ""))


def events(who: Process, kind: str) -> list[dict[str, Any]]:
    return [event for event in who.seen if event["type"] == kind]


# Descriptions


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (sdp(), "key-mgmt-missing"),
        (sdp(crypto(OURS), profile="RTP/AVP"), "media-not-secured"),
        (sdp(crypto(OURS), session="a=key-mgmt:mikey AAAA\r\n"), "bidding-down"),
        (sdp(crypto(OURS), "a=key-mgmt:mikey AAAA\r\n"), "bidding-down"),
        (sdp(crypto(OURS, suite="AES_CM_128_HMAC_SHA1_32")), "suite-unavailable"),
        (sdp(crypto(OURS, suite="AES_256_CM_HMAC_SHA1_80")), "suite-unavailable"),
        (sdp(crypto(OURS[:-4])), "suite-unavailable"),
        (sdp(crypto("****")), "suite-unavailable"),
        (sdp("a=crypto:\r\n"), "suite-unavailable"),
        (sdp("a=crypto:1\r\n"), "suite-unavailable"),
        (sdp(crypto(OURS, rest="|2^20|1:4")), "suite-unavailable"),
        (sdp(crypto(OURS, rest=" UNENCRYPTED_SRTP")), "suite-unavailable"),
        (sdp(crypto(OURS, rest=" UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP")), "suite-unavailable"),
        (sdp(crypto(OURS), crypto(THEIRS)), "media-mismatch"),
        (sdp(crypto(OURS)) + "m=audio 4002 RTP/AVP 8\r\n", "media-not-secured"),
        (sdp(crypto(OURS)) + "m=audio 4002 RTP/SAVP 8\r\n", "key-mgmt-missing"),
        (sdp(crypto(OURS)).replace("4000", "0"), "media-not-secured"),
        ("", "sdp-malformed"),
    ],
)
def test_offers_that_cannot_be_answered_by_sdes(offer: str, reason: str) -> None:
    error = why_unfit(offer, (SUITE,))
    assert isinstance(error, PeerError)
    assert getattr(error, "word", error.reason) == reason
    assert OURS not in str(error)


@pytest.mark.parametrize(
    "offer",
    [
        sdp(crypto(OURS)),
        sdp(crypto(OURS, rest="|2^31")),
        sdp(crypto(THEIRS, suite="F8_128_HMAC_SHA1_80"), crypto(OURS, tag=2)),
        sdp(crypto(OURS)) + "m=video 0 RTP/AVP 96\r\n",
    ],
)
def test_offers_that_can(offer: str) -> None:
    assert why_unfit(offer, (SUITE,)) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sdp(crypto(THEIRS, tag=2)), "media-mismatch"),
        (sdp(crypto(OURS)), "media-mismatch"),
        (sdp(crypto(THEIRS), crypto(OURS, tag=2)), "media-mismatch"),
        (sdp(crypto(THEIRS), crypto(THEIRS, tag=2, suite="F8_128_HMAC_SHA1_80")), "media-mismatch"),
        (sdp(crypto(THEIRS, rest=" UNENCRYPTED_SRTCP")), "suite-unavailable"),
        (sdp(profile="RTP/AVP"), "media-not-secured"),
        (sdp(), "key-mgmt-missing"),
    ],
)
@pytest.mark.parametrize("ours_offered", [True, False])
def test_answers_that_are_refused(answer: str, reason: str, ours_offered: bool) -> None:
    exchange = SdesExchange(crypto_suites(("256", "128")))
    if ours_offered:
        exchange.made(sdp(crypto(OURS)), answering=False)
    else:
        exchange.receive_offer(sdp(crypto(OURS)))
    with pytest.raises(PeerError) as caught:
        exchange.receive_answer(answer) if ours_offered else exchange.made(answer, answering=True)
    assert getattr(caught.value, "word", caught.value.reason) == reason
    assert not exchange.agreed
    assert not exchange.news()


def test_both_sides_see_the_same_keys_crossed_and_tell_them_once() -> None:
    caller, callee = SdesExchange((SUITE,)), SdesExchange((SUITE,))
    offer, answer = sdp(crypto(OURS)), sdp(crypto(THEIRS))
    caller.made(offer, answering=False)
    callee.receive_offer(offer)
    callee.made(answer, answering=True)
    caller.receive_answer(answer)
    ((mine, mine_again),) = caller.news()
    ((theirs, _),) = callee.news()
    assert (mine.send_key, mine.receive_key) == (theirs.receive_key, theirs.send_key)
    assert mine.send_key != mine.receive_key
    assert not mine_again
    assert caller.news() == ()
    caller.receive_answer(sdp(crypto(base64.b64encode(bytes(30)).decode())))
    ((_, again),) = caller.news()
    assert again


def test_what_was_sent_must_be_keyed_as_what_was_made() -> None:
    exchange = SdesExchange((SUITE,))
    exchange.made(sdp(crypto(OURS)), answering=False)
    exchange.check_sent(sdp(crypto(OURS)))
    for altered in (sdp(), sdp(crypto(THEIRS)), sdp(crypto(OURS), session="a=key-mgmt:mikey AAAA\r\n")):
        with pytest.raises(PeerError, match="went out is keyed otherwise"):
            exchange.check_sent(altered)


def test_sdes_needs_tls_unless_policy_says_otherwise() -> None:
    with pytest.raises(LocalError, match="add tls to sip"):
        AgentConfig(identity=CALLER, sip=Sip(), policy=CallPolicy(alternative=Alternative.SDES))
    AgentConfig(identity=CALLER, sip=Sip(), policy=CallPolicy(alternative=Alternative.SDES_WITHOUT_TLS))


# Calls that go out


async def again_with_sdes(
    alice: Process, peer: ScriptedPeer, first: dict[str, Any]
) -> tuple[SipMessage, SipMessage]:
    """Dial; answer the first INVITE so; return it and the second."""
    await alice.until(type="ready")
    alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
    offer = await peer.request("INVITE")
    peer.respond(offer, first.pop("status"), to_tag="first", **first)
    return offer, await peer.request("INVITE")


def sent_key(offer: SipMessage) -> tuple[str, bytes]:
    """Tag and key of the 128-bit suite in an offer."""
    found = re.search(rf"a=crypto:(\d+) {SUITE} inline:(\S+)", offer.body)
    assert found is not None
    return found[1], base64.b64decode(found[2].partition("|")[0])


@pytest.mark.parametrize("status", [406, 415, 488, 606])
def test_a_refused_call_is_made_again_with_sdes_and_nothing_is_in_clear(
    status: int, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[Process, SipMessage, SipMessage, RtpPorts]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("agent_peer.py", settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
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
    assert ("key-mgmt" in first.body, "a=crypto" in first.body) == (True, False)
    assert ("key-mgmt" in second.body, "a=crypto" in second.body) == (False, True)
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
        async with running("agent_peer.py", settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
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
        async with running("agent_peer.py", settings_of(kms, CALLER, speech, **settings)) as alice:
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
    assert not any("a=crypto" in message.body for message in invites)


def test_over_udp_nothing_is_sent_with_keys_in_it(kms: TestKms, speech: str, tls: str) -> None:
    async def scenario() -> tuple[Process, ScriptedPeer]:
        peer = await ScriptedPeer.open()
        more = {
            "security": "preferred",
            "alternative": "sdes",
            "transports": ("udp", "tcp", "tls"),
            "tls": tls,
        }
        async with running("agent_peer.py", settings_of(kms, CALLER, speech, **more)) as alice:
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
    assert not any("a=crypto" in message.body for message in peer.seen)


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
    """Where pjmedia refuses it first, the reason is whatever that made of the call; never sound."""

    async def scenario() -> tuple[Process, dict[str, Any], RtpPorts]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("agent_peer.py", settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
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
        async with running("agent_peer.py", settings_of(kms, CALLER, speech, **WITHOUT_TLS)) as alice:
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
        async with running("agent_peer.py", settings) as alice:
            first, second = await again_with_sdes(alice, peer, {"status": 488})
            peer.respond(second, 488, to_tag="second")
            bodies = [first.body, second.body]
            if fallback == "both":
                third = await peer.request("INVITE")
                bodies.append(third.body)
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


# A real peer, over TLS


def over_tls(kms: TestKms, identity: str, speech: str, tls: str, **more: Any) -> dict[str, Any]:
    transports = ("udp", "tcp", "tls")
    chosen = {"security": "preferred", "alternative": "sdes", "transports": transports, "tls": tls, **more}
    return settings_of(kms, identity, speech, **chosen)


async def hears(phone: Process) -> None:
    """Return when the phone has decrypted packets."""
    phone.do("received")
    before = (await phone.until(type="received"))["packets"]
    while True:
        phone.do("received")
        if (await phone.until(type="received"))["packets"] > before + 3:
            return


def test_a_call_to_a_phone_that_knows_sdes_only(kms: TestKms, speech: str, tls: str, tmp_path: Path) -> None:
    log = tmp_path / "pjsip.log"

    async def scenario() -> tuple[Process, Process]:
        phone_settings = {"identity": CALLED, "on": ["udp", "tls"], "tls": tls}
        async with running("sdes_peer.py", phone_settings) as phone:
            address = (await phone.until(type="ready"))["addresses"]["tls"]
            logged = {"log_level": 5, "log_file": str(log)}
            settings = over_tls(kms, CALLER, speech, tls, proxy=f"sip:{address};transport=tls", **logged)
            async with running("agent_peer.py", settings) as alice:
                await talk(alice, phone)
                assert await alice.close() == 0
            assert await phone.close() == 0
        return alice, phone

    async def talk(alice: Process, phone: Process) -> None:
        await alice.until(type="ready")
        alice.do("call", uri=CALLED)
        await alice.until(type="call.state", state="proven")
        await hears(phone)
        for change in ("hold", "resume"):
            alice.do(change, call="1")
            await alice.until(type="done", result=None)
        await hears(phone)
        alice.do("hangup", call="1")
        await alice.until(type="call.end", reason="hangup")

    alice, phone = asyncio.run(scenario())
    assert [event["mikey"] for event in events(phone, "invite")] == [True, False]
    security = events(alice, "call.end")[0]["security"]
    assert (security["signalling"], security["media"], security["keying"]) == ("tls", "proven", "sdes")
    assert security["peer"] is None
    assert secrets_in(alice.seen) == []
    written = log.read_text()
    assert written
    assert "inline:" not in written
    assert "key=" not in written


def test_a_call_from_a_phone_that_knows_sdes_only(kms: TestKms, speech: str, tls: str) -> None:
    async def scenario() -> Process:
        phone_settings = {"identity": CALLER, "on": ["udp", "tls"], "tls": tls}
        settings = over_tls(kms, CALLED, speech, tls, answer=True, prefer="tls", transports=("tls", "udp"))
        async with (
            running("agent_peer.py", settings) as bob,
            running("sdes_peer.py", phone_settings) as phone,
        ):
            contact = (await bob.until(type="ready"))["contact"]
            await phone.until(type="ready")
            phone.do("call", uri=contact)
            await bob.until(type="call.state", state="proven")
            await hears(phone)
            bob.do("hangup", call="1")
            await bob.until(type="call.end", reason="hangup")
            assert await bob.close() == 0
            assert await phone.close() == 0
        return bob

    bob = asyncio.run(scenario())
    (told,) = events(bob, "policy.alternative")
    assert (told["keying"], told["reason"]) == ("sdes", "key-mgmt-missing")
    security = events(bob, "call.end")[0]["security"]
    assert (security["signalling"], security["media"], security["keying"]) == ("tls", "proven", "sdes")
    assert (security["peer"], security["kms"]) == (None, None)
    assert secrets_in(bob.seen) == []


# Calls that come in


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
    assert "key-mgmt" not in final.body
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
        # pjmedia chooses the first line of a suite it has, whatever else that says.
        (WITHOUT_TLS, crypto(OURS, rest=" UNENCRYPTED_SRTP") + crypto(THEIRS, tag=2), "media-mismatch"),
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
    assert "a=crypto" not in final.body
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
    assert "a=crypto" in keyed.body
    assert secrets_in(bob.seen) == []
