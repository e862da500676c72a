"""Redirections (3xx): the call is made again, with a new offer, and never protected less."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipmikey.cli.calls.narrate import narrate
from sipmikey.cli.output import Paint
from sipmikey.sip import SipMessage
from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER, Device
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.calls.test_branches import caller_settings
from tests.agent.calls.test_caller import Pair, settings_of
from tests.agent.processes import Process, running_agent

CAROL, DAVE = "sip:carol@example.com", "sip:dave@example.com"


class Stage:
    """A caller under test, and the peer that plays everything beyond its outbound proxy."""

    def __init__(self, caller: Process, peer: ScriptedPeer, kms: TestKms) -> None:
        self.caller, self.peer, self.kms = caller, peer, kms

    async def invited(self) -> SipMessage:
        return await self.peer.request("INVITE")

    async def redirects(self, *contacts: str, status: int = 302) -> SipMessage:
        """Redirect the next INVITE, and return it."""
        invite = await self.invited()
        self.peer.respond(invite, status, to_tag="moved", contact=", ".join(contacts))
        return invite

    async def answers(self, invite: SipMessage, identity: str = CALLED) -> Device:
        """Answer *invite* as a device of *identity*; return when both have heard each other."""
        device = await Device.ringing("device", invite, self.kms, identity=identity)
        self.peer.respond(invite, 200, to_tag="device", sdp=device.sdp)
        await self.caller.until(type="call.answered")
        device.speaks(invite)
        await self.caller.until(type="media.proven")
        await device.ports.until_rtp(5)
        assert all(device.opens(packet) for packet in device.ports.rtp)
        return device

    async def ended(self) -> dict[str, Any]:
        """Return the event that ended the call, and see the process out."""
        end = await self.caller.until(type="call.end")
        assert await self.caller.close() == 0
        return end

    async def hung_up(self) -> dict[str, Any]:
        self.caller.do("hangup", call="1")
        return await self.ended()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.caller.seen if event["type"] == kind]

    @property
    def called(self) -> list[str]:
        """The Request-URIs of the INVITEs, in order."""
        invites = {seen.first("call-id"): seen for seen in self.peer.seen if seen.method == "INVITE"}
        return [invite.start_line.split()[1] for invite in invites.values()]


@contextlib.asynccontextmanager
async def calling(kms: TestKms, speech: str, *, uri: str = CALLED, **settings: Any) -> AsyncIterator[Stage]:
    for identity in (CAROL, DAVE):
        kms.user(identity)
    peer = await ScriptedPeer.open()
    more = {"proxy": f"sip:{peer.address};lr", **settings}
    async with running_agent(caller_settings(kms, speech, **more)) as caller:
        await caller.until(type="ready")
        caller.do("call", uri=uri, wait=False)
        await caller.until(type="calling")
        yield Stage(caller, peer, kms)
    peer.close()


def key_mgmt(invite: SipMessage) -> str:
    (line,) = [line for line in invite.sdp.split("\r\n") if line.startswith("a=key-mgmt")]
    return line


def test_another_identity_is_called_with_a_ticket_of_its_own(kms: TestKms, speech: str) -> None:
    """The first INVITE even had early media: nothing of its keys is left."""

    async def scenario() -> tuple[Stage, list[SipMessage], Device, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            first = await stage.invited()
            early = await Device.ringing("early", first, kms)
            stage.peer.respond(first, 183, to_tag="early", sdp=early.sdp)
            await early.ports.until_rtp(5)
            stage.peer.respond(first, 302, to_tag="early", contact=f"Carol <{CAROL};x=y>;q=0.3")
            second = await stage.invited()
            device = await stage.answers(second, CAROL)
            assert not any(early.opens(packet) for packet in device.ports.rtp)
            return stage, [first, second], device, await stage.hung_up()

    stage, invites, _, end = asyncio.run(scenario())
    assert stage.called == [CALLED, f"{CAROL};x=y"]
    assert [invite.uri("to") for invite in invites] == [CALLED, CALLED]
    assert key_mgmt(invites[0]) != key_mgmt(invites[1])
    (told,) = stage.events("call.redirected")
    assert (told["status"], told["target"], told["called"]) == (302, f"{CAROL};x=y", CAROL)
    tickets = [event["ticket"] for event in stage.events("kms.response")]
    assert [ticket["responders"] for ticket in tickets] == [[CALLED], [CAROL]]
    security = end["security"]
    assert (security["media"], security["peer"], security["called"]) == ("proven", CAROL, CALLED)
    assert security["ticket"] == tickets[1]["ticket"]
    assert (end["reason"], end["side"]) == ("hangup", "local")
    (answered,) = stage.events("call.answered")
    assert f"peer: {CAROL}, KMS-authenticated" in (line := narrate(answered, Paint(io.StringIO())) or "")
    assert f"{CALLED} was dialled" in line


def test_a_device_is_called_for_who_was_called(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, list[SipMessage], dict[str, Any], str]:
        other = await ScriptedPeer.open()
        target = f"sip:phone@{other.address}"
        peer = await ScriptedPeer.open()
        async with running_agent(caller_settings(kms, speech)) as caller:
            await caller.until(type="ready")
            caller.do("call", uri=CALLED, via=f"sip:bob@{peer.address}", wait=False)
            first = await Stage(caller, peer, kms).redirects(f"<{target}>")
            stage = Stage(caller, other, kms)
            second = await stage.invited()
            await stage.answers(second)
            return stage, [first, second], await stage.hung_up(), target

    stage, invites, end, target = asyncio.run(scenario())
    assert stage.called == [target]
    assert key_mgmt(invites[0]) != key_mgmt(invites[1])
    assert len(stage.events("kms.request")) == 1, "the ticket may be used again (J)"
    assert (end["security"]["peer"], end["security"]["called"]) == (CALLED, CALLED)


OWN_DOMAIN_ONLY = """
[[rule]]
name = "own domain"
from = ["*"]
to = ["sip:*@example.com"]
decision = "allow"
"""


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[TestKms]:
    """A KMS that refuses tickets for names of other domains."""
    (tmp_path / "kms").mkdir()
    (tmp_path / "kms" / "policy.toml").write_text(OWN_DOMAIN_ONLY)
    server = TestKms(tmp_path)
    server.start()
    yield server
    server.stop()


def test_whom_the_kms_refuses_a_ticket_for_is_called_for_who_was_called(strict: TestKms, speech: str) -> None:
    contact = "sip:phone@desk.example.net"

    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(strict, speech) as stage:
            await stage.redirects(f"<{CAROL}>")
            await stage.redirects(f"<{contact}>")
            await stage.answers(await stage.invited(), CAROL)
            return stage, await stage.hung_up()

    stage, end = asyncio.run(scenario())
    assert stage.called == [CALLED, CAROL, contact]
    assert [event["called"] for event in stage.events("call.redirected")] == [CAROL, contact]
    (refused,) = stage.events("kms.error")
    assert refused["reason"] == "kms-refused"
    assert (end["security"]["peer"], end["security"]["called"]) == (CAROL, CALLED)


def test_contacts_are_tried_in_turn_until_a_6xx(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            await stage.redirects(f"<{DAVE}>;q=0.4", f"<{CAROL}>;q=0.9", "<sip:192.0.2.9>;q=0.1", status=300)
            stage.peer.respond(await stage.invited(), 486, to_tag="busy")
            stage.peer.respond(await stage.invited(), 603, to_tag="declined")
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert stage.called == [CALLED, CAROL, DAVE]
    assert (end["reason"], end["status"], end["security"]["called"]) == ("declined", 603, CALLED)
    told = [(event["status"], event["called"]) for event in stage.events("call.redirected")]
    assert told == [(300, CAROL), (486, DAVE)]


def test_a_contact_that_cannot_be_called_gives_way_to_the_next(kms: TestKms, speech: str) -> None:
    """There is no TLS here."""

    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            await stage.redirects("<sips:bob@example.com>", f"<{CAROL}>")
            stage.peer.respond(await stage.invited(), 486, to_tag="busy")
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert stage.called[-1] == CAROL
    assert end["reason"] == "busy"


@pytest.mark.parametrize(
    ("settings", "status", "contact", "side", "words"),
    [
        ({"redirects": 0}, 302, f"<{CAROL}>", "remote", "302"),
        ({"retarget": "refuse"}, 302, f"<{CAROL}>", "local", "security.retarget"),
        ({}, 302, "", "remote", "has no Contact"),
        ({}, 301, f"<{CAROL}>;q=2", "remote", "malformed Contact"),
        ({}, 302, "<tel:+1>, <http://example.com/>", "remote", "'tel:+1' cannot be called"),
        ({}, 302, f"<{CALLED}>", "remote", "a loop"),
        ({}, 305, "<sip:192.0.2.1;lr>", "remote", "proxy"),
    ],
)
def test_redirections_that_are_not_followed(
    settings: dict[str, Any], status: int, contact: str, side: str, words: str, kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech, **settings) as stage:
            await stage.redirects(contact, status=status)
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert (end["reason"], end["status"], end["side"]) == ("redirected", status, side)
    assert words in end["detail"]
    assert len(stage.called) == 1
    assert not stage.events("call.redirected")
    assert len(stage.events("kms.request")) == 1


def test_a_loop_ends(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            await stage.redirects(f"<{CAROL}>")
            await stage.redirects(f"<{CALLED}>")
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert (end["reason"], end["status"]) == ("redirected", 302)
    assert f"{CALLED} was called before" in end["detail"]
    assert stage.called == [CALLED, CAROL]


def test_there_is_a_limit(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech, redirects=2) as stage:
            for number in range(3):
                await stage.redirects(f"<sip:192.0.2.{number}>")
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert end["reason"] == "redirected"
    assert "more than 2 times" in end["detail"]
    assert len(stage.called) == 3


LESSER = {"security": "preferred", "fallback": "both", "alternative": "sdes-without-tls"}


@pytest.mark.parametrize("required", [CALLED, CAROL])
def test_the_stricter_policy_of_both_holds(required: str, kms: TestKms, speech: str) -> None:
    """Neither the contact's own policy nor a refusal turns a required call into another."""
    other = CAROL if required == CALLED else CALLED

    async def scenario(word: str) -> tuple[Stage, list[SipMessage], dict[str, Any]]:
        contacts = {required: "required", other: word}
        async with calling(kms, speech, **LESSER, contacts=contacts) as stage:
            first = await stage.redirects(f"<{CAROL}>")
            second = await stage.invited()
            stage.peer.respond(second, 488, to_tag="x")
            return stage, [first, second], await stage.ended()

    for word in ("off", "preferred"):
        stage, invites, end = asyncio.run(scenario(word))
        assert end["reason"] == "peer-refused-keying"
        assert len(stage.called) == 2
        assert key_mgmt(invites[1])
        assert "a=crypto" not in invites[1].sdp
        assert "RTP/SAVP" in invites[1].sdp
        assert not stage.events("policy.fallback") + stage.events("policy.alternative")


