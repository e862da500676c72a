"""Calls between two agents and a KMS: set-up, what goes wrong before an INVITE, and mid-call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipmikey.agent.config import MAX_CALLS
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import Process, running_agent


def settings_of(kms: TestKms, identity: str, speech: str, **more: Any) -> dict[str, Any]:
    user = kms.user(identity)
    return {
        "identity": identity, "psk": user.psk, "psk_id": user.psk_id, "kms_url": kms.url, "play": speech,
        **more,
    }  # fmt: skip


class Pair:
    """Alice and bob; ``talk`` puts a call between them."""

    def __init__(self, alice: Process, bob: Process, via: str) -> None:
        self.alice, self.bob, self.via = alice, bob, via

    def dial(self, **more: Any) -> None:
        self.alice.do("call", uri=CALLED, via=self.via, **more)

    async def talk(self) -> None:
        """Call, and return when each has decrypted a packet of the other."""
        self.dial()
        await self.alice.until(type="media.proven")
        await self.bob.until(type="media.proven")

    async def hang_up(self) -> tuple[dict[str, Any], dict[str, Any]]:
        self.alice.do("hangup", call="1")
        return await self.alice.until(type="call.end"), await self.bob.until(type="call.end")

    async def count(self, who: Process) -> tuple[int, int, int]:
        """Return packets sent, decrypted and lost."""
        who.do("stats", call="1")
        while True:
            done = await who.until(type="done")
            if isinstance(done["result"], list):
                sent, decrypted, lost = done["result"][0]
                return sent, decrypted, lost


@contextlib.asynccontextmanager
async def pair(
    kms: TestKms, speech: str, alice: dict[str, Any] | None = None, bob: dict[str, Any] | None = None
) -> AsyncIterator[Pair]:
    bobs = settings_of(kms, CALLED, speech, **({"answer": True} | (bob or {})))
    alices = settings_of(kms, CALLER, speech, **(alice or {}))
    async with running_agent(alices) as a, running_agent(bobs) as b:
        await a.until(type="ready")
        ready = await b.until(type="ready")
        yield Pair(a, b, ready["contact"])
        assert await a.close() == 0
        assert await b.close() == 0


@pytest.mark.parametrize(
    ("suites", "profile", "streams"),
    [
        (("256", "128"), "AES_256_CM_HMAC_SHA1_80", 1),
        (("128",), "AES_CM_128_HMAC_SHA1_80", 1),
        (("256",), "AES_256_CM_HMAC_SHA1_80", 2),
    ],
)
def test_a_call(suites: tuple[str, ...], profile: str, streams: int, kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Pair, dict[str, Any], dict[str, Any]]:
        more = {"suites": suites, "streams": streams}
        async with pair(kms, speech, more, more) as call:
            call.dial()
            for who in (call.alice, call.bob):
                await who.until(type="call.state", state="proven")
            ends = await call.hang_up()
        return call, *ends

    call, mine, theirs = asyncio.run(scenario())
    for end, peer in ((mine, CALLED), (theirs, CALLER)):
        security = end["security"]
        assert (security["media"], security["suite"]) == ("proven", profile)
        assert (security["peer"], security["called"]) == (peer, CALLED)
        assert security["kms"] == kms.identity
    assert mine["security"]["ticket"] == theirs["security"]["ticket"]
    assert (mine["reason"], mine["side"]) == ("hangup", "local")
    assert (theirs["reason"], theirs["side"]) == ("hangup", "remote")
    for who in (call.alice, call.bob):
        (stats,) = [event for event in who.seen if event["type"] == "stats"]
        assert len(stats["streams"]) == streams
        assert all(stream["decrypted"] > 0 for stream in stats["streams"])
    keyed = [
        {(event["send_key"], event["receive_key"]) for event in who.seen if event["type"] == "media.keyed"}
        for who in (call.alice, call.bob)
    ]
    assert keyed[0] == {(receive, send) for send, receive in keyed[1]}
    assert len({key for pair_of_keys in keyed[0] for key in pair_of_keys}) == 2 * streams


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("slow", "kms-timeout"),
        ("shut", "kms-unreachable"),
        ("wrong key", "kms-refused"),
    ],
)
def test_trouble_with_the_kms_at_the_caller(trouble: str, reason: str, kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[list[dict[str, Any]], int]:
        settings = settings_of(kms, CALLER, speech, kms_timeout=0.3)
        if trouble == "wrong key":
            settings["psk"] = "00" * 32
        peer = await ScriptedPeer.open()
        kms.delay(1.0 if trouble == "slow" else 0)
        kms.shut(trouble == "shut")
        try:
            async with running_agent(settings) as alice:
                await alice.until(type="ready")
                alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}")
                await alice.until(type="failed")
                assert await alice.close() == 0
                return alice.seen, len(peer.seen)
        finally:
            kms.delay(0)
            kms.shut(False)

    seen, invites = asyncio.run(scenario())
    by_type = {event["type"]: event for event in seen}
    assert by_type["kms.error"]["reason"] == reason
    assert by_type["failed"]["reason"] == reason
    assert (by_type["call.end"]["reason"], by_type["call.end"]["side"]) == (reason, "kms")
    assert invites == 0


def test_preferred_calls_again_in_clear_only_where_policy_says_both(kms: TestKms, speech: str) -> None:
    async def scenario(fallback: str) -> tuple[list[dict[str, Any]], list[str]]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        settings = settings_of(kms, CALLER, speech, security="preferred", fallback=fallback)
        async with running_agent(settings) as alice:
            await alice.until(type="ready")
            alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
            first = await peer.request("INVITE")
            peer.respond(first, 488, to_tag="x")
            offers = [first.sdp]
            if fallback == "both":
                second = await peer.request("INVITE")
                offers.append(second.sdp)
                peer.respond(second, 200, to_tag="y", sdp=description(ports, profile="RTP/AVP"))
                await ports.until_rtp(5)
                alice.do("hangup", call="1")
            await alice.until(type="call.end")
            assert await alice.close() == 0
            return alice.seen, offers

    seen, offers = asyncio.run(scenario("incoming"))
    assert len(offers) == 1
    assert not [event for event in seen if event["type"] == "policy.fallback"]
    seen, offers = asyncio.run(scenario("both"))
    assert "key-mgmt" in offers[0]
    assert "key-mgmt" not in offers[1]
    assert [event["type"] for event in seen].count("policy.fallback") == 1
    (answered,) = [event for event in seen if event["type"] == "call.answered"]
    assert answered["security"]["media"] == "off"


def test_calls_at_once_share_a_request_and_a_fifth_is_an_error(kms: TestKms, speech: str) -> None:
    async def scenario() -> list[dict[str, Any]]:
        peer = await ScriptedPeer.open()
        async with running_agent(settings_of(kms, CALLER, speech)) as alice:
            await alice.until(type="ready")
            for _ in range(MAX_CALLS):
                alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
                await peer.request("INVITE")
            alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
            failed = await alice.until(type="failed")
            assert failed["reason"] == "too-many-calls"
            assert await alice.close() == 0
            return alice.seen

    seen = asyncio.run(scenario())
    (refused,) = [event for event in seen if event["type"] == "policy.refused"]
    assert f"{MAX_CALLS} calls" in refused["detail"]


def test_a_prefetched_ticket_needs_no_kms_at_the_caller(kms: TestKms, speech: str) -> None:
    async def scenario() -> list[dict[str, Any]]:
        peer = await ScriptedPeer.open()
        async with running_agent(settings_of(kms, CALLER, speech)) as alice:
            await alice.until(type="ready")
            alice.do("prefetch", uri=CALLED)
            await alice.until(type="done")
            kms.shut()
            try:
                alice.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
                await peer.request("INVITE")
            finally:
                kms.shut(False)
            assert await alice.close() == 0
            return alice.seen

    seen = asyncio.run(scenario())
    assert [event["type"] for event in seen].count("kms.request") == 1


def test_hold_and_resume_keep_the_keys(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[list[dict[str, Any]], tuple[int, int, int]]:
        async with pair(kms, speech) as call:
            await call.talk()
            call.alice.do("hold", call="1")
            await call.bob.until(type="call.state", state="held")
            await call.alice.until(type="call.state", state="holding")
            call.alice.do("resume", call="1")
            await call.bob.until(type="call.state", state="talking")
            await call.alice.until(type="call.state", state="talking")
            before = await call.count(call.alice)
            after = before
            while after[1] < before[1] + 10:
                after = await call.count(call.alice)
            await call.hang_up()
            return call.alice.seen + call.bob.seen, after

    seen, counts = asyncio.run(scenario())
    assert [event["type"] for event in seen].count("media.keyed") == 2
    assert not [event for event in seen if event["type"] in ("media.rekeyed", "mikey.refused")]
    assert counts[2] == 0


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_rekey_changes_keys_without_a_gap(who: str, kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[list[dict[str, Any]], list[tuple[int, int, int]]]:
        async with pair(kms, speech) as call:
            await call.talk()
            side = call.alice if who == "alice" else call.bob
            side.do("rekey", call="1")
            await call.alice.until(type="media.rekeyed")
            await call.bob.until(type="media.rekeyed")
            start = await call.count(call.alice)
            while (await call.count(call.alice))[1] < start[1] + 15:
                pass
            counts = [await call.count(call.alice), await call.count(call.bob)]
            await call.hang_up()
            return call.alice.seen + call.bob.seen, counts

    seen, counts = asyncio.run(scenario())
    rekeyed = [event for event in seen if event["type"] == "media.rekeyed"]
    keyed = [event for event in seen if event["type"] == "media.keyed"]
    assert len(rekeyed) == len(keyed) == 2
    assert {event["send_key"] for event in rekeyed}.isdisjoint({event["send_key"] for event in keyed})
    assert rekeyed[0]["send_key"] == rekeyed[1]["receive_key"]
    assert all(lost <= 2 for _, _, lost in counts)


def test_dtmf_arrives(kms: TestKms, speech: str) -> None:
    async def scenario() -> str:
        async with pair(kms, speech) as call:
            await call.talk()
            call.alice.do("dtmf", call="1", digits="17#")
            heard = [(await call.bob.until(type="dtmf.received"))["digit"] for _ in range(3)]
            await call.hang_up()
            return "".join(heard)

    assert asyncio.run(scenario()) == "17#"
