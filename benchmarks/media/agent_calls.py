"""Four calls between two agents, keyed with tickets of a KMS: ``agent_calls.py SETTINGS``.

SETTINGS is JSON: identity, psk (hexadecimal), psk_id, kms_url, play, and for the caller also called and via.
The callee prints ``port SIP-URI``, the caller ``ready`` when all calls are proven. For each line on standard
input: ``counts {...}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from sipmikey.agent import Agent, AgentConfig, Audio, Call, KeyManagement, Sip
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.secret import Secret

CALLS = 4
PACE_S = 0.2


def configuration(settings: dict[str, Any]) -> AgentConfig:
    return AgentConfig(
        identity=settings["identity"],
        keys=KeyManagement(
            kms="sip:kms@example.com",
            psk=Secret(bytes.fromhex(settings["psk"])),
            psk_id=settings["psk_id"].encode(),
            suites=("128",),
        ),
        sip=Sip(bind="127.0.0.1"),
        audio=Audio(play=Path(settings["play"]), repeat=True, codecs=("PCMA",)),
    )


async def answer_all(agent: Agent, calls: list[Call]) -> None:
    while True:
        calls.append(await (await agent.incoming()).answer())


async def main(settings: dict[str, Any]) -> None:
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str]()
    loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
    calls: list[Call] = []
    async with HttpKmsClient(settings["kms_url"]) as kms, Agent(configuration(settings), kms=kms) as agent:
        if "called" in settings:
            for _ in range(CALLS):
                calls.append(await agent.call(settings["called"], via=settings["via"]))
                await asyncio.sleep(PACE_S)
            for call in calls:
                await call.proven()
            print("ready", flush=True)
        else:
            print("port", agent.contact, flush=True)
            answering = asyncio.create_task(answer_all(agent, calls))
        while await lines.get():
            streams = [(await call.stats()).streams[0] for call in calls]
            counts = {
                "sent": sum(stream.sent for stream in streams),
                "received": sum(stream.decrypted for stream in streams),
                "lost": sum(stream.lost for stream in streams),
            }
            print("counts", json.dumps(counts), flush=True)
        if "called" not in settings:
            answering.cancel()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