def test_a_call_that_may_be_clear_stays_so_and_asks_no_kms(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech, security="off") as stage:
            await stage.redirects(f"<{CAROL}>")
            invite, ports = await stage.invited(), await RtpPorts.open()
            stage.peer.respond(invite, 200, to_tag="y", sdp=description(ports, profile="RTP/AVP"))
            await ports.until_rtp(5)
            return stage, await stage.hung_up()

    stage, end = asyncio.run(scenario())
    assert stage.called == [CALLED, CAROL]
    assert end["security"]["media"] == "off"
    assert not stage.events("kms.request")


def test_a_call_that_was_made_again_by_sdes_is_redirected_to_mikey(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, list[SipMessage], dict[str, Any]]:
        async with calling(kms, speech, **LESSER) as stage:
            stage.peer.respond(await stage.invited(), 488, to_tag="x")
            second = await stage.redirects(f"<{CAROL}>")
            third = await stage.invited()
            await stage.answers(third, CAROL)
            return stage, [second, third], await stage.hung_up()

    _, (second, third), end = asyncio.run(scenario())
    assert "a=crypto" in second.sdp
    assert key_mgmt(third)
    assert "a=crypto" not in third.sdp
    assert (end["security"]["peer"], end["security"]["keying"]) == (CAROL, "mikey-ticket")


