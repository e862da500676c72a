"""Conferences: each pair hears each other, nobody hears himself, and the weakest leg is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sipmikey.testing.kms import TestKms
from sipmikey.testing.stacks import stack_of
from tests.agent.calls.test_caller import settings_of
from tests.agent.hearing import until_heard, write_voice
from tests.agent.processes import Process, running_agent

pytestmark = pytest.mark.processes


def _uri(name: str) -> str:
    return f"sip:{name}@example.com"


class Party:
    """*focus* is in a call with each other one; ``calls`` maps their names to its numbers of the calls."""

    def __init__(self, agents: dict[str, Process], folder: Path) -> None:
        self.agents = agents
        self.focus = agents["alice"]
        self.calls: dict[str, str] = {}
        self._folder = folder

    async def hear(self, **expected: set[str]) -> None:
        """Wait until each hears these, and nobody else."""
        await asyncio.gather(
            *(until_heard(self._folder / f"{name}-heard.wav", names) for name, names in expected.items())
        )

    async def do(self, verb: str, **given: Any) -> dict[str, Any]:
        """Have the focus do something; return the ``conference.changed`` that it causes."""
        self.focus.do(verb, **given)
        return await self.focus.until(type="conference.changed")


@contextlib.asynccontextmanager
async def party(
    kms: TestKms, folder: Path, *guests: str, focus: dict[str, Any] | None = None, **more: dict[str, Any]
) -> AsyncIterator[Party]:
    """Have alice in calls with *guests*; each plays a tone of its own and records what it hears."""
    async with contextlib.AsyncExitStack() as stack:
        agents: dict[str, Process] = {}
        contacts: dict[str, str] = {}
        for name in ("alice", *guests):
            given = (focus or {}) if name == "alice" else {"answer": True, **more.get(name, {})}
            settings = settings_of(
                kms, _uri(name), write_voice(folder, name),
                **{"record": str(folder / f"{name}-heard.wav"), "repeat": True, **given},
            )  # fmt: skip
            agents[name] = await stack.enter_async_context(running_agent(settings))
            contacts[name] = (await agents[name].until(type="ready"))["contact"]
        made = Party(agents, folder)
        for name in guests:
            made.focus.do("call", uri=_uri(name), via=contacts[name])
            made.calls[name] = (await made.focus.until(type="call.answered"))["call"]
            clear = more.get(name, {}).get("security") == "off"
            if not clear:
                await made.focus.until(type="call.state", call=made.calls[name], state="proven")
        yield made
        for agent in agents.values():
            assert await agent.close() == 0


@pytest.mark.pjsua2_only("hears two calls in one file; media in Python records each call in its own")
def test_each_pair_is_heard_and_nobody_hears_himself(kms: TestKms, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with party(kms, tmp_path, "bob", "carol") as three:
            await three.hear(bob={"alice"}, carol={"alice"}, alice={"bob", "carol"})
            bob, carol = three.calls["bob"], three.calls["carol"]
            both = await three.do("conference", calls=[bob, carol])
            assert (both["legs"], both["present"]) == ([bob, carol], True)
            assert both["security"]["media"] == "proven"
            await three.hear(bob={"alice", "carol"}, carol={"alice", "bob"}, alice={"bob", "carol"})
            three.focus.do("rekey", call=carol)
            await three.focus.until(type="media.rekeyed", call=carol)
            out = await three.do("step_out")
            assert out["present"] is False
            await three.hear(bob={"carol"}, carol={"bob"})
            await three.do("step_in")
            three.focus.do("hold", call=bob)
            await three.focus.until(type="call.state", call=bob, state="holding")
            await three.hear(carol={"alice"}, alice={"carol"})
            three.focus.do("resume", call=bob)
            await three.hear(bob={"alice", "carol"}, carol={"alice", "bob"})
            left = await three.do("remove", call=carol)
            assert left["legs"] == [bob]
            await three.hear(bob={"alice"}, carol={"alice"})
            await three.do("add", call=carol)
            await three.hear(bob={"alice", "carol"})
            three.focus.do("hangup", call=bob)
            await three.focus.until(type="conference.changed", legs=[carol])
            await three.hear(carol={"alice"}, alice={"carol"})

    asyncio.run(scenario())


def test_a_leg_in_clear_is_let_in_only_where_policy_says_so(kms: TestKms, tmp_path: Path) -> None:
    async def scenario(focus: dict[str, Any], carol: dict[str, Any]) -> dict[str, Any]:
        async with party(kms, tmp_path, "bob", "carol", focus=focus, carol=carol) as three:
            calls = list(three.calls.values())
            if focus["unprotected_in_conference"]:
                changed = await three.do("conference", calls=calls)
                await three.hear(bob={"alice", "carol"}, carol={"alice", "bob"})
                assert (changed["weakest"], changed["security"]["media"]) == (three.calls["carol"], "off")
                return changed
            three.focus.do("conference", calls=calls)
            refused = await three.focus.until(type="failed")
            await three.hear(bob={"alice"}, carol={"alice"})
            return refused

    focus = {"contacts": {_uri("carol"): "off"}, "unprotected_in_conference": False}
    refused = asyncio.run(scenario(focus, {"security": "off"}))
    assert refused["reason"] == "policy"
    assert "in clear" in refused["detail"]
    asyncio.run(scenario(focus | {"unprotected_in_conference": True}, {"security": "off"}))


def test_calls_whose_media_runs_in_python_are_mixed_too(kms: TestKms, tmp_path: Path) -> None:
    async def scenario() -> None:
        focus = {"engine": "python", "codecs": ["G722", "PCMA"], "suites": ["128"]}
        bob, carol = {"codecs": ["G722"]}, {"codecs": ["PCMA"]}
        async with party(kms, tmp_path, "bob", "carol", focus=focus, bob=bob, carol=carol) as three:
            await three.hear(bob={"alice"}, carol={"alice"})
            await three.do("conference", calls=list(three.calls.values()))
            await three.hear(bob={"alice", "carol"}, carol={"alice", "bob"})
            await three.do("step_out")
            await three.hear(bob={"carol"}, carol={"bob"})
            await three.do("remove", call=three.calls["bob"])

    asyncio.run(scenario())


FOCUSES: dict[str, dict[str, Any]] = {
    "native": {"codecs": ["G722", "PCMA", "PCMU"]},
    "python": {"codecs": ["G722", "PCMA", "PCMU"], "engine": "python", "suites": ["128"]},
}


@pytest.mark.long
@pytest.mark.parametrize("engine", FOCUSES)
def test_a_peer_changes_its_leg_and_the_others_go_on(engine: str, kms: TestKms, tmp_path: Path) -> None:
    """Bob holds, gives new keys, changes the codec, and gets new transports: his leg alone is told of."""
    everybody = {"bob": {"alice", "carol"}, "carol": {"alice", "bob"}}
    mine = {}
    if engine == "native" and stack_of("sip:alice@example.com") != "python":
        # With media in Python alice's first file is of bob's call alone.
        everybody["alice"] = {"bob", "carol"}
        if stack_of("sip:bob@example.com") != "python":
            # While bob holds, he may send music; the stack in Python sends his file (RFC 3264 section 8.4).
            mine = {"alice": {"carol"}}

    async def scenario() -> None:
        bob, carol = {"codecs": ["G722", "PCMA"]}, {"codecs": ["PCMU"]}
        async with party(kms, tmp_path, "bob", "carol", focus=FOCUSES[engine], bob=bob, carol=carol) as three:
            leg, peer = three.calls["bob"], three.agents["bob"]
            number = (await peer.until(type="call.answered"))["call"]
            await peer.until(type="done")

            async def change(verb: str, **given: Any) -> None:
                peer.do(verb, call=number, **given)
                await peer.until(type="done")

            await three.do("conference", calls=list(three.calls.values()))
            await three.hear(**everybody)
            first = len(three.focus.seen)
            await change("hold")
            await three.hear(carol={"alice"}, **mine)
            await change("resume")
            await three.hear(**everybody)
            await change("rekey")
            await three.focus.until(type="media.rekeyed", call=leg)
            peer.do("prefer_codecs", names=["PCMA"])
            await peer.until(type="done")
            await change("refresh")
            await change("move", new_transports=True)
            await three.hear(**everybody)
            changed = [
                one for one in three.focus.seen[first:] if one["type"] in ("media.keyed", "media.rekeyed")
            ]
            assert {one["call"] for one in changed} == {leg}

    asyncio.run(scenario())
