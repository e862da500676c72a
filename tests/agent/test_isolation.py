"""The death of a stack process: what ends with it, what goes on, and what it never knew."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.isolation.channel import ChannelClosed
from sipmikey.agent.python_media.recordings import Recordings
from sipmikey.agent.stack import StreamCount
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.testing.kms import TestKms
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.calls.test_caller import pair, settings_of
from tests.agent.processes import Process, children_of, running, running_agent, stacks_of

# The stack in Python runs in the agent's process.
of_pjsua2 = pytest.mark.pjsua2_only("about the process that runs pjsua2")


def stack_of(process: Process) -> int:
    """Return the stack process of an agent."""
    (stack,) = stacks_of(process)
    return stack


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def memory_of(pid: int) -> bytes:
    """Return what a process can write to."""
    parts = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found is not None:
                start, end = int(found[1], 16), int(found[2], 16)
                memory.seek(start)
                try:
                    parts.append(memory.read(end - start))
                except OSError:
                    continue
    return b"\0".join(parts)


@of_pjsua2
def test_a_call_ends_on_both_sides_and_the_next_one_works(kms: TestKms, speech: str, tmp_path: Path) -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with pair(kms, speech, {"record": str(tmp_path / "heard.wav")}) as both:
            await both.talk()
            os.kill(stack_of(both.alice), signal.SIGKILL)
            failed = await both.alice.until(type="stack.failed")
            assert (failed["calls"], failed["again_in_s"]) == (1, 0.0)
            ended = await both.alice.until(type="call.end"), await both.bob.until(type="call.end")
            both.dial()
            await both.alice.until(type="media.proven")
            await both.bob.until(type="media.proven")
        return ended

    ours, peers = asyncio.run(scenario())
    assert (ours["reason"], ours["side"]) == ("stack-failed", "local")
    assert (peers["reason"], peers["side"]) == ("stack-failed", "remote")
    # What the process that died has recorded is kept, for its owner.
    recordings = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert recordings == {"heard.wav": 0o600, "heard-2.wav": 0o600}


@of_pjsua2
def test_the_callee_says_goodbye_too(kms: TestKms, speech: str) -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with pair(kms, speech) as both:
            await both.talk()
            os.kill(stack_of(both.bob), signal.SIGSEGV)
            ended = await both.bob.until(type="call.end"), await both.alice.until(type="call.end")
            both.dial()
            await both.bob.until(type="media.proven")
        return ended

    ours, peers = asyncio.run(scenario())
    assert (ours["reason"], ours["side"]) == ("stack-failed", "local")
    assert "SIGSEGV" in ours["detail"]
    assert (peers["reason"], peers["side"]) == ("stack-failed", "remote")


@of_pjsua2
def test_a_stack_process_knows_no_key_but_those_of_its_calls_and_logs_none(
    kms: TestKms, speech: str, tmp_path: Path
) -> None:
    log = tmp_path / "sip.log"

    async def scenario() -> bytes:
        async with pair(kms, speech, {"log_level": 6, "log_file": str(log), "new": True}) as both:
            await both.talk()
            secret = bytes.fromhex(kms.user("sip:alice@example.com").psk)
            for process, known in ((stack_of(both.alice), False), (both.alice.child.pid, True)):
                memory = memory_of(process)
                found = [
                    form
                    for form in (secret, secret.hex().encode(), base64.b64encode(secret))
                    if form in memory
                ]
                assert bool(found) is known
            status = Path(f"/proc/{stack_of(both.alice)}/limits").read_text()
        return status.encode()

    limits = asyncio.run(scenario())
    assert re.search(rb"Max core file size +0 +0", limits)
    # From level 5 on pjmedia would write "TX: AES_256_CM_HMAC_SHA1_80 key=" and the key.
    text = log.read_text(errors="replace")
    assert "INVITE sip:" in text
    assert "key=" not in text
    assert log.stat().st_mode & 0o777 == 0o600


@of_pjsua2
def test_the_registration_comes_back(kms: TestKms, speech: str) -> None:
    async def scenario() -> None:
        registrar = await ScriptedPeer.open()
        settings = settings_of(kms, "sip:alice@example.com", speech, registrar=f"sip:{registrar.address}")
        async with running_agent(settings) as alice:
            await alice.until(type="ready")
            alice.do("register")
            contact = await granted(registrar)
            await alice.until(type="reg.ok")
            os.kill(stack_of(alice), signal.SIGABRT)
            assert await granted(registrar) == contact
            await alice.until(type="reg.ok")

    asyncio.run(scenario())


async def granted(registrar: ScriptedPeer) -> str:
    """Grant the next registration; return its Contact without parameters."""
    request = await registrar.request("REGISTER")
    contact = str(request.uri("contact"))
    registrar.respond(
        request, 200, to_tag="r", contact=f"<{contact}>;expires=300", headers=(("Expires", "300"),)
    )
    return contact.partition(";")[0]


def test_many_deaths_in_a_row_are_told_and_followed_by_longer_pauses() -> None:
    async def scenario() -> list[float]:
        pauses = []
        async with running("raw_peer.py", {}) as agent:
            await agent.until(what="ready")
            for _ in range(5):
                os.kill(await until_started(agent), signal.SIGKILL)
                pauses.append((await agent.until(what="stack-lost"))["again_in_s"])
            assert await agent.close() == 0
        return pauses

    assert asyncio.run(scenario()) == [0.0, 0.0, 0.0, 0.5, 1.0]


async def until_started(agent: Process) -> int:
    """Return the number of the stack process, once it can make calls."""
    while True:
        agent.do("ready_in")
        if (await agent.until(what="ready_in"))["seconds"] == 0.0:
            return stack_of(agent)
        await asyncio.sleep(0.05)


def test_the_stack_process_ends_with_the_agent() -> None:
    async def scenario() -> None:
        async with running("raw_peer.py", {}) as agent:
            await agent.until(what="ready")
            stack = stack_of(agent)
            agent.child.kill()
            await asyncio.to_thread(agent.child.wait)
            async with asyncio.timeout(10):
                while not gone(stack):
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_stack_processes_outlive_the_one_they_are_copies_of() -> None:
    async def scenario() -> None:
        async with running("raw_peer.py", {}) as agent:
            await agent.until(what="ready")
            stack = await until_started(agent)
            (loader,) = children_of(agent.child.pid)
            os.kill(loader, signal.SIGKILL)
            agent.do("ready_in")
            assert (await agent.until(what="ready_in"))["seconds"] == 0.0
            # Without the one that made it nobody knows how it ended; it is replaced all the same.
            os.kill(stack, signal.SIGKILL)
            await agent.until(what="stack-lost")
            assert await until_started(agent) != stack
            assert await agent.close() == 0

    asyncio.run(scenario())


def test_recordings_of_a_stack_that_died_are_kept(tmp_path: Path) -> None:
    first = tmp_path / "heard.wav"
    for name in ("heard.wav", "heard-2.wav"):
        (tmp_path / name).touch()
    later, fresh = Recordings(first, again=True), Recordings(first)
    assert [later.next().name, later.next().name] == ["heard-3.wav", "heard-4.wav"]
    assert [fresh.next().name, fresh.next().name] == ["heard.wav", "heard-2.wav"]


def test_what_a_dead_process_is_asked_fails_with_the_reason_that_its_calls_end_with() -> None:
    counts = (StreamCount(index=0, codec="PCMA", sent=1, received=2, lost=0),)
    answers: list[tuple[StreamCount, ...]] = [counts]

    def ask(question: object) -> object:
        if answers:
            return answers.pop()
        raise ChannelClosed("the stack process is gone")

    call = RemoteCall(1, ask, python_media=False)
    assert call.counts() == call.counts() == counts
    with pytest.raises(AgentError) as caught:
        call.answer(200)
    assert caught.value.reason is Reason.STACK_FAILED


def test_a_call_that_is_being_set_up_ends_as_well() -> None:
    async def scenario() -> None:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {}) as agent:
            await agent.until(what="ready")
            agent.do("call", call="out", uri=f"sip:peer@{peer.address}")
            invite = await peer.request("INVITE")
            peer.respond(invite, 183, to_tag="a", sdp=description(ports))
            await agent.until(what="message", direction="received", status=183)
            os.kill(stack_of(agent), signal.SIGKILL)
            failed = await agent.until(what="failed")
            assert failed["kind"] == "AgentError"
            await agent.until(what="phase", phase="disconnected")
            await until_started(agent)
            agent.do("call", call="out2", uri=f"sip:peer@{peer.address}")
            await peer.request("INVITE")

    asyncio.run(scenario())
