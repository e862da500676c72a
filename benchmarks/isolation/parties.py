"""Two agents with a KMS and a registrar, on loopback, and what their processes cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from sipmikey.testing.kms import TestKms
from tests.agent.calls.scripted import ScriptedPeer
from tests.agent.calls.test_caller import CALLED, CALLER, Pair, settings_of
from tests.agent.processes import Process, running_agent, stacks_of
from tests.agent.tone import write_tone

_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def parties(*, registrar: str = "", **settings: Any) -> AsyncIterator[Pair]:
    """Alice, who may register, and bob, who answers at once. Both have *settings*."""
    with tempfile.TemporaryDirectory() as folder:
        kms = TestKms(Path(folder))
        kms.start()
        try:
            speech = str(write_tone(Path(folder) / "tone.wav"))
            more = {"registrar": f"sip:{registrar}"} if registrar else {}
            alices = settings_of(kms, CALLER, speech, new=True, **settings, **more)
            bobs = settings_of(kms, CALLED, speech, answer=True, new=True, **settings)
            async with running_agent(alices) as alice, running_agent(bobs) as bob:
                await alice.until(type="ready")
                yield Pair(alice, bob, (await bob.until(type="ready"))["contact"])
        finally:
            kms.stop()


class Registrar:
    """Grants every registration; ``granted``: when, in seconds of `time.monotonic`."""

    def __init__(self, peer: ScriptedPeer) -> None:
        self.address = peer.address
        self.granted: list[float] = []
        self._peer = peer
        self._task = asyncio.ensure_future(self._grant())

    async def _grant(self) -> None:
        while True:
            request = await self._peer.requests.get()
            if request.method == "REGISTER":
                self.granted.append(time.monotonic())
                contact = f"<{request.uri('contact')}>;expires=300"
                self._peer.respond(request, 200, to_tag="r", contact=contact, headers=(("Expires", "300"),))

    def close(self) -> None:
        """Grant no more."""
        self._task.cancel()


def cpu_s(process: Process) -> float:
    """Return the CPU seconds of an agent and its stack processes so far."""
    total = 0
    for pid in (process.child.pid, *stacks_of(process)):
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def memory_mb(pid: int) -> Mapping[str, float]:
    """Return resident memory, and what of it belongs to this process alone, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kb = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    own = kb["Private_Clean"] + kb["Private_Dirty"]
    return {"resident": round(kb["Rss"] / 1024, 1), "own": round(own / 1024, 1)}