def test_without_a_kms_there_is_no_second_call(kms: TestKms, speech: str) -> None:
    """Only a KMS that refuses lets the first ticket do: one that is away does not."""

    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            invite = await stage.invited()
            kms.shut()
            try:
                stage.peer.respond(invite, 302, to_tag="moved", contact=f"<{CAROL}>")
                return stage, await stage.ended()
            finally:
                kms.shut(False)

    stage, end = asyncio.run(scenario())
    assert (end["reason"], end["side"]) == ("kms-unreachable", "kms")
    assert stage.called == [CALLED]


@pytest.mark.parametrize("ended_by", ["user", "time", "closing"])
def test_a_call_that_ends_while_the_kms_is_asked(ended_by: str, kms: TestKms, speech: str) -> None:
    limit = 2.0 if ended_by == "time" else 15.0

    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech, kms_timeout=20.0, setup_timeout=limit) as stage:
            invite = await stage.invited()
            kms.delay(20.0)
            try:
                stage.peer.respond(invite, 302, to_tag="moved", contact=f"<{CAROL}>")
                await stage.caller.until(type="kms.request")
                if ended_by == "user":
                    return stage, await stage.hung_up()
                if ended_by == "time":
                    return stage, await stage.ended()
                assert await stage.caller.close() == 0
                return stage, await stage.caller.until(type="call.end")
            finally:
                kms.delay(0)

    stage, end = asyncio.run(scenario())
    assert end["reason"] == ("setup-timeout" if ended_by == "time" else "cancelled")
    assert [event["type"] for event in stage.caller.seen].count("call.end") == 1
    assert stage.called == [CALLED]


