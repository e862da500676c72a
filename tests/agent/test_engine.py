"""The engine with fixed keys: nothing in clear, SRTP as an independent library reads it, and its limits."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import Process, running
from tests.agent.raw_peer import keys

SUITE = "AES_CM_128_HMAC_SHA1_80"


async def answered(caller: Process, peer: ScriptedPeer, ports: RtpPorts, lane: str = "secured") -> None:
    """Let *caller* call *peer*, which answers with 200 at once."""
    caller.do("call", call="out", uri=f"sip:peer@{peer.address}", lane=lane)
    invite = await peer.request("INVITE")
    profile = "RTP/AVP" if lane == "clear" else "RTP/SAVP"
    peer.respond(invite, 200, to_tag="a", sdp=description(ports, profile=profile))
    await caller.until(what="phase", phase="confirmed")


async def hung_up(caller: Process) -> None:
    caller.do("hangup", call="out")
    await caller.until(what="phase", phase="disconnected")


def test_nothing_leaves_without_keys(speech: str) -> None:
    async def scenario() -> tuple[list[bytes], list[bytes]]:
        peer, ports, control = await ScriptedPeer.open(), await RtpPorts.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"play": speech}) as caller:
            await caller.until(what="ready")
            await answered(caller, peer, ports)
            caller.do("audio", call="out")
            # The control: the same agent in clear, beside it and for as long, does send.
            caller.do("call", call="out2", uri=f"sip:peer@{peer.address}", lane="clear")
            peer.respond(
                await peer.request("INVITE"), 200, to_tag="c", sdp=description(control, profile="RTP/AVP")
            )
            await caller.until(what="phase", phase="confirmed")
            caller.do("audio", call="out2")
            await control.until_rtp(25)
            await hung_up(caller)
            caller.do("hangup", call="out2")
            await caller.until(what="phase", phase="disconnected")
            assert await caller.close() == 0
        await control.until_rtcp()
        return ports.rtp, ports.rtcp

    rtp, rtcp = asyncio.run(scenario())
    assert rtp == []
    assert rtcp == []


def test_keyed_packets_and_the_rtcp_bye_decrypt(speech: str) -> None:
    async def scenario() -> RtpPorts:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"play": speech, "suite": SUITE}) as caller:
            await caller.until(what="ready")
            await answered(caller, peer, ports)
            caller.do("key", call="out", seed=7)
            await ports.until_rtp(20)
            await hung_up(caller)
            await ports.until_rtcp()
            assert await caller.close() == 0
        return ports

    ports = asyncio.run(scenario())
    secret = keys(SUITE, 7, swapped=False).send.reveal()
    session = Session(policy=Policy(key=secret, ssrc_type=Policy.SSRC_ANY_INBOUND))
    for packet in ports.rtp:
        clear = session.unprotect(packet)
        assert clear[12:] != packet[12 : len(clear)]
    last = [session.unprotect_rtcp(packet) for packet in ports.rtcp][-1]
    assert 203 in rtcp_types(last)
    tone = session_payload(secret, ports.rtp[-1])
    assert len(set(tone)) < 16 < len(set(ports.rtp[-1][12:-10]))


def session_payload(secret: bytes, packet: bytes) -> bytes:
    session = Session(policy=Policy(key=secret, ssrc_type=Policy.SSRC_ANY_INBOUND))
    return session.unprotect(packet)[12:]


def rtcp_types(packet: bytes) -> list[int]:
    types, at = [], 0
    while at < len(packet):
        types.append(packet[at + 1])
        at += 4 * (int.from_bytes(packet[at + 2 : at + 4], "big") + 1)
    return types


def test_two_agents_hear_each_other_through_a_rekey(speech: str) -> None:
    async def scenario() -> tuple[list[Any], list[Any]]:
        answering = {"play": speech, "key_at_once": True, "answer_at_once": True, "seed": 3}
        async with (
            running("raw_peer.py", {"play": speech}) as caller,
            running("raw_peer.py", answering) as callee,
        ):
            await caller.until(what="ready")
            ready = await callee.until(what="ready")
            caller.do("call", call="out", uri=f"sip:b@{ready['addresses']['udp']}")
            await caller.until(what="phase", phase="confirmed")
            caller.do("key", call="out", seed=3)
            before = await received(caller, 20)
            caller.do("key", call="out", seed=60)
            callee.do("key", call="in0", seed=60)
            after = await received(caller, before + 20)
            assert after > before
            await hung_up(caller)
            last = await callee.until(what="phase", phase="disconnected")
            assert await caller.close() == 0
            assert await callee.close() == 0
            return last["counts"], [caller.seen[-2]]

    counts, _ = asyncio.run(scenario())
    assert counts[0][1] > 20


async def received(process: Process, least: int) -> int:
    """Ask until the agent has decrypted *least* packets."""
    async with asyncio.timeout(15):
        while True:
            process.do("counts", call="out")
            counts = (await process.until(what="counts"))["counts"]
            if counts and counts[0][1] >= least:
                return int(counts[0][1])


def test_the_stack_sends_the_original_when_an_edit_does_not_parse() -> None:
    """The trap because of which every message sent is checked."""

    async def scenario() -> str:
        peer = await ScriptedPeer.open()
        async with running("raw_peer.py", {"bad_sdp": True}) as caller:
            await caller.until(what="ready")
            caller.do("call", call="out", uri=f"sip:peer@{peer.address}")
            invite = await peer.request("INVITE")
            sent = await caller.until(what="message", direction="sent")
            assert sent["body"].strip() == invite.sdp.strip()
            peer.respond(invite, 486, to_tag="a")
            await caller.until(what="phase", phase="disconnected")
            assert await caller.close() == 0
            return invite.sdp

    body = asyncio.run(scenario())
    assert "key-mgmt" not in body
    assert "RTP/AVP" in body


def test_an_exception_in_a_callback_fails_the_call_and_offers_no_media() -> None:
    async def scenario() -> tuple[str, dict[str, Any]]:
        peer = await ScriptedPeer.open()
        async with running("raw_peer.py", {"raise_in_sdp": True}) as caller:
            await caller.until(what="ready")
            caller.do("call", call="out", uri=f"sip:peer@{peer.address}")
            invite = await peer.request("INVITE")
            failed = await caller.until(what="failed")
            peer.respond(invite, 180, to_tag="a")
            await peer.request("CANCEL")
            peer.respond(invite, 487, to_tag="a")
            await caller.until(what="phase", phase="disconnected")
            assert await caller.close() == 0
            return invite.sdp, failed

    body, failed = asyncio.run(scenario())
    assert "m=audio 0 " in body
    assert failed["kind"] == "ValueError"


def test_a_fifth_call_is_an_error_and_the_process_lives() -> None:
    async def scenario() -> dict[str, Any]:
        peer = await ScriptedPeer.open()
        async with running("raw_peer.py", {}) as caller:
            await caller.until(what="ready")
            for number in range(5):
                caller.do("call", call=f"out{number}", uri=f"sip:peer@{peer.address}")
            refused = await caller.until(what="refused")
            assert await caller.close() == 0
            return refused

    refused = asyncio.run(scenario())
    assert refused["call"] == "out4"
    assert "4 calls" in refused["detail"]


def test_a_flood_of_invites_is_refused_and_the_process_lives() -> None:
    """The callers refused for the rate of calls are told when to call again (RFC 3261 section 21.5.4).

    The peer itself answers 503, without that, while its stack has room for no further call.
    """

    async def scenario() -> tuple[set[tuple[int, str | None]], int]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"refuse": 486}) as callee:
            ready = await callee.until(what="ready")
            address = ready["addresses"]["udp"]
            statuses = set()
            for number in range(80):
                peer.invite(
                    address, caller="sip:a@example.com", called="sip:raw@127.0.0.1",
                    sdp=description(ports), call_id=f"flood{number}",
                )  # fmt: skip
                final = await peer.response()
                statuses.add((final.status, final.first("retry-after")))
                peer.acknowledge(final, address)
            return statuses, await callee.close()

    statuses, status = asyncio.run(scenario())
    assert status == 0
    assert statuses - {(503, None)} == {(486, None), (503, "1")}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bind": "192.0.2.1"}, "SIP over udp on 192.0.2.1"),
        ({"bind": "2001:db8::1"}, "this build of pjsua2 has no IPv6|SIP over udp on 2001:db8::1"),
    ],
)
def test_what_cannot_be_bound_is_an_error_that_says_so(settings: dict[str, Any], said: str) -> None:
    async def scenario() -> str:
        async with running("raw_peer.py", settings) as process:
            event = await process.until(what="not-started")
            assert await process.close() == 0
            return str(event["detail"])

    assert re.search(said, asyncio.run(scenario()))


def test_a_replayed_packet_starts_no_key_again(speech: str) -> None:
    """pjmedia would, for its first hundred datagrams, and count SRTCP from 1 once more."""

    async def scenario() -> RtpPorts:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"play": speech, "suite": SUITE}) as caller:
            await caller.until(what="ready")
            caller.do("call", call="out", uri=f"sip:peer@{peer.address}")
            invite = await peer.request("INVITE")
            peer.respond(invite, 200, to_tag="a", sdp=description(ports))
            await caller.until(what="phase", phase="confirmed")
            caller.do("key", call="out", seed=7)
            await ports.until_rtcp()
            found = re.search(r"^m=audio (\d+)", invite.sdp, re.MULTILINE)
            assert found is not None
            secret = keys(SUITE, 7, swapped=False).receive.reveal()
            session = Session(policy=Policy(key=secret, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
            packets = [session.protect(rtp(number)) for number in range(1, 11)]
            for packet in (*packets, *packets):
                ports.send_rtp(packet, int(found[1]))
                await asyncio.sleep(0.01)
            while True:
                caller.do("counts", call="out")
                if (await caller.until(what="counts"))["counts"][0][1] >= 10:
                    break
            seen = len(ports.rtcp)
            await hung_up(caller)
            await ports.until_rtcp(seen + 1)
            assert await caller.close() == 0
        return ports

    indices = [int.from_bytes(packet[-14:-10], "big") & 0x7FFFFFFF for packet in asyncio.run(scenario()).rtcp]
    assert len(indices) >= 2
    assert sorted(set(indices)) == indices


def rtp(number: int) -> bytes:
    """An RTP packet of 20 ms of silence in A-law."""
    head = bytes((0x80, 8)) + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big")
    return head + bytes.fromhex("01020304") + b"\xd5" * 160
