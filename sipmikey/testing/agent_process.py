"""The process of one agent under test: commands come as JSON lines on stdin, events and results go out.

`python -m sipmikey.testing.agent_process` is started by `sipmikey.testing.agents`. The first line is the
agent's settings; each other one is a command, `{"id": 1, "do": "call", ...}`; its result `{"id": 1, "result":
{...}}` or `{"id": 1, "error": {...}}`. Everything else that is printed is an event of the agent.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from sipmikey import system
from sipmikey.agent import (
    Agent,
    AgentConfig,
    Audio,
    Call,
    CallFailed,
    CallPolicy,
    IncomingCall,
    KeyManagement,
    SecurityMode,
    Sip,
    Timeouts,
    document,
)
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.secret import Secret

Fields = dict[str, Any]


def say(fields: Mapping[str, Any]) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def agent_config(settings: Fields) -> AgentConfig:
    """Return the agent's configuration."""
    keys = None
    if settings["kms_url"]:
        keys = KeyManagement(
            kms=settings["kms"],
            psk=Secret(bytes.fromhex(settings["psk"])),
            psk_id=settings["psk_id"].encode(),
            suites=tuple(settings["suites"]),
        )
    return AgentConfig(
        identity=settings["identity"],
        keys=keys,
        policy=CallPolicy(security=SecurityMode(settings["security"])),
        sip=Sip(bind="127.0.0.1", proxy=settings["proxy"], registrar=settings["registrar"]),
        audio=Audio(
            play=Path(settings["play"]) if settings["play"] else None, record=Path(settings["record"])
        ),
        timeouts=Timeouts(kms=settings["kms_timeout_s"], setup=settings["setup_timeout_s"]),
        log_file=Path(settings["log"]),
        log_level=settings["log_level"],
    )


class Worker:
    """Carries out commands on the agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._calls: dict[str, Call] = {}
        self._incoming: dict[str, IncomingCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self) -> None:
        """Let calls ring, and say so."""
        while True:
            incoming = await self._agent.incoming()
            self._incoming[incoming.number] = incoming
            await incoming.ring()
            say(
                {
                    "type": "kit.ringing",
                    "call": incoming.number,
                    "caller": incoming.caller,
                    "called": incoming.called,
                }
            )

    def start(self, command: Fields) -> None:
        """Begin a command; several may be under way."""
        task = asyncio.create_task(self._answer(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, command: Fields) -> None:
        verbs: dict[str, Callable[[Fields], Awaitable[object]]] = {
            "call": self._call,
            "answer": self._take,
            "reject": lambda given: self._incoming[given["call"]].reject(given["status"]),
            "established": lambda given: self._calls[given["call"]].established(),
            "proven": lambda given: self._calls[given["call"]].proven(),
            "hangup": lambda given: self._calls[given["call"]].hangup(),
            "hold": lambda given: self._calls[given["call"]].hold(),
            "resume": lambda given: self._calls[given["call"]].resume(),
            "rekey": lambda given: self._calls[given["call"]].rekey(),
            "dtmf": lambda given: self._calls[given["call"]].send_dtmf(given["digits"]),
            "prefetch": lambda given: self._agent.prefetch(given["uri"]),
            "security": self._security,
        }
        try:
            result = await verbs[command["do"]](command)
        except CallFailed as error:
            failure = {
                "reason": error.reason,
                "side": error.side,
                "status": error.status,
                "detail": error.detail,
            }
            say({"id": command["id"], "error": failure})
        except SipmikeyError as error:
            failure = {"reason": "local-error", "side": "local", "status": 0, "detail": str(error)}
            say({"id": command["id"], "error": failure})
        else:
            say({"id": command["id"], "result": result if isinstance(result, dict) else {}})

    async def _call(self, command: Fields) -> Fields:
        call = await self._agent.call(command["uri"])
        self._calls[call.number] = call
        return {"call": call.number}

    async def _take(self, command: Fields) -> Fields:
        number = command["call"]
        self._calls[number] = await self._incoming[number].answer()
        return {"call": number}

    async def _security(self, command: Fields) -> Fields:
        facts = dataclasses.asdict(self._calls[command["call"]].security)
        return {name: None if value is None else str(value) for name, value in facts.items()}


def shift_clock(seconds: float) -> None:
    """Let this process's clock be wrong."""
    true_ns = system.now_ns
    system.now_ns = lambda: true_ns() + round(seconds * 1e9)


async def main() -> None:
    """Run the agent until stdin ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    settings = json.loads(await reader.readline())
    if settings["clock_offset_s"]:
        shift_clock(settings["clock_offset_s"])
    client = (
        HttpKmsClient(settings["kms_url"], timeout_s=settings["kms_timeout_s"])
        if settings["kms_url"]
        else None
    )
    agent = Agent(agent_config(settings), kms=client)

    async def events() -> None:
        async for event in agent.events():
            say(document(event))

    printing = asyncio.create_task(events())
    await asyncio.sleep(0)
    try:
        async with agent:
            worker = Worker(agent)
            accepting = asyncio.create_task(worker.accept())
            if settings["registrar"]:
                await agent.register()
            say({"type": "kit.ready", "contact": agent.contact})
            async for line in reader:
                worker.start(json.loads(line))
            accepting.cancel()
    finally:
        if client is not None:
            await client.close()
    await printing


if __name__ == "__main__":
    asyncio.run(main())
