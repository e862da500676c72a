"""Agents and SIP stacks in processes of their own, spoken to in JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import IO, Any

from sipmikey.testing.program import Program
from sipmikey.testing.stacks import stack_of

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
LONGEST_LINE = 1 << 20

TOP = {"isolated", "calls", "log_level", "log_file", "judge_after_s"}
KEYS = {"psk", "psk_id", "suites", "keep_resolved"}
SECTIONS = {
    "policy": {
        "security",
        "fallback",
        "alternative",
        "contacts",
        "retarget",
        "transfer",
        "unprotected_in_conference",
    },
    "sip": {
        "stack",
        "transports",
        "prefer",
        "registrar",
        "proxy",
        "redirects",
        "preconditions",
        "calls_per_second",
    },
    "audio": {"play", "record", "streams", "rtp_port", "engine", "codecs", "echo"},
}

Fields = dict[str, Any]
Child = Program | subprocess.Popen[bytes]


class Process:
    """A child that writes JSON events to stdout and takes JSON commands on stdin."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.seen: list[Fields] = []
        self._next = 0
        self._news = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.child.stdout is not None
        lines = asyncio.StreamReader(limit=LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), self.child.stdout
        )
        async for line in lines:
            await self._tell(*self.read(json.loads(line)))
        status = await asyncio.to_thread(self.child.wait)
        await self._tell(*self.on_end(status))

    async def _tell(self, *events: Fields) -> None:
        async with self._news:
            self.seen += events
            self._news.notify_all()

    def read(self, fields: Fields) -> tuple[Fields, ...]:
        """Return the events that a line is."""
        return (fields,)

    def on_end(self, status: int) -> tuple[Fields, ...]:
        """Return the events that the end with this exit status is."""
        return ()

    async def until(self, **wanted: Any) -> Fields:
        """Return the next event with these fields; the ones before it are passed over."""
        async with asyncio.timeout(WAIT_S), self._news:
            while True:
                while self._next < len(self.seen):
                    event = self.seen[self._next]
                    self._next += 1
                    if all(event.get(name) == value for name, value in wanted.items()):
                        return event
                if self._reader.done():
                    raise AssertionError(f"the process ended before {wanted}: {self.seen}")
                await self._news.wait()

    def do(self, command: str, **arguments: Any) -> None:
        """Give a command."""
        self.write({"do": command, **arguments})

    def write(self, fields: Mapping[str, Any]) -> None:
        """Write a line to the child."""
        assert self.child.stdin is not None
        with contextlib.suppress(OSError):
            self.child.stdin.write((json.dumps(fields) + "\n").encode())
            self.child.stdin.flush()

    async def close(self) -> int:
        """Close its stdin, which ends it, and return its exit status."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        async with asyncio.timeout(WAIT_S):
            await self._reader
        return self.child.wait()

    async def stop(self) -> None:
        """End it by force unless it has ended."""
        self.child.kill()
        await self._reader
        for stream in (self.child.stdin, self.child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class AgentProcess(Process):
    """An agent of the kit. What comes of commands are events, `done` and `failed`, in a row with its own.

    *answers*: the commands it is given about a call that comes in. A ``call`` is done when it is answered,
    or, with ``wait=False``, when it is made, which `calling` tells.
    """

    def __init__(self, child: Child, settings: Mapping[str, Any], answers: tuple[str, ...]) -> None:
        super().__init__(child)
        self._answers = answers
        self._numbers = itertools.count(1)
        self._given: dict[int, tuple[str, tuple[str, ...], Fields]] = {}
        self.write(settings)

    def do(self, command: str, **arguments: Any) -> None:
        """Give a command."""
        wait = arguments.pop("wait", command == "call")
        self._give(command, ("established",) if wait else (), **arguments)

    def _give(self, command: str, then: tuple[str, ...], **arguments: Any) -> None:
        number = next(self._numbers)
        self._given[number] = (command, then, arguments)
        self.write({"id": number, "do": command, **arguments})

    def read(self, fields: Fields) -> tuple[Fields, ...]:
        """Return the events that a line is."""
        if "id" in fields:
            return self._read_outcome(fields, *self._given.pop(fields["id"]))
        if fields["type"] == "kit.incoming" and self._answers:
            self._give(self._answers[0], self._answers[1:], call=fields["call"])
        named = {"kit.ready": "ready", "kit.incoming": "rings"}
        return ({**fields, "type": named.get(fields["type"], fields["type"])},)

    def _read_outcome(
        self, fields: Fields, command: str, then: tuple[str, ...], arguments: Fields
    ) -> tuple[Fields, ...]:
        if "error" in fields:
            return ({"type": "failed", **fields["error"]},)
        result = fields["result"]
        told: list[Fields] = [{"type": "calling", "call": result}] if command == "call" else []
        if command == "stats":
            result = [[one["sent"], one["decrypted"], one["lost"]] for one in result["streams"]]
        if then:
            self._give(then[0], then[1:], call=arguments.get("call", result))
        else:
            told.append({"type": "done", "result": result})
        return tuple(told)

    def on_end(self, status: int) -> tuple[Fields, ...]:
        """Return the events that the end with this exit status is."""
        return () if status else ({"type": "closed"},)


def children_of(pid: int) -> list[int]:
    """Return the processes that *pid* started, oldest first."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(found)


