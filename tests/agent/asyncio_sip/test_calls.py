"""Whole calls: the stack in Python with itself and with pjsua2, over each transport, on IPv4 and IPv6."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sipmikey.testing.kms import TestKms
from tests.agent.calls.test_caller import Pair, pair
from tests.agent.hearing import until_heard, write_voice
from tests.agent.processes import Process

PYTHON, PJSUA2 = {"stack": "python"}, {"stack": "pjsua2"}


async def change(who: Process, command: str) -> None:
    who.do(command, call="1")
    await who.until(type="done")


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(PYTHON, PYTHON), (PYTHON, PJSUA2), (PJSUA2, PYTHON)],
    ids=["both", "caller", "callee"],
)
def test_a_call_is_held_resumed_and_given_new_keys_by_both_sides(
    mine: dict[str, Any], theirs: dict[str, Any], kms: TestKms, speech: str
) -> None:
    async def scenario() -> tuple[Pair, dict[str, Any], dict[str, Any]]:
        async with pair(kms, speech, mine, theirs) as call:
            await call.talk()
            for one, other in ((call.alice, call.bob), (call.bob, call.alice)):
                await change(one, "hold")
                await other.until(type="call.state", state="held")
                await change(one, "resume")
                await change(one, "rekey")
                await one.until(type="media.switched")
            return call, *await call.hang_up()

    call, mine_end, theirs_end = asyncio.run(scenario())
    assert (mine_end["reason"], theirs_end["side"]) == ("hangup", "remote")
    for who in (call.alice, call.bob):
        keys = [event for event in who.seen if event["type"] in ("media.keyed", "media.rekeyed")]
        assert len({event["send_key"] for event in keys}) == 3
        assert not [event for event in who.seen if event["type"] == "media.failed"]


@pytest.mark.parametrize(
    ("theirs", "transport"),
    [(PYTHON, "tcp"), (PYTHON, "tls"), (PJSUA2, "tls")],
    ids=["tcp", "tls", "tls to pjsua2"],
)
def test_a_call_over(theirs: dict[str, Any], transport: str, kms: TestKms, speech: str, tls: str) -> None:
    async def scenario() -> dict[str, Any]:
        more = {"transports": [transport], "prefer": transport, "tls": tls}
        async with pair(kms, speech, {**PYTHON, **more}, {**theirs, **more}) as call:
            await call.talk()
            mine_end, _ = await call.hang_up()
            return mine_end

    end = asyncio.run(scenario())
    assert (end["reason"], end["security"]["signalling"]) == ("hangup", transport)


@pytest.mark.parametrize(("mine", "theirs"), [(PYTHON, PJSUA2), (PJSUA2, PYTHON)], ids=["caller", "callee"])
def test_a_call_in_clear_where_both_want_it(
    mine: dict[str, Any], theirs: dict[str, Any], kms: TestKms, speech: str
) -> None:
    async def scenario() -> dict[str, Any]:
        off = {"security": "off"}
        async with pair(kms, speech, {**mine, **off}, {**theirs, **off}) as call:
            call.dial()
            await call.bob.until(type="call.answered")
            await call.alice.until(type="call.answered")
            for who in (call.alice, call.bob):
                while (await call.count(who))[1] < 5:
                    """Until speech has come."""
            return (await call.hang_up())[0]

    end = asyncio.run(scenario())
    assert (end["reason"], end["security"]["media"]) == ("hangup", "off")


def test_twelve_calls_of_two_agents_each_in_one_process(kms: TestKms, speech: str) -> None:
    calls = 12

    async def scenario() -> list[dict[str, Any]]:
        more = {**PYTHON, "calls": calls}
        async with pair(kms, speech, more, more) as two:
            for _ in range(calls):
                two.dial(wait=False)
            proven = [await two.alice.until(type="media.proven") for _ in range(calls)]
            assert len({event["call"] for event in proven}) == calls
            two.dial(wait=False)
            refused = await two.alice.until(type="call.end")
            assert refused["reason"] == "too-many-calls"
            for number in range(1, calls + 1):
                two.alice.do("hangup", call=str(number))
            return [await two.alice.until(type="call.end") for _ in range(calls)]

    assert {end["reason"] for end in asyncio.run(scenario())} == {"hangup"}


@pytest.mark.parametrize("theirs", [PYTHON, PJSUA2], ids=["python", "pjsua2"])
def test_an_echo_service_sends_back_what_it_hears(
    theirs: dict[str, Any], kms: TestKms, tmp_path: Path
) -> None:
    heard = tmp_path / "heard.wav"

    async def scenario() -> None:
        mine = {**PYTHON, "record": str(heard), "repeat": True}
        async with pair(
            kms, write_voice(tmp_path, "alice"), mine, {**theirs, "play": None, "echo": True}
        ) as call:
            await call.talk()
            await until_heard(heard, {"alice"})
            await call.hang_up()

    asyncio.run(scenario())
