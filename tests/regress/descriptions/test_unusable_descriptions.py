"""Descriptions that cannot be used are the peer's fault, and are refused with a reason, at once."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from sipmikey.sdp import MediaMismatch
from sipmikey.sdp.codecs import check_codecs
from sipmikey.sip import SipMessage
from tests.agent.calls.offers import called
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import running_agent

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
CLEAR = {"identity": ALICE, "security": "off", "transports": ("udp",)}
PCMA = "8\r\na=rtpmap:8 PCMA/8000"
G729 = "18\r\na=rtpmap:18 G729/8000"


def offer(ports: RtpPorts) -> str:
    return description(ports, profile="RTP/AVP")


@pytest.mark.parametrize(
    ("media", "fits"),
    [
        ("m=audio 9 RTP/AVP 8", True),
        ("m=audio 9 RTP/AVP 18 96\na=rtpmap:96 pcma/8000", True),
        ("m=audio 9 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000", False),
        ("m=audio 9 RTP/AVP 96", False),
        ("m=audio 9 RTP/AVP 8\na=rtpmap:8 AMR/8000", False),
        ("m=audio 9 RTP/AVP 18\nm=audio 11 RTP/AVP 0", True),
        ("m=audio 0 RTP/AVP 18", True),
        ("m=video 9 RTP/AVP 31", True),
        ("", True),
    ],
)
def test_a_codec_in_common_is_needed(media: str, fits: bool) -> None:
    sdp = f"v=0\nc=IN IP4 127.0.0.1\n{media}\n"
    check_codecs(sdp, ())
    if fits:
        check_codecs(sdp, ("PCMA", "PCMU"))
    else:
        with pytest.raises(MediaMismatch, match="no codec in common"):
            check_codecs(sdp, ("PCMA", "PCMU"))


@pytest.mark.processes
def test_answers_that_cannot_be_used_are_never_an_answered_call() -> None:
    async def one(caller: Any, peer: ScriptedPeer, status: int, sdp: str) -> dict[str, Any]:
        caller.do("call", uri=BOB, via=f"sip:bob@{peer.address}", wait=False)
        invite = await peer.request("INVITE")
        peer.respond(invite, status, to_tag="x", sdp=sdp)
        if status < 200:
            await peer.request("CANCEL")
            peer.respond(invite, 487, to_tag="x")
        else:
            await peer.request("BYE")
        while (event := await caller.until())["type"] != "call.end":
            assert event["type"] != "call.answered"
        return dict(event)

    async def scenario() -> list[dict[str, Any]]:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        good = offer(ports)
        async with running_agent(CLEAR) as caller:
            await caller.until(type="ready")
            ends = [
                await one(caller, peer, status, sdp)
                for status, sdp in [
                    (200, good.replace(PCMA, G729)),
                    (200, good.replace("s=-", "s=")),
                    (200, good.replace("t=0 0", "t=never")),
                    (183, "hello\r\n"),
                ]
            ]
            assert await caller.close() == 0
        peer.close()
        ports.close()
        return ends

    ends = asyncio.run(scenario())
    assert {(end["reason"], end["side"]) for end in ends} == {("media-mismatch", "remote")}
    assert "no codec in common: the peer has G729" in ends[0]["detail"]
    assert all("the SIP stack cannot use" in end["detail"] for end in ends[1:])


def warnings_of(message: SipMessage) -> list[str]:
    host = socket.gethostname()
    assert not any(host in warning.split()[1] for warning in message.all("warning"))
    return [warning.partition(":")[0] for warning in message.all("warning")]


@pytest.mark.processes
def test_a_refused_offer_says_why_before_and_within_a_call() -> None:
    async def scenario() -> list[SipMessage]:
        async with called(None, security="off", answer=True) as callee:
            good = offer(callee.ports)
            callee.invited(good.replace(PCMA, G729), call_id="bad")
            refused = [await callee.refused()]
            callee.invited(good)
            final = await callee.peer.response()
            callee.peer.acknowledge(final, callee.address)
            call = (await callee.event(type="call.answered"))["call"]
            changed = (
                good.replace(PCMA, G729),
                good.replace("IP4 127.0.0.1\r\nt=", "IP6 ::1\r\nt="),
            )
            number = 2
            for method in ("INVITE", "UPDATE"):
                for sdp in changed:
                    callee.peer.offer_again(final, callee.address, sdp, method=method, cseq=number)
                    refused.append(await callee.peer.response(300))
                    if method == "INVITE":
                        callee.peer.acknowledge(refused[-1], callee.address)
                    number += 1
            callee.peer.offer_again(final, callee.address, good, method="UPDATE", cseq=number)
            assert (await callee.peer.response()).status == 200
            callee.process.do("hangup", call=call)
            await callee.event(type="call.end", call=call)
            return refused

    refused = asyncio.run(scenario())
    assert [message.status for message in refused] == [488] * 5
    codec, version = ['399 example.com "media-mismatch'], ['301 example.com "address-family']
    assert [warnings_of(message) for message in refused] == [codec, codec, version, codec, version]
