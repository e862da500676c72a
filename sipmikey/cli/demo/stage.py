"""The call of the demonstration: a KMS, bob who waits, alice who calls, each a process with real sockets."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sipmikey.capture import LoopbackCapture
from sipmikey.cli.demo.actor import Actor, Document, run_once
from sipmikey.cli.demo.modes import Requisites, configure_kms, prepare, share_keys

ASSETS = Path(__file__).parent.parent / "assets"
KMS_IDENTITY = "sip:kms@example.com"
ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
USERS = {"alice": ALICE, "bob": BOB}
TALK_S = 6.5
"""How long the call is kept: the sentences played last less than six seconds."""

START_S = 30.0
"""Time for a process to be ready; generous, as a busy machine takes long to load Python."""

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(kw_only=True)
class Performance:
    """What happened. ``phases``: name and seconds of each part, in order. ``capture`` is told of ports.

    ``mailbox`` and ``played`` (what bob's command told of the message) are there in deferred delivery only,
    ``others`` in a group only.
    """

    folder: Path
    started: float
    kms: Actor | None = None
    others: dict[str, Actor] = field(default_factory=dict)
    alice: Actor | None = None
    bob: Actor | None = None
    mailbox: Actor | None = None
    played: Document | None = None
    phases: dict[str, float] = field(default_factory=dict)
    capture: LoopbackCapture | None = None
    exit_codes: dict[str, int] = field(default_factory=dict)

    def recording(self, name: str) -> Path:
        """Where what *name* heard is recorded."""
        return self.folder / f"{name}-heard.wav"

    def watch(self, uri: str) -> None:
        """Let packets from and to the port in *uri* be captured."""
        if self.capture is not None and (found := re.search(r":(\d+)\b", uri.rpartition("@")[2])):
            self.capture.watch(int(found[1]))

    def phase(self, name: str, since: float) -> float:
        """Note that the part *name*, begun at *since*, is over; return the time now."""
        now = time.monotonic()
        self.phases[name] = round(now - since, 3)
        return now


async def perform(
    show: Performance, *, suite: str, mode: str, tell: Tell, stacks: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Run the call; *show* is filled as it goes, so that a failure leaves what was reached.

    Raises ActorFailed when a process does not do its part.
    """
    async with AsyncExitStack() as stack:
        mark = time.monotonic()
        requisites, options = await start_kms(show, stack, mode, tell)
        mark = show.phase("KMS ready" if requisites.needs_kms else "keys shared", mark)
        options += ["--suites", suite]
        words = ["answer", "--auto", "--once"]
        chosen = options + _stack(stacks, "callee")
        show.bob = await start_agent(show, stack, tell, "bob", words, chosen, requisites)
        contact = str((await show.bob.until("agent.ready", timeout_s=START_S))["contact"])
        show.watch(contact)
        mark = show.phase("bob ready", mark)
        # No registrar or proxy is needed: alice is told where bob listens.
        words = ["call", BOB, "--via", contact, "--duration", str(TALK_S)]
        show.alice = await start_agent(
            show, stack, tell, "alice", words, options + _stack(stacks, "caller"), requisites
        )
        await show.alice.until("call.out", timeout_s=START_S)
        mark = show.phase("alice ready", mark)
        await show.alice.until("call.answered", timeout_s=START_S)
        mark = show.phase("call set up", mark)
        await show.alice.until("call.end", timeout_s=TALK_S + START_S)
        mark = show.phase("talk", mark)
        for actor in (show.alice, show.bob):
            show.exit_codes[actor.name] = await actor.exit_code(timeout_s=START_S)
        show.phase("agents closed", mark)


def _stack(stacks: Mapping[str, str], party: str) -> list[str]:
    """Return the option that names the SIP stack of *party*, where one is named."""
    return ["--stack", stacks[party]] if party in stacks else []


async def start_kms(
    show: Performance,
    stack: AsyncExitStack,
    mode: str,
    tell: Tell,
    *,
    users: Mapping[str, str] = MappingProxyType(USERS),
) -> tuple[Requisites, list[str]]:
    """Make a KMS with its users, alice and bob if no others are named, and start it.

    Return what *mode* needs beside it, and the options that tell an agent of the KMS. A mode without a KMS
    has none.
    """
    requisites = prepare(mode, show.folder, users=users)
    if not requisites.needs_kms:
        return requisites, []
    directory = show.folder / "kms"
    common = ["--dir", str(directory), "--json"]
    await run_once(["kms", "init", *common, "--identity", KMS_IDENTITY, "--listen", "127.0.0.1:0"])
    added = configure_kms(mode, requisites, show.folder, directory=directory, kms=KMS_IDENTITY, users=users)
    await asyncio.gather(
        *(run_once(["kms", "user", "add", *common, users[name], *how]) for name, how in added.items())
    )
    await share_keys(mode, requisites, show.folder, directory=directory, kms=KMS_IDENTITY, users=users)
    show.kms = await Actor.start("kms", ["kms", "serve", *common], tell)
    stack.push_async_callback(show.kms.stop)
    ready = await show.kms.until("kms.ready", timeout_s=START_S)
    url = str(ready["urls"][0])
    show.watch(url)
    return requisites, ["--kms", url, "--kms-identity", KMS_IDENTITY]


async def start_agent(
    show: Performance,
    stack: AsyncExitStack,
    tell: Tell,
    name: str,
    words: list[str],
    options: list[str],
    requisites: Requisites,
) -> Actor:
    """Start the agent *name* with the command *words*."""
    identity = f"sip:{name}@example.com"
    psk = ["--psk-file", str(show.folder / f"{name}.psk"), "--psk-id", name] if requisites.psk else []
    actor = await Actor.start(
        name,
        [
            *words, "--json", "--identity", identity, "--listen", "127.0.0.1:0",
            "--config", str(requisites.write(show.folder, name)), *psk,
            "--security", "required", "--null-audio",
            *(["--play", str(ASSETS / f"{name}.wav")] if name in USERS else []),
            "--record", str(show.recording(name)), *options,
        ],
        tell,
    )  # fmt: skip
    stack.push_async_callback(actor.stop)
    return actor
