"""What a party of a group says and hears, with devices and files, and what it tells of the session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from sipmikey.agent.group.floor import TAKEN_AWAY, TIME_IS_UP
from sipmikey.agent.group.media import GroupMedia
from sipmikey.agent.group.notice import Notice
from sipmikey.agent.sound_control import sound_event
from sipmikey.cli.calls.session import NO_DEVICE, NO_DEVICE_HELP, AgentSession
from sipmikey.cli.config.options import warn
from sipmikey.cli.config.sections.media import Media
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.output import timestamp
from sipmikey.media.endpoint import Address
from sipmikey.media.g711 import PCMA, RATE
from sipmikey.media.talk import Talk
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames
from sipmikey.sound.settings import DeviceNews, News

if TYPE_CHECKING:
    from sipmikey.agent.group.sound import GroupSound


_LOST = {TIME_IS_UP: ": its time was up", TAKEN_AWAY: ": the chair took the floor away"}


def has_devices(media: Media) -> bool:
    """Return whether there is a microphone and a speaker to use.

    Raises ``CommandFailed`` where there is neither a device nor a file; with a file a warning says so.
    """
    if media.device == "null":
        return False
    try:
        from sipmikey.sound.devices import Devices
        from sipmikey.sound.errors import NoSoundDevice

        Devices()
    except ImportError as error:
        why = f"sound needs {error.name}: pip install 'sipmikey[sound]'"
    except NoSoundDevice as error:
        why = str(error)
    else:
        return True
    if media.play is None and media.record is None:
        raise CommandFailed(f"{why}: {NO_DEVICE_HELP}", code=ExitCode.USAGE, reason=NO_DEVICE)
    warn(f"{why}: files only")
    return False


@contextmanager
def group_media(
    session: AgentSession,
    talk: Talk,
    address: Address,
    *,
    interface: str,
    heard: Callable[[int], bool],
    may_talk: Callable[[], bool],
    devices: bool,
) -> Iterator[GroupMedia]:
    """Say and hear what is configured; at the end tell how many frames that were.

    *devices*: with microphone and speaker. A file that is played takes the microphone's place.
    """
    audio = session.agent.config.audio
    with ExitStack() as stack:
        source = None if audio.play is None else FrameSource(read_frames(audio.play, PCMA), loop=audio.repeat)
        recorder = None
        if audio.record is not None:
            recorder = WavRecorder(audio.record, PCMA)
            stack.callback(recorder.close)
        sound = None
        if devices:
            sound = _sound(session, lambda: source is None and may_talk(), lambda *frame: media.say(*frame))
        media = GroupMedia(
            talk, address, interface=interface, heard=heard, may_talk=may_talk, source=source, sink=recorder,
            ear=None if sound is None else sound.hear,
        )  # fmt: skip
        stack.callback(_tell_counts, session, media)
        stack.enter_context(media)
        if sound is not None:
            stack.enter_context(sound)
        yield media


def _sound(
    session: AgentSession, talks: Callable[[], bool], send: Callable[[bytes, int], None]
) -> GroupSound:
    from sipmikey.agent.group.sound import GroupSound
    from sipmikey.sound.bridge import SoundBridge

    loop = asyncio.get_running_loop()

    def told(news: News) -> None:
        loop.call_soon_threadsafe(_tell_news, session, news)

    bridge = SoundBridge(session.agent.config.audio.sound, rate=RATE, tell=told)
    return GroupSound(bridge, talks=talks, send=send)


def _tell_news(session: AgentSession, news: News) -> None:
    session.record(sound_event(news, time.time()))
    if isinstance(news, DeviceNews) and news.detail and not session.output.as_json:
        warn(f"{news.role} {news.state}: {news.detail}")


def _tell_counts(session: AgentSession, media: GroupMedia) -> None:
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
            return (
                f"{notice.member} talks" if notice.member else f"nobody talks{_LOST.get(notice.reason, '')}"
            )
        case "postponed":
            return f"no new group key yet: {why}"
        case "ended":
            return f"the session is over: {why}"