def stacks_of(process: Process) -> list[int]:
    """Return the stack processes of an agent, oldest first: copies of the one that it started."""
    return [stack for loader in children_of(process.child.pid) for stack in children_of(loader)]


@contextlib.asynccontextmanager
async def running(script: str, settings: Fields) -> AsyncIterator[Process]:
    """Start *script* of this folder with *settings*; kill it in the end unless it has exited."""
    with _errors() as errors:
        entry = f"tests.agent.{script.removesuffix('.py').replace('/', '.')}:run"
        program = Program(entry, json.dumps(settings), stderr=errors, environment={"PYTHONPATH": str(ROOT)})
    process = Process(program)
    try:
        yield process
    finally:
        await process.stop()


@contextlib.asynccontextmanager
async def running_agent(settings: Fields) -> AsyncIterator[Process]:
    """Start an agent with *settings*, see `document`; kill it in the end unless it has exited."""
    answers = tuple(verb for verb in ("ring", "answer") if settings.get(verb))
    command = [sys.executable, "-m", "sipmikey.testing.agent_process"]
    child: Child
    with _errors() as errors:
        if settings.get("new"):
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        else:
            child = Program("sipmikey.testing.agent_process:run", stderr=errors)
    process = AgentProcess(child, document(settings), answers)
    try:
        yield process
    finally:
        await process.stop()


def _errors() -> IO[bytes]:
    return os.fdopen(os.dup(2), "wb")


def document(settings: Fields) -> Fields:
    """Return these flat settings as those of the kit.

    ``ring`` and ``answer``: what it does with a call that comes in. ``new``: in a process that is not a copy,
    where it matters what is in memory.
    """
    made: Fields = {"identity": settings["identity"], "incoming": "", "kms_url": settings.get("kms_url")}
    made |= {name: settings[name] for name in TOP & settings.keys()}
    made |= {
        section: {name: settings[name] for name in names & settings.keys()}
        for section, names in SECTIONS.items()
    }
    made["sip"].setdefault("stack", stack_of(settings["identity"]) or "pjsua2")
    made["sip"] |= {"bind": "127.0.0.1", "trusted_proxies": settings.get("trusted", ())}
    made["audio"] |= {"repeat": settings.get("repeat", True)}
    made["timeouts"] = {
        "kms": settings.get("kms_timeout", 5.0),
        "setup": settings.get("setup_timeout", 15.0),
        "media": settings.get("media_timeout", 5.0),
    }
    if "psk" in settings:
        known = {name: settings[name] for name in KEYS & settings.keys()}
        made["keys"] = {"kms": "sip:kms@example.com", **known}
    if "password" in settings:
        user = settings["identity"].partition(":")[2].partition("@")[0]
        made["digest"] = {"username": user, "password": settings["password"]}
    if "tls" in settings:
        folder = Path(settings["tls"])
        files = {"ca": "authority", "certificate": "certificate", "private_key": "key"}
        made["tls"] = {f"{name}_file": str(folder / f"{file}.pem") for name, file in files.items()}
    return made
