"""An agent in a process of its own, driven by JSON lines: `python agent_main.py SETTINGS`.

Standard input takes `{"id": 1, "do": "call", "uri": ...}`; standard output gives `{"reply": 1, ...}`, every
event of the agent as `{"event": {...}}` and, for the tests that decrypt captures, the keys given to SRTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sipmikey import system
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
    Question,
    Retarget,
    SecurityMode,
    Sip,
    Timeouts,
    TlsFiles,
    Transport,
    document,
)
from sipmikey.agent.pjsua.stack import PjsuaCall
from sipmikey.agent.stack import SrtpKeys
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey import Secret
from sipmikey.sound.settings import SoundSettings

LONGEST_LINE = 1 << 20


def say(**document: Any) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def reveal_keys() -> None:
    """Print what SRTP is keyed with, beside keying it."""
    key = PjsuaCall.key

    def revealing(self: PjsuaCall, index: int, keys: SrtpKeys) -> None:
        say(
            keys={
                "index": index,
                "suite": keys.suite,
                "send": keys.send.reveal().hex(),
                "receive": keys.receive.reveal().hex(),
            }
        )
        key(self, index, keys)

    PjsuaCall.key = revealing  # type: ignore[method-assign]


def set_clock(offset_s: float) -> None:
    """Let this process believe in a time *offset_s* seconds from the true one."""
    true_time = system.now_ns
    system.now_ns = lambda: true_time() + int(offset_s * 1e9)


def agent_config(settings: dict[str, Any]) -> AgentConfig:
    keys = settings.get("keys")
    policy = settings.get("policy", {})
    digest = settings.get("digest")
    tls = settings.get("tls")
    sip = {**settings.get("sip", {})}
    for name in ("transports", "trusted_proxies"):
        if name in sip:
            sip[name] = {"transports": _transports, "trusted_proxies": frozenset}[name](sip[name])
    if sip.get("prefer"):
        sip["prefer"] = Transport(sip["prefer"])
    audio = {
        name: Path(value) if name in ("play", "record") else value
        for name, value in settings.get("audio", {}).items()
    }
    if "codecs" in audio:
        audio["codecs"] = tuple(audio["codecs"])
    if "sound" in audio:
        audio["sound"] = SoundSettings(**audio["sound"])
    return AgentConfig(
        identity=settings["identity"],
        keys=None
        if keys is None
        else KeyManagement(
            **{
                **keys,
                "psk": Secret(bytes.fromhex(keys["psk"])),
                "psk_id": keys["psk_id"].encode(),
                "suites": tuple(keys.get("suites", ("256", "128"))),
            }
        ),
        policy=CallPolicy(
            security=SecurityMode(policy.get("security", "required")),
            fallback=Fallback(policy.get("fallback", "never")),
            alternative=Alternative(policy.get("alternative", "none")),
            contacts={uri: SecurityMode(word) for uri, word in policy.get("contacts", {}).items()},
            retarget=Retarget(policy.get("retarget", "accept")),
            transfer=policy.get("transfer", False),
        ),
        sip=Sip(
            **sip,
            credentials=None
            if digest is None
            else DigestCredentials(username=digest["username"], password=Secret(digest["password"].encode())),
            tls=TlsFiles() if tls is None else TlsFiles(ca_file=Path(tls)),
        ),
        audio=Audio(**audio),
        timeouts=Timeouts(**settings.get("timeouts", {})),
        log_level=settings.get("log_level", 0),
        log_file=Path(settings["log_file"]) if settings.get("log_file") else None,
    )


def _transports(words: list[str]) -> tuple[Transport, ...]:
    return tuple(Transport(word) for word in words)


class Desk:
    """Where the agent's questions wait for the command ``decide``, by the number of the call."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Future[bool]] = {}

    async def decide(self, question: Question) -> bool:
        answer = self._open[question.call] = asyncio.get_running_loop().create_future()
        return await answer

    def answer(self, call: str, accept: bool) -> None:
        self._open.pop(call).set_result(accept)