def test_the_user_hangs_up_while_the_contact_rings(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech) as stage:
            await stage.redirects(f"<{CAROL}>", f"<{DAVE}>")
            second = await stage.invited()
            stage.peer.respond(second, 180, to_tag="carol")
            await stage.caller.until(type="call.ringing")
            stage.caller.do("hangup", call="1")
            await stage.peer.request("CANCEL")
            stage.peer.respond(second, 487, to_tag="carol")
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert (end["reason"], end["side"]) == ("cancelled", "local")
    assert stage.called == [CALLED, CAROL]


def test_the_time_for_the_set_up_is_that_of_the_whole_call(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[Stage, dict[str, Any]]:
        async with calling(kms, speech, setup_timeout=2.0) as stage:
            await stage.redirects(f"<{CAROL}>", f"<{DAVE}>")
            stage.peer.respond(await stage.invited(), 180, to_tag="carol")
            cancel = await stage.peer.request("CANCEL")
            assert cancel.start_line.split()[1] == CAROL
            return stage, await stage.ended()

    stage, end = asyncio.run(scenario())
    assert end["reason"] == "setup-timeout"
    assert stage.called == [CALLED, CAROL]


def test_whom_the_peer_asks_us_to_call_is_not_called_elsewhere(kms: TestKms, speech: str) -> None:
    """The stack tells the peer of the first INVITE's end only: it hears of the redirection, and decides."""

    async def scenario() -> tuple[Pair, dict[str, Any], ScriptedPeer]:
        elsewhere = await ScriptedPeer.open()
        proxied = settings_of(kms, CALLED, speech, answer=True, transfer=True)
        proxied["proxy"] = f"sip:{elsewhere.address};lr"
        async with (
            running_agent(settings_of(kms, CALLER, speech)) as alice,
            running_agent(proxied) as bob,
        ):
            await alice.until(type="ready")
            call = Pair(alice, bob, (await bob.until(type="ready"))["contact"])
            await call.talk()
            bob.do("prefetch", uri=CAROL)
            await bob.until(type="kms.response", exchange="ticket-request")
            alice.do("transfer", call="1", target=CAROL)
            elsewhere.respond(await elsewhere.request("INVITE"), 302, to_tag="x", contact=f"<{DAVE}>")
            failed = await alice.until(type="failed")
            await call.hang_up()
            for process in (alice, bob):
                assert await process.close() == 0
        return call, failed, elsewhere

    call, failed, elsewhere = asyncio.run(scenario())
    assert (failed["reason"], failed["status"]) == ("redirected", 302)
    assert not [event for event in call.bob.seen if event["type"] == "call.redirected"]
    assert len({seen.first("call-id") for seen in elsewhere.seen if seen.method == "INVITE"}) == 1
