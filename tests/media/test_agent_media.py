"""Agents whose media runs in Python, in calls with agents whose media is pjmedia's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipmikey.agent import AgentConfig, Audio, KeyManagement, Sip
from sipmikey.media.similarity import compare_files
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.testing.kms import TestKms
from tests.agent.processes import Process, running_agent
from tests.media.peers.test_interop_pjmedia import write_melody

pytestmark = pytest.mark.interop

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
PROFILE = "AES_CM_128_HMAC_SHA1_80"
ENOUGH = 150


@pytest.fixture(scope="module")
def kms() -> Iterator[TestKms]:
    with tempfile.TemporaryDirectory() as folder:
        server = TestKms(Path(folder))
        server.start()
        yield server
        server.stop()


class Talk:
    """A call of alice to bob, each in a process of its own, playing melodies to each other."""

    def __init__(self, alice: Process, bob: Process, folder: Path) -> None:
        self.alice, self.bob, self.folder = alice, bob, folder

    async def counts(self, who: Process) -> tuple[int, int, int]:
        who.do("stats", call="1")
        while True:
            done = await who.until(type="done")
            if isinstance(done["result"], list):
                sent, decrypted, lost = done["result"][0]
                return sent, decrypted, lost

    async def heard(self, packets: int) -> None:
        """Return when each has decrypted so many packets of the other."""
        for who in (self.alice, self.bob):
            while (await self.counts(who))[1] < packets:
                await asyncio.sleep(0.1)

    def both_heard_each_other(self) -> None:
        for played, recorded in (("alice", "bob"), ("bob", "alice")):
            heard = self.folder / f"heard_by_{recorded}.wav"
            # Of each melody a second or two is heard, and the jitter buffer may drop a frame of one.
            assert compare_files(self.folder / f"{played}.wav", heard).matched
            assert not compare_files(self.folder / f"{recorded}.wav", heard).matched


@asynccontextmanager
async def talk(
    kms: TestKms, folder: Path, alice: str, bob: str, *, codec: str = "PCMA"
) -> AsyncIterator[Talk]:
    """Put a call between two agents with these media engines; afterwards they have hung up."""

    def settings(name: str, identity: str, engine: str, **more: Any) -> dict[str, Any]:
        user = kms.user(identity)
        write_melody(folder / f"{name}.wav", len(name))
        return {
            "identity": identity, "psk": user.psk, "psk_id": user.psk_id, "kms_url": kms.url,
            "suites": ["128"], "engine": engine, "codecs": [codec], "play": str(folder / f"{name}.wav"),
            "record": str(folder / f"heard_by_{name}.wav"), **more,
        }  # fmt: skip

    async with (
        running_agent(settings("alice", ALICE, alice)) as a,
        running_agent(settings("bob", BOB, bob, answer=True)) as b,
    ):
        await a.until(type="ready")
        contact = (await b.until(type="ready"))["contact"]
        a.do("call", uri=BOB, via=contact)
        for who in (a, b):
            keyed = await who.until(type="media.keyed")
            assert keyed["suite"] == PROFILE
            await who.until(type="media.proven")
        call = Talk(a, b, folder)
        yield call
        a.do("hangup", call="1")
        for who in (a, b):
            ended = await who.until(type="call.end")
            assert ended["reason"] == "hangup"
            assert await who.close() == 0


@pytest.mark.parametrize(
    ("alice", "bob", "codec"),
    [("python", "native", "PCMU"), ("native", "python", "G722"), ("python", "python", "opus")],
)
def test_both_hear_each_other_and_the_keys_pressed(
    alice: str, bob: str, codec: str, kms: TestKms, tmp_path: Path
) -> None:
    async def scenario() -> Talk:
        async with talk(kms, tmp_path, alice, bob, codec=codec) as call:
            await call.heard(ENOUGH)
            for who in (call.alice, call.bob):
                assert (await call.counts(who))[2] == 0
            call.alice.do("dtmf", call="1", digits="5#")
            call.bob.do("dtmf", call="1", digits="0")
            assert [(await call.bob.until(type="dtmf.received"))["digit"] for _ in "5#"] == ["5", "#"]
            assert (await call.alice.until(type="dtmf.received"))["digit"] == "0"
        for who in (call.alice, call.bob):
            last = [event for event in who.seen if event["type"] == "stats"][-1]
            assert last["streams"][0]["codec"] == codec
        return call

    asyncio.run(scenario()).both_heard_each_other()


@pytest.mark.parametrize(("alice", "bob"), [("python", "native"), ("native", "python")])
def test_rekeying_and_hold_lose_nothing(alice: str, bob: str, kms: TestKms, tmp_path: Path) -> None:
    async def scenario() -> Talk:
        async with talk(kms, tmp_path, alice, bob) as call:
            await call.heard(20)
            for who in (call.alice, call.bob):
                who.do("rekey", call="1")
                await call.alice.until(type="media.rekeyed")
                await call.bob.until(type="media.rekeyed")
                at = (await call.counts(call.alice))[1]
                await call.heard(at + 30)
            call.alice.do("hold", call="1")
            await asyncio.sleep(0.3)
            call.alice.do("resume", call="1")
            at = max((await call.counts(call.alice))[1], (await call.counts(call.bob))[1])
            await call.heard(at + 30)
        return call

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"codecs": ("PCMA", "GSM")}, "no codec GSM; it has G722, OPUS, PCMA, PCMU"),
        ({"bind": "0.0.0.0"}, "sip.bind"),
    ],
)
def test_what_media_in_python_cannot_do_is_said_at_once(change: dict[str, Any], fix: str) -> None:
    given = {"suites": ("128",), "codecs": ("PCMA",), "bind": "127.0.0.1"} | change
    with pytest.raises(LocalError, match=fix):
        AgentConfig(
            identity=ALICE,
            keys=KeyManagement(kms="sip:kms@example.com", psk=Secret(bytes(32)), suites=given["suites"]),
            audio=Audio(engine="python", codecs=given["codecs"]),
            sip=Sip(bind=given["bind"]),
        )
