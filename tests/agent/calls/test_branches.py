"""Late binding at the caller: each branch has keys of its own, and no packet goes out under another's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER, Device, altered
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import Process, running_agent
from tests.key_stream import KeyStream

SUITE = "AES_CM_128_HMAC_SHA1_80"


def caller_settings(kms: TestKms, speech: str, **more: Any) -> dict[str, Any]:
    user = kms.user(CALLER)
    kms.user(CALLED)
    settings = {
        "identity": CALLER, "psk": user.psk, "psk_id": user.psk_id, "kms_url": kms.url, "play": speech,
        "transports": ("udp",), "suites": ("128",),
    }  # fmt: skip
    return settings | more


class Stage:
    """A caller under test, the peer that plays the network, and the caller's INVITE."""

    def __init__(self, caller: Process, peer: ScriptedPeer, invite: SipMessage, kms: TestKms) -> None:
        self.caller, self.peer, self.invite, self.kms = caller, peer, invite, kms

    async def device(self, tag: str, **more: Any) -> Device:
        return await Device.ringing(tag, self.invite, self.kms, **more)

    def answers(self, device: Device, status: int, sdp: str | None = None) -> None:
        self.peer.respond(self.invite, status, to_tag=device.tag, sdp=device.sdp if sdp is None else sdp)

    async def heard_by(self, device: Device, packets: int = 10) -> None:
        await device.ports.until_rtp(packets)

    async def ended(self) -> dict[str, Any]:
        """Return the event that ended the call, and see the process out."""
        end = await self.caller.until(type="call.end")
        assert await self.caller.close() == 0
        return end

    async def hung_up(self) -> dict[str, Any]:
        self.caller.do("hangup", call="1")
        return await self.ended()


@contextlib.asynccontextmanager
async def calling(kms: TestKms, speech: str, **settings: Any) -> AsyncIterator[Stage]:
    peer = await ScriptedPeer.open()
    async with running_agent(caller_settings(kms, speech, **settings)) as caller:
        await caller.until(type="ready")
        caller.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
        yield Stage(caller, peer, await peer.request("INVITE"), kms)
    peer.close()


def only_opened_by(device: Device, others: list[Device]) -> None:
    """Every packet that came to *device* verifies under its key, and under no other device's."""
    assert device.ports.rtp
    assert all(device.opens(packet) for packet in device.ports.rtp)
    assert not any(other.opens(packet) for other in others for packet in device.ports.rtp)


