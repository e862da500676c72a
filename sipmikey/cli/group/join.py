"""`sipmikey group join`: take part in the session of a group."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import nullcontext

from sipmikey.agent.group.media import GroupMedia
from sipmikey.agent.group.member import Member
from sipmikey.agent.group.notice import Notice
from sipmikey.agent.group.push_to_talk import PushToTalk
from sipmikey.call.reasons import Reason
from sipmikey.cli.calls.session import AgentSession, Outcome
from sipmikey.cli.exit_codes import ExitCode, for_end
from sipmikey.cli.group.floor import FloorKey
from sipmikey.cli.group.sound import group_media, notice, tell

_AGAIN_S = 2.0
"""How long to wait for an answer to a request for the floor."""


async def take_part(args: argparse.Namespace, session: AgentSession, *, devices: bool) -> Outcome:
    """Take part until the session is over. Raises ``AgentError`` where we are not let in.

    *devices*: with microphone and speaker.
    """
    changed, over = asyncio.Event(), asyncio.Event()
    ended: list[Notice] = []

    def told(what: Notice) -> None:
        notice(session, what)
        changed.set()
        if what.what == "floor" and not playing:
            key.follow()
        if what.what == "ended":
            ended.append(what)
            over.set()

    agent = session.agent
    playing = agent.config.audio.play is not None
    contact = "" if agent.config.sip.proxy or agent.config.sip.registrar else agent.contact
    member = agent.groups.member(args.group, chair=args.chair, via=args.via or "", contact=contact, tell=told)
    switch = PushToTalk(member)
    key = FloorKey(session, switch)
    await member.join()
    assert member.media is not None  # it came with the key
    tell(session, "in", f"we are in the session of {member.group}", group=member.group)
    with group_media(
        session,
        member.talk,
        member.media,
        interface=args.interface,
        heard=member.may_be_heard,
        may_talk=lambda: member.may_talk if playing else switch.may_talk,
        devices=devices,
    ) as media:
        talking = asyncio.ensure_future(_talk(member, media, changed)) if playing else None
        async with key.keyboard() if devices and not playing else nullcontext():
            await session.until_stopped(over.wait(), timeout_s=args.duration)
        if talking is not None:
            talking.cancel()
        member.leave()
    if not ended:
        return Outcome(code=ExitCode.OK)
    reason = Reason(ended[0].reason)
    side = "remote" if reason is Reason.HANGUP else "kms"
    return Outcome(code=for_end(reason.family, side), reason=reason, side=side, detail=ended[0].detail)


async def _talk(member: Member, media: GroupMedia, changed: asyncio.Event) -> None:
    """Ask for the floor until everything has been said, again where it was lost; then give it back."""
    played = asyncio.ensure_future(media.played.wait())
    while not played.done() and not member.over:
        changed.clear()
        if not member.may_talk:
            member.ask_floor()
        news = asyncio.ensure_future(changed.wait())
        await asyncio.wait((played, news), timeout=_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
    played.cancel()
    member.free_floor()
