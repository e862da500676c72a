"""A process with one agent. Run with one JSON argument of settings; JSON commands in, JSON events out."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from sipmikey.agent import (
    Agent,
    AgentConfig,
    Alternative,
    Audio,
    Call,
    CallFailed,
    CallPolicy,
    DigestCredentials,
    Fallback,
    IncomingCall,
    KeyManagement,
    Retarget,
    SecurityMode,
    Sip,
    Timeouts,
    TlsFiles,
    Transport,
    document,
)
from sipmikey.agent.call_driver import CallDriver
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.sip import SipMessage


def tell(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def configuration(settings: dict[str, Any]) -> AgentConfig:
    keys = None
    if "psk" in settings:
        keys = KeyManagement(
            kms="sip:kms@example.com",
            psk=Secret(bytes.fromhex(settings["psk"])),
            psk_id=settings["psk_id"].encode(),
            suites=tuple(settings.get("suites", ("256", "128"))),
            keep_resolved=settings.get("keep_resolved", False),
        )
    password = settings.get("password")
    user = settings["identity"].partition(":")[2].partition("@")[0]
    return AgentConfig(
        identity=settings["identity"],
        keys=keys,
        policy=CallPolicy(
            security=SecurityMode(settings.get("security", "required")),
            fallback=Fallback(settings.get("fallback", "never")),
            alternative=Alternative(settings.get("alternative", "none")),
            contacts={uri: SecurityMode(word) for uri, word in settings.get("contacts", {}).items()},
            retarget=Retarget(settings.get("retarget", "accept")),
            transfer=settings.get("transfer", False),
        ),
        sip=Sip(
            bind="127.0.0.1",
            transports=tuple(Transport(name) for name in settings.get("transports", ("udp", "tcp"))),
            prefer=Transport(settings["prefer"]) if "prefer" in settings else None,
            registrar=settings.get("registrar"),
            proxy=settings.get("proxy"),
            redirects=settings.get("redirects", 5),
            preconditions=settings.get("preconditions", False),
            trusted_proxies=frozenset(settings.get("trusted", ())),
            tls=tls_files(settings),
            credentials=DigestCredentials(username=user, password=Secret(password.encode()))
            if password
            else None,
        ),
        audio=Audio(
            play=Path(settings["play"]) if "play" in settings else None,
            record=Path(settings["record"]) if "record" in settings else None,
            repeat=settings.get("repeat", True),
            streams=settings.get("streams", 1),
            rtp_port=settings.get("rtp_port", 0),
            engine=settings.get("engine", "native"),
        ),
        timeouts=Timeouts(
            kms=settings.get("kms_timeout", 5.0),
            setup=settings.get("setup_timeout", 15.0),
            media=settings.get("media_timeout", 5.0),
        ),
        isolated=settings.get("isolated", True),
        calls=settings.get("calls", 4),
        log_level=settings.get("log_level", 0),
        log_file=Path(settings["log_file"]) if "log_file" in settings else None,
    )


def tls_files(settings: dict[str, Any]) -> TlsFiles:
    if "tls" not in settings:
        return TlsFiles()
    folder = Path(settings["tls"])
    return TlsFiles(
        ca_file=folder / "authority.pem",
        certificate_file=folder / "certificate.pem",
        private_key_file=folder / "key.pem",
    )


def judge_slowly(wait_s: float) -> None:
    """Let pjmedia run for that long before a description with keys of SDES is looked at."""
    judge = CallDriver.message

    def slow(self: CallDriver, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if direction == "received" and message.has_sdp:
            time.sleep(wait_s)
        judge(self, direction, message)

    CallDriver.message = slow  # type: ignore[method-assign]


class Worker:
    def __init__(self, agent: Agent, settings: dict[str, Any]) -> None:
        self.agent, self.settings = agent, settings
        self.calls: dict[str, Call] = {}
        self.ringing: dict[str, IncomingCall] = {}

    async def accept(self) -> None:
        while True:
            incoming = await self.agent.incoming()
            self.ringing[incoming.number] = incoming
            tell({"type": "rings", "call": incoming.number, "caller": incoming.caller})
            if self.settings.get("ring"):
                await incoming.ring()
            if self.settings.get("answer"):
                await self.try_to({"do": "answer", "call": incoming.number})

    async def try_to(self, command: dict[str, Any]) -> None:
        try:
            result = await getattr(self, command.pop("do"))(**command)
        except CallFailed as error:
            tell({"type": "failed", "reason": error.reason, "side": error.side, "status": error.status})
        except SipmikeyError as error:
            tell({"type": "failed", "reason": type(error).__name__, "detail": str(error)})
        else:
            tell({"type": "done", "result": result})

    async def call(self, uri: str, via: str | None = None, wait: bool = True) -> str:
        call = await self.agent.call(uri, via=via)
        self.calls[call.number] = call
        tell({"type": "calling", "call": call.number})
        if wait:
            await call.established()
        return call.number

    async def answer(self, call: str) -> None:
        self.calls[call] = await self.ringing[call].answer()

    async def reject(self, call: str, status: int) -> None:
        await self.ringing[call].reject(status)

    async def hangup(self, call: str) -> None:
        await self.calls[call].hangup()

    async def proven(self, call: str) -> None:
        await self.calls[call].proven()

    async def hold(self, call: str) -> None:
        await self.calls[call].hold()

    async def resume(self, call: str) -> None:
        await self.calls[call].resume()

    async def rekey(self, call: str) -> None:
        await self.calls[call].rekey()

    async def dtmf(self, call: str, digits: str) -> None:
        await self.calls[call].send_dtmf(digits)

    async def transfer(self, call: str, target: str) -> None:
        await self.calls[call].transfer(self.calls.get(target, target))

    async def stats(self, call: str) -> list[list[int]]:
        stats = await self.calls[call].stats()
        return [[stream.sent, stream.decrypted, stream.lost] for stream in stats.streams]

    async def prefetch(self, uri: str) -> None:
        await self.agent.prefetch(uri)

    async def register(self) -> None:
        await self.agent.register()

    async def unregister(self) -> None:
        await self.agent.unregister()


async def main(settings: dict[str, Any]) -> None:
    if "judge_after" in settings:
        judge_slowly(settings["judge_after"])
    client = HttpKmsClient(settings["kms_url"], timeout_s=30) if "kms_url" in settings else None
    agent = Agent(configuration(settings), kms=client)

    async def print_events() -> None:
        async for event in agent.events():
            tell(document(event))

    printing = asyncio.create_task(print_events())
    await asyncio.sleep(0)
    loop, commands = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line)
        loop.call_soon_threadsafe(commands.put_nowait, None)

    async with agent:
        worker = Worker(agent, settings)
        tasks = {asyncio.create_task(worker.accept())}
        tell({"type": "ready", "contact": agent.contact})
        threading.Thread(target=read, daemon=True).start()
        while (line := await commands.get()) is not None:
            tasks.add(asyncio.create_task(worker.try_to(json.loads(line))))
        for task in tasks:
            task.cancel()
    await printing
    if client is not None:
        await client.close()
    tell({"type": "closed"})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