def test_early_media_of_two_branches_in_turn_and_an_answer_from_a_third(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[list[Device], dict[str, Any], list[dict[str, Any]]]:
        async with calling(kms, speech) as stage:
            devices = [await stage.device(tag) for tag in ("first", "second", "third")]
            for device, status in zip(devices, (183, 183, 200), strict=True):
                stage.answers(device, status)
                await stage.heard_by(device)
            end = await stage.hung_up()
            return devices, end, stage.caller.seen

    devices, end, seen = asyncio.run(scenario())
    for device in devices:
        only_opened_by(device, [other for other in devices if other is not device])
    assert end["reason"] == "hangup"
    kinds = [(event["type"], event["to_tag"]) for event in seen if event["type"].startswith("fork.")]
    assert kinds == [
        ("fork.candidate", "first"),
        ("fork.candidate", "second"),
        ("fork.candidate", "third"),
        ("fork.abandoned", "first"),
        ("fork.abandoned", "second"),
        ("fork.committed", "third"),
    ]


@pytest.mark.pjsua2_only("waits for pjmedia's early RTCP report; RFC 3550 section 6.2 allows a later one")
def test_a_branch_that_comes_back_is_held_until_it_has_new_keys(kms: TestKms, speech: str) -> None:
    """pjmedia counts packets from 0 again when it starts a key: a second start would repeat key stream."""

    async def scenario() -> tuple[list[Device], KeyStream, list[dict[str, Any]]]:
        found = KeyStream()
        async with calling(kms, speech) as stage:
            first, second = await stage.device("first"), await stage.device("second")
            for device in (first, second):
                found.add_key(SUITE, device.key)
            for device in (first, second):
                stage.answers(device, 183)
                await stage.heard_by(device)
                await device.ports.until_rtcp()
            stage.answers(first, 200)
            again = await stage.peer.request("INVITE")
            sent = len(first.ports.rtp)
            stage.peer.respond(again, 200, to_tag="first", sdp=first.answers_again(again.sdp))
            found.add_key(SUITE, first.key)
            await stage.heard_by(first, sent + 10)
            assert all(first.opens(packet) for packet in first.ports.rtp[sent:])
            await stage.hung_up()
            await first.ports.until_rtcp(3)
            for device in (first, second):
                for packet in device.ports.rtp + device.ports.rtcp:
                    found.take(packet)
            return [first, second], found, stage.caller.seen

    (first, second), found, seen = asyncio.run(scenario())
    assert (found.keys, found.foreign, found.repeated) == (3, 0, [])
    assert found.rtp == len(first.ports.rtp) + len(second.ports.rtp)
    assert found.rtcp >= 3
    only_opened_by(second, [first])
    (answered,) = [event for event in seen if event["type"] == "call.answered"]
    assert answered["security"]["media"] == "held"
    keyed = [event["send_key"] for event in seen if event["type"] == "media.keyed"]
    assert len(keyed) == len(set(keyed)) == 3


def test_a_branch_that_comes_back_and_takes_no_new_keys_ends_the_call(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[dict[str, Any], int, int]:
        async with calling(kms, speech) as stage:
            first, second = await stage.device("first"), await stage.device("second")
            for device in (first, second):
                stage.answers(device, 183)
                await stage.heard_by(device)
            sent = len(first.ports.rtp)
            stage.answers(first, 200)
            stage.peer.respond(await stage.peer.request("INVITE"), 488, to_tag="first")
            await stage.peer.request("BYE")
            return await stage.ended(), sent, len(first.ports.rtp)

    end, before, after = asyncio.run(scenario())
    assert (end["reason"], end["side"]) == ("key-expired", "remote")
    assert before == after


def test_a_reliable_183_has_the_answer_and_the_200_need_not_repeat_it(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Device, SipMessage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            device = await stage.device("device")
            reliable = (("Require", "100rel"), ("RSeq", "1"))
            stage.peer.respond(stage.invite, 183, to_tag="device", sdp=device.sdp, headers=reliable)
            prack = await stage.peer.request("PRACK")
            await stage.heard_by(device)
            stage.peer.respond(stage.invite, 200, to_tag="device")
            await stage.caller.until(type="call.answered")
            await stage.heard_by(device, len(device.ports.rtp) + 10)
            return device, prack, await stage.hung_up()

    device, prack, end = asyncio.run(scenario())
    assert prack.first("rack") is not None
    only_opened_by(device, [])
    assert (end["reason"], end["security"]["peer"]) == ("hangup", CALLED)


def test_a_bad_answer_of_one_branch_leaves_another_alone(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Device, Device, list[dict[str, Any]]]:
        async with calling(kms, speech) as stage:
            bad, good = await stage.device("bad"), await stage.device("good")
            stage.answers(bad, 183, altered(bad.sdp))
            await stage.caller.until(type="fork.abandoned")
            stage.answers(good, 200)
            await stage.heard_by(good)
            await stage.hung_up()
            return bad, good, stage.caller.seen

    bad, good, seen = asyncio.run(scenario())
    assert bad.ports.rtp == []
    assert bad.ports.rtcp == []
    only_opened_by(good, [bad])
    (refused,) = [event for event in seen if event["type"] == "mikey.refused"]
    assert (refused["reason"], refused["to_tag"]) == ("auth-failure", "bad")


def test_the_second_of_two_answers_gets_a_bye_and_no_packet(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Device, Device, SipMessage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            winner, loser = await stage.device("winner"), await stage.device("loser")
            stage.answers(winner, 200)
            stage.answers(loser, 200)
            bye = await stage.peer.request("BYE")
            await stage.heard_by(winner)
            end = await stage.hung_up()
            return winner, loser, bye, end

    winner, loser, bye, end = asyncio.run(scenario())
    assert bye.to_tag == "loser"
    assert loser.ports.rtp == []
    assert loser.ports.rtcp == []
    only_opened_by(winner, [loser])
    assert end["reason"] == "hangup"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("stripped", "key-mgmt-missing"),
        ("sdes", "key-mgmt-missing"),
        ("clear", "media-not-secured"),
        ("altered", "auth-failure"),
        ("doubled", "key-mgmt-duplicate"),
    ],
)
def test_an_answer_that_must_be_refused_ends_the_call_without_a_packet(
    answer: str, reason: str, kms: TestKms, speech: str
) -> None:
    def change(sdp: str) -> str:
        lines = sdp.split("\r\n")
        line = next(line for line in lines if line.startswith("a=key-mgmt"))
        crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
        return {
            "stripped": sdp.replace(line + "\r\n", ""),
            "sdes": sdp.replace(line + "\r\n", "") + crypto + "\r\n",
            "clear": sdp.replace("RTP/SAVP", "RTP/AVP"),
            "altered": altered(sdp),
            "doubled": sdp.replace(line, f"{line}\r\n{line}"),
        }[answer]

    async def scenario() -> tuple[Device, SipMessage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            device = await stage.device("device")
            stage.answers(device, 200, change(device.sdp))
            bye = await stage.peer.request("BYE")
            return device, bye, await stage.ended()

    device, bye, end = asyncio.run(scenario())
    assert (end["reason"], end["side"]) == (reason, "remote")
    assert device.ports.rtp == []
    assert device.ports.rtcp == []
    assert reason in (bye.first("reason") or "")
    assert reason in (bye.first("warning") or "")


def test_an_answer_without_a_description_ends_the_call(kms: TestKms, speech: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with calling(kms, speech) as stage:
            stage.peer.respond(stage.invite, 200, to_tag="x")
            await stage.peer.request("BYE")
            return await stage.ended()

    assert asyncio.run(scenario())["reason"] == "answer-missing"


def test_an_answer_by_somebody_else_is_shown_or_refused(kms: TestKms, speech: str) -> None:
    """The ticket is for bob's identity only, so that the one who answers is always bob; see the policy."""

    async def scenario(retarget: str) -> dict[str, Any]:
        async with calling(kms, speech, retarget=retarget) as stage:
            device = await stage.device("device")
            stage.answers(device, 200)
            await stage.caller.until(type="call.answered")
            return await stage.hung_up()

    end = asyncio.run(scenario(retarget="refuse"))
    assert end["security"]["peer"] == CALLED
    assert end["reason"] == "hangup"


@pytest.mark.parametrize(
    ("status", "reason"), [(486, "busy"), (603, "declined"), (404, "not-found"), (480, "no-answer")]
)
def test_a_refusal_has_its_reason(status: int, reason: str, kms: TestKms, speech: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with calling(kms, speech) as stage:
            stage.peer.respond(stage.invite, status, to_tag="x")
            return await stage.ended()

    end = asyncio.run(scenario())
    assert (end["reason"], end["side"], end["status"]) == (reason, "remote", status)


def test_a_refusal_with_a_reason_of_ours_in_its_warning_is_understood(kms: TestKms, speech: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with calling(kms, speech) as stage:
            warning = ("Warning", '399 example.com "ticket-expired: TRe: the ticket expired 3 s ago"')
            stage.peer.respond(stage.invite, 488, to_tag="x", headers=(warning,))
            return await stage.ended()

    end = asyncio.run(scenario())
    assert (end["reason"], end["status"]) == ("ticket-expired", 488)
    assert "3 s ago" in end["detail"]


def test_hanging_up_while_it_rings_cancels(kms: TestKms, speech: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with calling(kms, speech) as stage:
            stage.peer.respond(stage.invite, 180, to_tag="x")
            await stage.caller.until(type="call.ringing")
            stage.caller.do("hangup", call="1")
            await stage.peer.request("CANCEL")
            stage.peer.respond(stage.invite, 487, to_tag="x")
            return await stage.ended()

    end = asyncio.run(scenario())
    assert (end["reason"], end["side"]) == ("cancelled", "local")


def test_nobody_answers(kms: TestKms, speech: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with calling(kms, speech, setup_timeout=0.3) as stage:
            stage.peer.respond(stage.invite, 180, to_tag="x")
            await stage.peer.request("CANCEL")
            stage.peer.respond(stage.invite, 487, to_tag="x")
            return await stage.ended()

    assert asyncio.run(scenario())["reason"] == "setup-timeout"


def test_a_silent_peer_is_keyed_and_not_proven(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with calling(kms, speech, media_timeout=0.2) as stage:
            device = await stage.device("device")
            stage.answers(device, 200)
            failed = await stage.caller.until(type="media.failed")
            return failed, await stage.hung_up()

    failed, end = asyncio.run(scenario())
    assert failed["reason"] == "media-unproven"
    assert end["security"]["media"] == "keyed"


def test_what_one_branch_proved_proves_nothing_of_another(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with calling(kms, speech, media_timeout=0.3) as stage:
            first, second = await stage.device("first"), await stage.device("second")
            stage.answers(first, 183)
            await stage.heard_by(first, 1)
            first.speaks(stage.invite)
            await stage.caller.until(type="media.proven")
            stage.answers(second, 200)
            answered = await stage.caller.until(type="call.answered")
            await stage.caller.until(type="media.failed")
            return answered, await stage.hung_up()

    answered, end = asyncio.run(scenario())
    assert answered["security"]["media"] == "keyed"
    assert end["security"]["media"] == "keyed"


def test_packets_in_clear_or_under_another_key_prove_nothing(kms: TestKms, speech: str) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with calling(kms, speech, media_timeout=0.4) as stage:
            device = await stage.device("device")
            stage.answers(device, 200)
            await stage.heard_by(device, 1)
            line = next(x for x in stage.invite.sdp.split("\r\n") if x.startswith("m="))
            port = int(line.split()[1])
            for number in range(20):
                clear = bytes((0x80, 8)) + number.to_bytes(2, "big") + bytes(8) + bytes(160)
                device.ports.send_rtp(clear, port)
                device.ports.send_rtp(device.ports.rtp[-1], port)
            await stage.caller.until(type="media.failed")
            await stage.hung_up()
            return stage.caller.seen

    seen = asyncio.run(scenario())
    (stats,) = [event for event in seen if event["type"] == "stats"]
    assert stats["streams"][0]["decrypted"] == 0


def test_the_control_a_plain_peer_hears_a_caller_in_clear(kms: TestKms, speech: str) -> None:
    """Without it, tests that nothing arrives could not fail."""

    async def scenario() -> RtpPorts:
        async with calling(kms, speech, security="off") as stage:
            ports = await RtpPorts.open()
            assert "key-mgmt" not in stage.invite.sdp
            sdp = description(ports, profile="RTP/AVP")
            stage.peer.respond(stage.invite, 200, to_tag="x", sdp=sdp)
            await ports.until_rtp(10)
            await stage.hung_up()
            await ports.until_rtcp()
            return ports

    assert len(asyncio.run(scenario()).rtp) >= 10


def test_streams_made_anew_by_hold_and_resume_never_repeat_a_packet_index(kms: TestKms, speech: str) -> None:
    """Under the same key a sequence number used twice would be key stream used twice."""

    async def scenario() -> Device:
        async with calling(kms, speech) as stage:
            device = await stage.device("device")
            stage.answers(device, 200)
            await stage.heard_by(device)
            for command, direction in (("hold", "recvonly"), ("resume", "sendrecv")) * 2:
                stage.caller.do(command, call="1")
                again = await stage.peer.request("INVITE")
                sdp = device.sdp.replace("a=rtpmap", f"a={direction}\r\na=rtpmap", 1)
                stage.peer.respond(again, 200, to_tag="device", sdp=sdp)
                await stage.peer.request("ACK")
                await stage.heard_by(device, len(device.ports.rtp) + 5)
            await stage.hung_up()
            return device

    device = asyncio.run(scenario())
    only_opened_by(device, [])
    places = [(packet[8:12], packet[2:4]) for packet in device.ports.rtp]
    assert len(set(places)) == len(places)
    assert len({ssrc for ssrc, _ in places}) == 1
