"""Runs an agent until its standard input ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

from sipmikey.agent import Agent, document
from sipmikey.agent.isolation.ahead import load_ahead
from sipmikey.kms.client import HttpKmsClient
from sipmikey.testing.agent_process.faults import judge_late, reveal_keys, shift_clock
from sipmikey.testing.agent_process.lines import LONGEST_LINE, say
from sipmikey.testing.agent_process.settings import agent_config, ticket_file
from sipmikey.testing.agent_process.worker import Desk, Worker


async def main() -> None:
    """Run the agent until stdin ends.

    Besides those of `agent_config` the settings are ``kms_url``, ``clock_offset_s``, ``incoming`` (see
    `Worker`), ``register``, ``ticket_file``, ``reveal_keys`` and ``judge_after_s`` (see `judge_late`).
    """
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    settings = json.loads(await reader.readline())
    if settings.get("reveal_keys"):
        reveal_keys(in_python=agent_config(settings).sip.in_python)
    if settings.get("judge_after_s"):
        judge_late(settings["judge_after_s"])
    if settings.get("clock_offset_s"):
        shift_clock(settings["clock_offset_s"])
    config = agent_config(settings)
    async with contextlib.AsyncExitStack() as opened:
        client = None
        if settings.get("kms_url"):
            client = HttpKmsClient(
                settings["kms_url"],
                timeout_s=config.timeouts.kms,
                allow_plain_http=settings.get("plain_kms", False),
            )
            await opened.enter_async_context(client)
        desk = Desk()
        agent = Agent(config, kms=client, decide=desk.decide, ticket_file=ticket_file(settings, config))

        async def events() -> None:
            async for event in agent.events():
                say(document(event))

        printing = asyncio.create_task(events())
        await asyncio.sleep(0)  # so that no event comes before it is listened for
        async with agent:
            worker = Worker(agent, desk, settings.get("incoming", "ring"), client)
            accepting = asyncio.create_task(worker.accept())
            if settings.get("register"):
                await agent.register()
            say({"type": "kit.ready", "contact": agent.contact})
            async for line in reader:
                worker.start(json.loads(line))
            accepting.cancel()
            await worker.stop()
        await printing


def run() -> None:
    """Run the agent until stdin ends."""
    load_ahead()
    asyncio.run(main())
