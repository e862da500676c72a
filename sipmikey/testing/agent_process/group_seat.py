"""The part of an agent under test in the session of a group (docs/groups.md)."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sipmikey.agent import Agent
from sipmikey.agent.group.chair import Chair
from sipmikey.agent.group.media import GroupMedia
from sipmikey.agent.group.member import Member
from sipmikey.agent.group.notice import Notice
from sipmikey.agent.group.wire import media_address
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.media.g711 import PCMA
from sipmikey.media.rtp import RtpPacket
from sipmikey.media.talk import SAMPLES
from sipmikey.media.wav import WavRecorder, read_frames
from sipmikey.testing.agent_process.lines import Fields, say

_FRAME_S = 0.02


class GroupSeat:
    """In the event loop only. One session at a time; notices of it are events of type ``kit.group_*``."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._party: Chair | Member | None = None
        self._media: GroupMedia | None = None
        self._opened = ExitStack()
        self._news = asyncio.Event()
        self._heard: list[bytes] = []
        self._time = 0

    async def do(self, what: str, **given: Any) -> Any:
        """Carry out a command. Raises ``AgentError`` where there is no session, or we do not get in."""
        match what:
            case "open":
                return self._open(**given)
            case "join":
                return await self._join(**given)
            case "talk":
                return await self._talk(**given)
            case "heard":
                return self._write_heard(**given)
            case "leave":
                return self.close()
            case "rekey" | "take_floor_away" | "ask_floor" | "free_floor":
                done = getattr(self._session(), what)()
                return await done if asyncio.iscoroutine(done) else None
        raise AgentError(Reason.INTERNAL_ERROR, f"{what!r} cannot be done in a group", side="local")

    def close(self) -> None:
        """Leave the session, if there is one."""
        party, self._party = self._party, None
        if party is None:
            return
        if isinstance(party, Chair):
            party.close()
        else:
            party.leave()
        self._agent.groups.forget(party.group)
        self._opened.close()
        self._news.set()

    def _session(self) -> Chair | Member:
        if self._party is None:
            raise AgentError(Reason.POLICY, "we are not in a session of a group", side="local")
        return self._party

    def _open(
        self, *, group: str, media: str, announces: bool, floor_s: float | None, interface: str
    ) -> None:
        self.close()
        chair = self._agent.groups.chair(
            group, media=media, announces=announces, floor_s=floor_s, tell=self._tell
        )
        self._party = chair
        self._listen(chair, media_address(media), interface, lambda ssrc: bool(chair.heard(ssrc)))

    async def _join(self, *, group: str, chair: str, via: str, interface: str) -> None:
        self.close()
        sip = self._agent.config.sip
        contact = "" if sip.proxy or sip.registrar else self._agent.contact
        member = self._agent.groups.member(group, chair=chair, via=via, contact=contact, tell=self._tell)
        self._party = member
        try:
            await member.join()
        except BaseException:
            self.close()
            raise
        assert member.media is not None  # it came with the key
        self._listen(member, member.media, interface, member.may_be_heard)

    def _listen(self, party: Chair | Member, address: tuple[str, int], interface: str, heard: Any) -> None:
        self._heard.clear()
        media = GroupMedia(
            party.talk, address, interface=interface, heard=heard, ear=self._hear,
            may_talk=lambda: party.may_talk,
        )  # fmt: skip
        self._media = self._opened.enter_context(media)

    def _hear(self, packet: RtpPacket) -> None:
        self._heard.append(packet.payload)

    async def _talk(self, *, wav: str) -> Fields:
        """Ask for the floor, say *wav* once we have it, and give it back.

        Returns ``said_s``, and ``whole``: whether we had the floor to the end.
        """
        party, frames = self._session(), read_frames(Path(wav), PCMA)
        assert self._media is not None
        party.ask_floor()
        while not party.may_talk:
            self._news.clear()
            await self._news.wait()
            if self._party is not party:
                raise AgentError(Reason.HANGUP, "the session is over", side="local")
        started, said = time.monotonic(), 0
        for frame in frames:
            await asyncio.sleep(max(0.0, started + said * _FRAME_S - time.monotonic()))
            if not party.may_talk:
                break
            self._media.say(frame, self._time)
            self._time += SAMPLES
            said += 1
        party.free_floor()
        self._time += SAMPLES
        return {"said_s": said * _FRAME_S, "whole": said == len(frames)}

    def _write_heard(self, *, wav: str) -> int:
        """Write what was heard since the last time to *wav*; return how many frames of 20 ms that are."""
        heard, self._heard = self._heard, []
        if heard:
            recorder = WavRecorder(Path(wav), PCMA)
            for number, frame in enumerate(heard):
                recorder.put(number * SAMPLES, frame)
            recorder.close()
        return len(heard)

    def _tell(self, notice: Notice) -> None:
        fields = {name: value for name, value in asdict(notice).items() if name != "what"}
        say({"type": f"kit.group_{notice.what}", "at": time.time(), **fields})
        self._news.set()
