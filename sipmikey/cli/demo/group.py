"""The demonstration of a group: alice and bob talk in turn, dave is not let in, and carol is put out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

from sipmikey.cli.demo.actor import Actor, run_once
from sipmikey.cli.demo.checks import Check, Hearing, check_hearing, listen
from sipmikey.cli.demo.modes import TALK
from sipmikey.cli.demo.stage import ALICE, ASSETS, BOB, START_S, Performance, Tell, start_agent, start_kms
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.mikey.errors import LocalError

CAROL, DAVE = "sip:carol@example.com", "sip:dave@example.com"
PEOPLE = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
MEDIA = "239.255.60.43:5004"
HERE = "127.0.0.1"
REKEY_S = 3.0
TURN_S = 15.0
"""Time for one to say a sentence of less than six seconds."""


async def perform_group(show: Performance, *, suite: str, tell: Tell) -> None:
    """Run the session; *show* is filled as it goes. Raises ActorFailed."""
    async with AsyncExitStack() as stack:
        mark = time.monotonic()
        requisites, options = await start_kms(show, stack, "group", tell, users=PEOPLE)
        options += ["--suites", suite, "--interface", HERE]
        kms = ["--dir", str(show.folder / "kms"), "--json"]
        await run_once(["kms", "group", "add", *kms, TALK, ALICE, BOB, CAROL])
        mark = show.phase("KMS ready", mark)
        words = ["group", "call", TALK, "--media", MEDIA, "--wait-for", "2", "--rekey", str(REKEY_S)]
        show.alice = await start_agent(show, stack, tell, "alice", words, options, requisites)
        contact = str((await show.alice.until("group.ready", timeout_s=START_S))["contact"])
        show.watch(contact)
        words = ["group", "join", TALK, "--chair", ALICE, "--via", contact]
        show.bob = await start_agent(show, stack, tell, "bob", words, options, requisites)
        for name in ("carol", "dave"):
            show.others[name] = await start_agent(show, stack, tell, name, words, options, requisites)
        carol, dave = show.others["carol"], show.others["dave"]
        show.exit_codes["dave"] = await dave.exit_code(timeout_s=START_S)
        for actor in (show.bob, carol):
            await actor.until("group.in", timeout_s=START_S)
        mark = show.phase("members in", mark)
        turn = await show.bob.until(
            "group.floor", timeout_s=TURN_S, where=lambda event: event.get("member") == "us"
        )
        mark = show.phase("alice talks", mark)
        await run_once(["kms", "group", "remove", *kms, TALK, CAROL])
        show.exit_codes["carol"] = await carol.exit_code(timeout_s=START_S)
        mark = show.phase("carol put out", mark)
        await show.bob.until("group.floor", timeout_s=TURN_S, where=lambda event: event["at"] > turn["at"])
        mark = show.phase("bob talks", mark)
        await show.alice.stop()
        for actor in (show.alice, show.bob):
            show.exit_codes[actor.name] = await actor.exit_code(timeout_s=START_S)
        show.phase("agents closed", mark)


def group_line(event: dict[str, Any]) -> str:
    """Return the line that tells of an event of the session."""
    words = (event.get(name) for name in ("member", "number", "reason", "detail", "sent", "received"))
    told = ", ".join(str(word) for word in words if word not in (None, ""))
    return f"{event['type'].removeprefix('group.')} {told}".rstrip()


def judge_group(show: Performance) -> tuple[list[Check], list[Hearing]]:
    """Return all checks of the session, and what was heard."""
    if show.alice is None or show.bob is None or not show.exit_codes:
        return [Check(name="the session", ok=False, detail="did not take place")], []
    checks = list(_checks(show, show.alice, show.bob))
    hearings = []
    for here, there in (("bob", "alice"), ("alice", "bob")):
        files = {"played_by_peer": ASSETS / f"{there}.wav", "played_here": ASSETS / f"{here}.wav"}
        try:
            hearings.append(listen(here, show.recording(here), **files))
        except LocalError as failure:
            checks.append(Check(name=f"{here} heard", ok=False, detail=str(failure)))
    return [*checks, *map(check_hearing, hearings)], hearings


def _checks(show: Performance, alice: Actor, bob: Actor) -> Iterator[Check]:
    joined = sorted({event["member"] for event in alice.all("group.joined")})
    yield Check(name="members", ok=joined == [BOB, CAROL], detail=", ".join(joined) or "nobody")
    refused = alice.last("group.refused") or {}
    yield Check(
        name="dave is not let in", ok=refused.get("member") == DAVE and "kms" in str(refused.get("reason")),
        detail=f"{refused.get('reason')}: {refused.get('detail')}",
    )  # fmt: skip
    left = alice.last("group.left") or {}
    yield Check(
        name="carol is put out", ok=left.get("member") == CAROL and "kms" in str(left.get("reason")),
        detail=f"{left.get('reason')}: {left.get('detail')}",
    )  # fmt: skip
    number = max((int(event["number"]) for event in alice.all("group.rekeyed")), default=0)
    theirs = max((int(event["number"]) for event in bob.all("group.rekeyed")), default=0)
    yield Check(name="group keys", ok=number == theirs > 1, detail=f"{number} in turn, each to all members")
    for speaker, listener in ((alice, bob), (bob, alice)):
        sent = (speaker.last("group.media") or {}).get("sent", 0)
        heard = (listener.last("group.media") or {}).get("received", 0)
        yield Check(
            name=f"frames of {speaker.name}", ok=sent > 100 and heard >= 0.95 * sent,
            detail=f"{sent} sent, {heard} verified and decrypted by {listener.name}",
        )  # fmt: skip
    expected = {"alice": ExitCode.OK, "bob": ExitCode.OK, "carol": ExitCode.KMS, "dave": ExitCode.KMS}
    for name, code in show.exit_codes.items():
        yield Check(name=f"{name} exit code", ok=code == expected[name], detail=str(code))