class Driver:
    """Turns commands into calls of the agent's methods, each in a task of its own."""

    def __init__(self, agent: Agent, incoming: str, desk: Desk) -> None:
        self._agent = agent
        self._mode = incoming
        self._desk = desk
        self._calls: dict[str, Call] = {}
        self._ringing: dict[str, IncomingCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take commands until standard input ends."""
        commands = asyncio.StreamReader(limit=LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
        )
        background = [asyncio.create_task(self._tell_events()), asyncio.create_task(self._take_calls())]
        say(ready=True, contact=self._agent.contact)
        async for line in commands:
            task = asyncio.create_task(self._obey(json.loads(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for task in (*background, *self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _tell_events(self) -> None:
        async for event in self._agent.events():
            say(event=document(event))

    async def _take_calls(self) -> None:
        while True:
            call = await self._agent.incoming()
            self._ringing[call.number] = call
            say(incoming=call.number, caller=call.caller, called=call.called)
            task = asyncio.create_task(self._greet(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _greet(self, call: IncomingCall) -> None:
        if self._mode in ("ring", "answer"):
            await call.ring()
        if self._mode == "answer":
            try:
                self._calls[call.number] = await call.answer()
            except CallFailed as failure:
                say(answer_failed=call.number, reason=str(failure.reason), detail=failure.detail)

    async def _obey(self, command: dict[str, Any]) -> None:
        number = command.pop("id")
        try:
            say(reply=number, ok=await self._do(command.pop("do"), **command))
        except CallFailed as failure:
            say(
                reply=number,
                failed={
                    "reason": str(failure.reason),
                    "side": failure.side,
                    "status": failure.status,
                    "detail": failure.detail,
                },
            )
        except Exception as error:
            say(reply=number, error=f"{type(error).__name__}: {error}")
            raise

    def _follow(self) -> None:
        """Know the calls that transfers made of those known."""
        for known in list(self._calls.values()):
            if known.successor is not None:
                self._calls[known.successor.number] = known.successor

    async def _do(self, verb: str, call: str = "", **arguments: Any) -> Any:
        agent = self._agent
        self._follow()
        match verb:
            case "register" | "unregister":
                return await getattr(agent, verb)()
            case "prefetch":
                return await agent.prefetch(arguments["uri"])
            case "prefer_codecs":
                return await agent.prefer_codecs(*arguments["names"])
            case "call":
                made = await agent.call(arguments["uri"], via=arguments.get("via"))
                self._calls[made.number] = made
                return made.number
            case "decide":
                return self._desk.answer(call, arguments["accept"])
            case "answer":
                self._calls[call] = await self._ringing[call].answer()
                return None
            case "ring" | "reject":
                return await getattr(self._ringing[call], verb)(**arguments)
            case "security":
                security = self._calls[call].security
                return {name: _word(getattr(security, name)) for name in security.__slots__}
            case "transfer":
                target = arguments["target"]
                return await self._calls[call].transfer(self._calls.get(target, target))
            case "sound":
                return getattr(agent.sound, arguments["what"])(*arguments.get("given", ()))
            case "dtmf":
                return await self._calls[call].send_dtmf(arguments["digits"])
            case "ended" if call in self._ringing and call not in self._calls:
                return document(await self._ringing[call].ended())
            case "ended" | "hangup" | "stats":
                return document(await getattr(self._calls[call], verb)())
            case _:
                method: Callable[..., Awaitable[None]] = getattr(self._calls[call], verb)
                return await method(**arguments)


def _word(value: Any) -> Any:
    return None if value is None else str(value)


async def main(settings: dict[str, Any]) -> None:
    reveal_keys()
    if settings.get("clock_offset_s"):
        set_clock(settings["clock_offset_s"])
    config = agent_config(settings)
    async with contextlib.AsyncExitStack() as opened:
        kms = None
        if settings.get("kms_url"):
            kms = await opened.enter_async_context(
                HttpKmsClient(settings["kms_url"], timeout_s=config.timeouts.kms)
            )
        desk = Desk()
        agent = await opened.enter_async_context(Agent(config, kms=kms, decide=desk.decide))
        await Driver(agent, settings.get("incoming", "answer"), desk).run()
    say(closed=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)
