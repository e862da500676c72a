"""The agent's sound devices, and the tones a telephone plays by itself."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.call.events import (
    CallAnswered,
    CallEnded,
    CallIn,
    CallRinging,
    CallState,
    Event,
    SoundDevice,
    SoundLevel,
)
from sipmikey.sound.commands import (
    Command,
    Mute,
    PlayTone,
    Ring,
    SelectDevice,
    SetVolume,
    StopRinging,
    StopTones,
    WatchLevels,
)
from sipmikey.sound.settings import DeviceNews, News, Role


def sound_event(news: News, at: float) -> SoundDevice | SoundLevel:
    """Return the event that tells of *news* of the sound devices. *at*: Unix seconds."""
    if isinstance(news, DeviceNews):
        return SoundDevice(at=at, role=news.role, state=news.state, name=news.name, detail=news.detail)
    return SoundLevel(at=at, role=news.role, rms_db=news.rms_db, peak_db=news.peak_db)


class TelephoneTones:
    """Says what to play while calls come and go: ring, ring-back, call waiting. No I/O."""

    def __init__(self) -> None:
        self._came_in: set[str] = set()
        self._talking: set[str] = set()
        self._ringing: set[str] = set()
        self._waiting: set[str] = set()

    def commands(self, event: Event) -> tuple[Command, ...]:
        """Return what to do about *event*."""
        number = event.call
        match event:
            case CallIn():
                self._came_in.add(number)
            case CallState(state="ringing") if number in self._came_in:
                return self._incoming(number)
            case CallRinging(early_media=False, status=180 | 183) if number not in self._waiting:
                self._waiting.add(number)
                return (PlayTone(tone="ring-back"),)
            case CallState(state="keyed"):
                return self._settled(number)
            case CallAnswered():
                self._talking.add(number)
                return self._settled(number)
            case CallEnded():
                self._came_in.discard(number)
                self._talking.discard(number)
                return self._settled(number)
        return ()

    def _incoming(self, number: str) -> tuple[Command, ...]:
        if self._talking:
            self._waiting.add(number)
            return (PlayTone(tone="call-waiting"),)
        self._ringing.add(number)
        return (Ring(),)

    def _settled(self, number: str) -> tuple[Command, ...]:
        commands: list[Command] = []
        for asked, stop in ((self._ringing, StopRinging()), (self._waiting, StopTones())):
            if number in asked:
                asked.discard(number)
                if not asked:
                    commands.append(stop)
        return tuple(commands)


class SoundControl:
    """Microphone, speaker and ringer of an agent, while it runs. Without devices nothing happens.

    ``sound.device`` and ``sound.level`` events tell the outcome.
    """

    def __init__(self, send: Callable[[Command], None], *, tones: bool) -> None:
        self._send = send
        self._tones = TelephoneTones() if tones else None

    def select(self, role: Role | str, name: str) -> None:
        """Use the device of that *name*, or with that part of a name; empty: the system's default.

        *role*: ``input``, ``output`` or ``ringer``. It can be changed during a call. While the device
        is not plugged in, the default takes its place.
        """
        self._send(SelectDevice(role=Role(role), name=name))

    def mute(self, muted: bool = True) -> None:
        """Send silence instead of the microphone, or no longer."""
        self._send(Mute(muted=muted))

    def volume(self, role: Role | str, db: float) -> None:
        """Set the volume of ``input`` or ``output`` in decibels; 0 leaves it unchanged."""
        self._send(SetVolume(role=Role(role), db=db))

    def watch_levels(self, watched: bool = True) -> None:
        """Start or stop the ``sound.level`` events, ten a second during calls."""
        self._send(WatchLevels(watched=watched))

    def play(self, tone: str) -> None:
        """Play a tone (``ring-back``, ``call-waiting``, ``busy``, a DTMF key) on the speaker."""
        self._send(PlayTone(tone=tone))

    def stop_tones(self) -> None:
        """Stop the tones that repeat."""
        self._send(StopTones())

    def ring(self) -> None:
        """Ring on the ringer."""
        self._send(Ring())

    def stop_ringing(self) -> None:
        """Stop ringing."""
        self._send(StopRinging())

    def follow(self, event: Event) -> None:
        """Play what a telephone plays at *event*; called by the agent."""
        for command in () if self._tones is None else self._tones.commands(event):
            self._send(command)
