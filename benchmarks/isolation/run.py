"""What pjsua2 in processes of its own costs, what the death of one does, and calls of each stack.

    python -m benchmarks.isolation.run setup [--calls 40] [--stack pjsua2 python]
    python -m benchmarks.isolation.run deaths [--calls 1 4 20] [--after 3]
    python -m benchmarks.isolation.run many [--calls 50] [--seconds 10] [--stack pjsua2 python]

``setup``: calls one at a time, in turns on the SIP stacks named, and with pjsua2 in the agent's process.
``deaths``: kill -9 of the stack
process that has the SIP port, in the middle of so many calls, so many seconds after the start. ``many``: so
many calls of one agent at a time, on each of the SIP stacks named. Agents, KMS and registrar run here, on
loopback. Prints one JSON object a result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import time
from typing import Any

from benchmarks.isolation.parties import Registrar, cpu_s, memory_mb, parties
from sipmikey.testing.stacks import STACKS
from tests.agent.calls.scripted import ScriptedPeer
from tests.agent.calls.test_caller import Pair
from tests.agent.processes import Process, children_of, stacks_of

ROUND = 5
SETTLE_S = 1.5


async def dial(pair: Pair) -> dict[str, Any]:
    """Call, and return when alice has decrypted a packet: the event of the answer."""
    pair.dial()
    answered = await pair.alice.until(type="call.answered")
    await pair.alice.until(type="media.proven")
    return answered


async def setup(calls: int, stacks: list[str]) -> None:
    """Print set-up time, CPU and memory of each way."""
    ways = {stack: {"stack": stack, "isolated": True} for stack in stacks}
    if "pjsua2" in ways:
        ways["pjsua2 in the agent's process"] = {"stack": "pjsua2", "isolated": False}
    times: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    async with contextlib.AsyncExitStack() as opened:
        pairs = {way: await opened.enter_async_context(parties(**more)) for way, more in ways.items()}
        await asyncio.sleep(SETTLE_S)
        for _ in range(-(-calls // ROUND)):
            for way, pair in pairs.items():
                begin = cpu_s(pair.alice)
                for _ in range(ROUND):
                    answered = await dial(pair)
                    times[way].append(answered["setup_ms"])
                    pair.alice.do("hangup", call=answered["call"])
                    await pair.alice.until(type="call.end")
                cpu[way].append((cpu_s(pair.alice) - begin) / ROUND * 1e3)
        for way, pair in pairs.items():
            ordered = sorted(times[way])
            show(
                way=way,
                calls=len(ordered),
                setup_ms=round(statistics.median(ordered), 2),
                p95_ms=round(ordered[int(0.95 * len(ordered))], 2),
                caller_cpu_ms_per_call=round(statistics.median(cpu[way]), 1),
                memory_mb=processes_of(pair.alice),
            )


def processes_of(agent: Process) -> dict[str, Any]:
    """Return the memory of an agent and of what runs pjsua2 for it."""
    found = {"agent": memory_mb(agent.child.pid)}
    if stacks := stacks_of(agent):
        found |= {"loader": memory_mb(children_of(agent.child.pid)[0]), "stack process": memory_mb(stacks[0])}
    return found


async def deaths(calls: int, after_s: float) -> None:
    """Print what ends with a stack process, what goes on, and when the registration is back."""
    registrar = Registrar(await ScriptedPeer.open())
    async with parties(registrar=registrar.address, calls=max(4, calls)) as pair:
        began = time.monotonic()
        pair.alice.do("register")
        await pair.alice.until(type="reg.ok")
        for _ in range(calls):
            await dial(pair)
        await asyncio.sleep(max(0.0, began + after_s - time.monotonic()))
        first = stacks_of(pair.alice)[0]
        processes, registrations = len(stacks_of(pair.alice)), len(registrar.granted)
        killed, at = time.monotonic(), time.time()
        os.kill(first, signal.SIGKILL)
        lost = await pair.alice.until(type="stack.failed")
        await pair.alice.until(type="reg.ok")
        back = time.monotonic() - killed
        await asyncio.sleep(SETTLE_S)
        mine, theirs = ends(pair.alice), ends(pair.bob)
        going_on = await heard_again(pair.alice, {event["call"] for event in mine})
        pair.dial()
        await pair.alice.until(type="media.proven")
        show(
            calls=calls,
            processes=processes,
            lost=lost["calls"],
            ended_here={event["reason"] for event in mine},
            ended_here_after_s=round(max(event["at"] for event in mine) - at, 3),
            peers_told=len(theirs),
            peers_told_after_s=round(max(event["at"] for event in theirs) - at, 3),
            going_on=going_on,
            register_sent_after_s=round(registrar.granted[registrations] - killed, 3),
            registered_after_s=round(back, 3),
        )
    registrar.close()


def ends(process: Process) -> list[dict[str, Any]]:
    return [event for event in process.seen if event["type"] == "call.end"]


async def heard_again(agent: Process, over: set[str]) -> int:
    """Return how many calls that are not over decrypt packets now."""
    heard = 0
    for number in {event["call"] for event in agent.seen if event["type"] == "call.answered"} - over:
        counts = []
        for _ in range(2):
            agent.do("stats", call=number)
            counts.append((await agent.until(type="done"))["result"][0][1])
            await asyncio.sleep(0.1)
        heard += counts[1] > counts[0]
    return heard


async def many(calls: int, seconds: float, stack: str) -> None:
    """Print how many calls of one agent, to another one here, are heard at once."""
    async with parties(calls=calls, stack=stack, calls_per_second=1000) as pair:
        times, failed = [], 0
        await asyncio.sleep(SETTLE_S)
        idle = memory_mb(pair.alice.child.pid)["own"]
        for _ in range(calls):
            try:
                times.append((await dial(pair))["setup_ms"])
            except TimeoutError:
                failed += 1
        await asyncio.sleep(SETTLE_S)
        begin, cpu = time.monotonic(), [cpu_s(one) for one in (pair.alice, pair.bob)]
        before = await all_stats(pair.alice)
        await asyncio.sleep(seconds)
        now = await all_stats(pair.alice)
        passed = time.monotonic() - begin
        load = [(cpu_s(one) - was) / passed for one, was in zip((pair.alice, pair.bob), cpu, strict=True)]
        moved = [[new - old for new, old in zip(now[call], before[call], strict=True)] for call in before]
        stacks = stacks_of(pair.alice) if stack == "pjsua2" else []
        show(
            stack=stack,
            calls=len(before),
            failed=failed,
            processes=len(stacks),
            setup_ms=round(statistics.median(times), 1),
            setup_p95_ms=round(sorted(times)[int(0.95 * len(times))], 1),
            heard=sum(one[1] > 0 for one in moved),
            decrypted_per_second_and_call=round(statistics.median(one[1] for one in moved) / passed, 1),
            lost=sum(one[2] for one in moved),
            cores_of_the_agent=round(load[0], 2),
            cores_of_its_peer=round(load[1], 2),
            memory_mb=[memory_mb(pid) for pid in (*stacks[:2], pair.alice.child.pid)],
            agent_kb_per_call=round(
                (memory_mb(pair.alice.child.pid)["own"] - idle) * 1024 / max(1, len(before))
            ),
        )


async def all_stats(agent: Process) -> dict[str, list[int]]:
    found = {}
    for number in [event["call"] for event in agent.seen if event["type"] == "call.answered"]:
        agent.do("stats", call=number)
        found[number] = (await agent.until(type="done"))["result"][0]
    return found


def show(**facts: Any) -> None:
    print(json.dumps(facts, default=sorted), flush=True)


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["setup", "deaths", "many"])
    parser.add_argument("--calls", type=int, nargs="+")
    parser.add_argument("--after", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stack", choices=STACKS, nargs="+", default=["pjsua2"])
    given = parser.parse_args()
    match given.what:
        case "setup":
            asyncio.run(setup((given.calls or [40])[0], given.stack))
        case "deaths":
            for calls in given.calls or (1, 4, 20):
                asyncio.run(deaths(calls, given.after))
        case "many":
            for stack in given.stack:
                asyncio.run(many((given.calls or [50])[0], given.seconds, stack))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
