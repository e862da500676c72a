"""`sipmikey group call`: open the session of a group."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext

from sipmikey.agent.group.chair import Chair
from sipmikey.agent.group.media import GroupMedia
from sipmikey.agent.group.notice import Notice
from sipmikey.agent.group.push_to_talk import PushToTalk
from sipmikey.agent.group.wire import media_address
from sipmikey.call.reasons import AgentError, reason_of
from sipmikey.cli.calls.session import AgentSession, Outcome
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.group.floor import FloorKey
from sipmikey.cli.group.sound import group_media, notice, tell
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.ticket.identity import canonical

_LOOK_S = 5.0
"""How often to look whether a new key is due."""


async def chair(args: argparse.Namespace, session: AgentSession, *, devices: bool) -> Outcome:
    """Chair the session until it is over; return how it ended. *devices*: with microphone and speaker."""
    address = _address(args.media)
    changed = asyncio.Event()

    def told(what: Notice) -> None:
        notice(session, what)
        changed.set()
        if what.what == "floor" and not playing:
            key.follow()

    playing = session.agent.config.audio.play is not None
    made = session.agent.groups.chair(
        args.group, media=args.media, announces=args.announce, floor_s=args.floor_limit, tell=told
    )
    switch = PushToTalk(made)
    key = FloorKey(session, switch, made.take_floor_away)
    if playing:
        made.ask_floor()
    tell(
        session, "ready", f"session of {made.group} on {args.media}; we are at {session.agent.contact}",
        group=made.group, media=args.media, contact=session.agent.contact,
    )  # fmt: skip
    begun = asyncio.Event()

    def may_talk() -> bool:
        return begun.is_set() and made.may_talk if playing else switch.may_talk

    with group_media(
        session,
        made.talk,
        address,
        interface=args.interface,
        heard=lambda ssrc: bool(made.heard(ssrc)),
        may_talk=may_talk,
        devices=devices,
    ) as media:

        async def work() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_rekey(made, args.rekey))
                for member in args.member:
                    tasks.create_task(_invite(made, canonical(member), told))
                if playing:
                    tasks.create_task(_play(made, media, begun, changed, args.wait_for))

        async with key.keyboard() if devices and not playing else nullcontext():
            await session.until_stopped(work(), timeout_s=args.duration)
        made.close()
    return Outcome(code=ExitCode.OK)


def _address(media: str) -> tuple[str, int]:
    try:
        return media_address(media)
    except PeerError as error:
        raise LocalError(f"--media: {error}") from None


async def _invite(chair: Chair, member: str, told: Callable[[Notice], None]) -> None:
    try:
        await chair.invite(member)
    except (AgentError, PeerError) as error:
        told(Notice(what="refused", member=member, reason=reason_of(error), detail=str(error)))


async def _rekey(chair: Chair, every_s: float) -> None:
    last = time.monotonic()
    while True:
        await asyncio.sleep(min(every_s, _LOOK_S))
        if chair.members and (chair.overdue or time.monotonic() >= last + every_s):
            await chair.rekey()
            last = time.monotonic()


async def _play(
    chair: Chair, media: GroupMedia, begun: asyncio.Event, changed: asyncio.Event, members: int
) -> None:
    """Say what there is to say once enough members are here."""
    while len(chair.members) < members:
        changed.clear()
        await changed.wait()
    begun.set()
    await media.played.wait()
    chair.free_floor()
