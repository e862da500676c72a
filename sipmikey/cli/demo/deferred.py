"""The demonstration of deferred delivery: bob does not answer, alice leaves a message, bob hears it later."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from sipmikey.cli.demo.actor import Actor, Document, run_once
from sipmikey.cli.demo.checks import Check, Hearing, check_hearing, listen
from sipmikey.cli.demo.stage import ALICE, ASSETS, BOB, START_S, Performance, Tell, start_agent, start_kms
from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import read_frames
from sipmikey.mikey.errors import LocalError

NOT_AVAILABLE = "480"


async def perform_deferred(show: Performance, *, suite: str, tell: Tell) -> None:
    """Leave a message and hear it; *show* is filled as it goes. Raises ActorFailed."""
    os.environ["XDG_DATA_HOME"] = str(show.folder / "data")  # what bob opened is remembered there
    async with AsyncExitStack() as stack:
        mark = time.monotonic()
        requisites, options = await start_kms(show, stack, "full", tell)
        options += ["--suites", suite]
        mark = show.phase("KMS ready", mark)
        show.bob = await start_agent(
            show, stack, tell, "bob", ["answer", "--reject", NOT_AVAILABLE], options, requisites
        )
        contact = str((await show.bob.until("agent.ready", timeout_s=START_S))["contact"])
        show.watch(contact)
        mark = show.phase("bob ready", mark)
        url = await _start_mailbox(show, stack, tell, mwi=contact.rpartition("@")[2])
        mark = show.phase("mailbox ready", mark)
        words = ["call", BOB, "--via", contact, "--leave-message", "--mailbox", url]
        show.alice = await start_agent(show, stack, tell, "alice", words, options, requisites)
        await show.alice.until("message.sent", timeout_s=START_S)
        mark = show.phase("message left", mark)
        await show.bob.until("message.waiting", timeout_s=START_S)
        mark = show.phase("bob told", mark)
        show.played = await run_once(
            [
                "messages", "play", "--json", "--identity", BOB, "--mailbox", url,
                "--token-file", str(show.folder / "bob.token"), "--record", str(show.recording("bob")),
                "--psk-file", str(show.folder / "bob.psk"), "--psk-id", "bob", "--null-audio", *options,
            ]
        )  # fmt: skip
        tell("bob", {**show.played, "at": time.time()})
        mark = show.phase("message heard", mark)
        show.exit_codes["alice"] = await show.alice.exit_code(timeout_s=START_S)
        show.phase("alice closed", mark)


async def _start_mailbox(show: Performance, stack: AsyncExitStack, tell: Tell, *, mwi: str) -> str:
    """Make a mailbox with a box for bob, and start it; return its URL."""
    directory = show.folder / "mailbox"
    common = ["--dir", str(directory), "--json"]
    await run_once(["mailbox", "init", *common, "--listen", "127.0.0.1:0", "--mwi-proxy", mwi])
    await run_once(["mailbox", "box", "add", *common, BOB, "--token-file", str(show.folder / "bob.token")])
    show.mailbox = await Actor.start("box", ["mailbox", "serve", *common], tell)
    stack.push_async_callback(show.mailbox.stop)
    url = str((await show.mailbox.until("mailbox.ready", timeout_s=START_S))["urls"][0])
    show.watch(url)
    return url


def judge_deferred(show: Performance) -> tuple[list[Check], list[Hearing]]:
    """Return all checks of the message, and what was heard."""
    if show.alice is None or show.bob is None or show.played is None:
        return [Check(name="the message", ok=False, detail="was not heard")], []
    checks = list(_checks(show, show.alice, show.bob, show.played))
    try:
        hearing = listen(
            "bob",
            show.recording("bob"),
            played_by_peer=ASSETS / "alice.wav",
            played_here=ASSETS / "bob.wav",
        )
    except LocalError as failure:
        return [*checks, Check(name="bob heard", ok=False, detail=str(failure))], []
    return [*checks, check_hearing(hearing)], [hearing]


def _checks(show: Performance, alice: Actor, bob: Actor, played: Document) -> Iterator[Check]:
    end, sent, waiting = (
        alice.last("call.end") or {},
        alice.last("message.sent") or {},
        bob.last("message.waiting") or {},
    )
    yield Check(
        name="nobody answered", ok=end.get("reason") == "no-answer",
        detail=f"{end.get('reason')}, SIP {end.get('status')}",
    )  # fmt: skip
    yield Check(
        name="message left", ok=bool(sent.get("message")),
        detail=f"{sent.get('duration_s')} s, {sent.get('octets')} octets",
    )  # fmt: skip
    yield Check(
        name="bob was told", ok=waiting.get("box") == BOB,
        detail=f"NOTIFY from the mailbox for {waiting.get('box')}",
    )  # fmt: skip
    yield Check(
        name="bob knows alice", ok=played.get("from") == ALICE and bool(played.get("kms")),
        detail=f"{played.get('from')}, as {played.get('kms')} says",
    )  # fmt: skip
    yield _sealed(show)
    for name, code in show.exit_codes.items():
        yield Check(name=f"{name} exit code", ok=code == 0, detail=str(code))


def _sealed(show: Performance) -> Check:
    """Check that no frame of the speech, and no key of either, is in the files of the mailbox."""
    kept = b"".join(path.read_bytes() for path in (show.folder / "mailbox").iterdir())
    silence = bytes((PCMA.silence,))
    frames = [
        frame for frame in read_frames(ASSETS / "alice.wav", PCMA) if frame.count(silence) < len(frame) / 2
    ]
    found = sum(frame in kept for frame in frames)
    keys = [(show.folder / f"{name}.psk").read_bytes().strip() for name in ("alice", "bob")]
    return Check(
        name="mailbox cannot listen", ok=bool(kept) and not found and not any(key in kept for key in keys),
        detail=f"{found} of {len(frames)} frames of the speech, and no key, in the {len(kept)} octets kept",
    )  # fmt: skip
