"""Calls to and from a phone that knows SDES only, over TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sipmikey.testing.kms import TestKms
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.test_caller import settings_of
from tests.agent.processes import Process, running, running_agent
from tests.agent.sdes.descriptions import events, secrets_in


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


@pytest.mark.pjsua2_only("reads the log of pjsip, which may not have keys in it")
def test_a_call_to_a_phone_that_knows_sdes_only(kms: TestKms, speech: str, tls: str, tmp_path: Path) -> None:
    log = tmp_path / "pjsip.log"

    async def scenario() -> tuple[Process, Process]:
        phone_settings = {"identity": CALLED, "on": ["udp", "tls"], "tls": tls}
        async with running("sdes/phone.py", phone_settings) as phone:
            address = (await phone.until(type="ready"))["addresses"]["tls"]
            logged = {"log_level": 5, "log_file": str(log)}
            settings = over_tls(kms, CALLER, speech, tls, proxy=f"sip:{address};transport=tls", **logged)
            async with running_agent(settings) as alice:
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


@pytest.mark.parametrize("stack", ["pjsua2", "python"])
def test_a_call_from_a_phone_that_knows_sdes_only(stack: str, kms: TestKms, speech: str, tls: str) -> None:
    async def scenario() -> Process:
        phone_settings = {"identity": CALLER, "on": ["udp", "tls"], "tls": tls}
        settings = over_tls(
            kms, CALLED, speech, tls, answer=True, prefer="tls", transports=("tls", "udp"), stack=stack
        )
        async with (
            running_agent(settings) as bob,
            running("sdes/phone.py", phone_settings) as phone,
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
