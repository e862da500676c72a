"""What a party of a group plays and records, and what it tells of the session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from sipmikey.agent.group.media import GroupMedia
from sipmikey.agent.group.notice import Notice
from sipmikey.cli.calls.session import AgentSession
from sipmikey.cli.output import timestamp
from sipmikey.media.endpoint import Address
from sipmikey.media.g711 import PCMA
from sipmikey.media.talk import Talk
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames


@contextmanager
def group_media(
    session: AgentSession,
    talk: Talk,
    address: Address,
    *,
    interface: str,
    heard: Callable[[int], bool],
    may_talk: Callable[[], bool],
) -> Iterator[GroupMedia]:
    """Play and record as configured; at the end tell how many frames that were."""
    audio = session.agent.config.audio
    source = None if audio.play is None else FrameSource(read_frames(audio.play, PCMA), loop=audio.repeat)
    recorder = None if audio.record is None else WavRecorder(audio.record, PCMA)
    media = GroupMedia(
        talk, address, interface=interface, heard=heard, may_talk=may_talk, source=source, sink=recorder
    )
    try:
        with media:
            yield media
    finally:
        if recorder is not None:
            recorder.close()
        counts = {"sent": media.sent, "received": media.received, "refused": media.refused}
        tell(session, "media", f"{media.sent} frames sent, {media.received} heard", **counts)


def tell(session: AgentSession, kind: str, text: str, **fields: object) -> None:
    """Print an event of the session, as a document or as a line."""
    session.output.document({"v": 1, "ts": timestamp(time.time()), "type": f"group.{kind}", **fields})
    if not session.output.as_json:
        session.output.text(text)


def notice(session: AgentSession, notice: Notice) -> None:
    """Print what happened in the session."""
    fields = {name: value for name, value in asdict(notice).items() if name != "what" and value}
    tell(session, notice.what, _words(notice), **fields)


def _words(notice: Notice) -> str:
    why = ": ".join(filter(None, (notice.reason, notice.detail)))
    match notice.what:
        case "joined":
            return f"{notice.member} joined, under group key {notice.number}"
        case "left":
            return f"{notice.member} is out: {why}"
        case "refused":
            return f"{notice.member} was not let in: {why}"
        case "rekeyed":
            return f"group key {notice.number} is in use"
        case "floor":
            return f"{notice.member} talks" if notice.member else "nobody talks"
        case "postponed":
            return f"no new group key yet: {why}"
        case "ended":
            return f"the session is over: {why}"
