"""Between the clock of the calls and the clocks of the sound devices.

The engine that paces the calls gives the bridge what is heard, block by block, and gets what the microphone
took up in that time. Devices are opened, watched and changed in a thread of the bridge's own: the calls never
wait for them, and go on without.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Protocol

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
from sipmikey.sound.devices import Devices, Direction, choose, open_output
from sipmikey.sound.errors import NoSoundDevice
from sipmikey.sound.line import DEFAULT, Line
from sipmikey.sound.samples import Samples, from_octets, to_octets
from sipmikey.sound.settings import DeviceNews, LevelNews, News, Role, SoundSettings
from sipmikey.sound.shaping import Gate, Meter, Volume
from sipmikey.sound.tones import NAMES, Tone, TonePlayer, tone_of

_LOOK_S = 1.0
_LONGEST_DELAY = 25


class EchoCanceller(Protocol):
    """Takes the echo of what is played out of what the microphone hears."""

    def cancel(self, heard: bytes, played: bytes) -> bytes:
        """Return a block of the microphone without the echo of the block *played*."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class SoundBridge:
    """Microphone, speaker and ringer of an agent.

    *rate*: samples per second on the calls' side. *tell* is given the news, in any thread. *echo* makes the
    canceller where settings ask for one.
    """

    def __init__(
        self,
        settings: SoundSettings,
        *,
        rate: int,
        tell: Callable[[News], None],
        echo: EchoCanceller | None = None,
    ) -> None:
        self._rate = rate
        self._tell = tell
        self._echo = echo
        self._gate = None if settings.gate_db is None else Gate(rate, threshold_db=settings.gate_db)
        self._volumes = {Role.INPUT: Volume(settings.input_db), Role.OUTPUT: Volume(settings.output_db)}
        self._meters = {Role.INPUT: Meter(rate), Role.OUTPUT: Meter(rate)}
        self._microphone = Line(Direction.INPUT, rate, settings.input, self._teller(Role.INPUT))
        self._speaker = Line(Direction.OUTPUT, rate, settings.output, self._teller(Role.OUTPUT))
        self._lines = (self._speaker, self._microphone)
        self._devices: Devices | None = None
        self._ringer = settings.ringer
        self._ringing: Any = None
        self._played: deque[bytes] = deque(maxlen=_LONGEST_DELAY)
        self._delay: int | None = None
        self._tones: list[TonePlayer] = []
        self._lock = threading.Lock()
        self._wishes: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._talking = False
        self._thread: threading.Thread | None = None
        self.levels = False

    # What the user does; from any thread

    def obey(self, command: Command) -> None:
        """Do what *command* says."""
        match command:
            case SelectDevice():
                self.select(command.role, command.name)
            case Mute():
                self.mute(command.muted)
            case SetVolume():
                self.volume(command.role, command.db)
            case PlayTone():
                self.play(tone_of(command.tone))
            case StopTones():
                self.stop_tones()
            case Ring():
                self.ring(NAMES["ring"])
            case StopRinging():
                self.stop_ringing()
            case WatchLevels():
                self.levels = command.watched

    def select(self, role: Role, name: str) -> None:
        """Use the device of that *name* (or with that part of a name) from now on; empty: the default."""
        self._wish(lambda: self._select(role, name))

    def mute(self, muted: bool) -> None:
        """Send silence instead of what the microphone hears, or no longer."""
        self._volumes[Role.INPUT].muted = muted

    def volume(self, role: Role, db: float) -> None:
        """Set the volume of the microphone or the speaker in decibels."""
        self._volumes[role].db = db

    def play(self, tone: Tone) -> None:
        """Let *tone* be heard in the speaker, beside the calls. Tones that end by themselves take turns."""
        with self._lock:
            self._tones.append(TonePlayer(tone, self._rate))

    def stop_tones(self) -> None:
        """Stop the tones that repeat."""
        with self._lock:
            self._tones.clear()

    def ring(self, tone: Tone) -> None:
        """Ring on the ringer until `stop_ringing`."""
        self._wish(lambda: self._ring(tone))

    def stop_ringing(self) -> None:
        """Stop ringing."""
        self._wish(self._stop_ringing)

    # What the calls' clock does

    def begin(self) -> None:
        """Open microphone and speaker: somebody is about to talk."""
        self._wish(lambda: self._set_talking(True))

    def end(self) -> None:
        """Close microphone and speaker."""
        self._wish(lambda: self._set_talking(False))

    def exchange(self, heard: bytes) -> bytes:
        """Take a block the calls let hear, and return as much from the microphone. Never waits."""
        out = self._volumes[Role.OUTPUT].apply(from_octets(heard))
        out = self._with_tones(out)
        self._measure(Role.OUTPUT, out)
        self._speaker.elastic.write(out)
        taken = self._microphone.elastic.read(len(out))
        if self._echo is not None:
            taken = self._without_echo(self._echo, taken, out)
        if self._gate is not None:
            taken = self._gate.apply(taken)
        taken = self._volumes[Role.INPUT].apply(taken)
        self._measure(Role.INPUT, taken)
        return to_octets(taken)

    def close(self) -> None:
        """Stop everything and give the devices back."""
        if self._thread is not None:
            self._wishes.put(None)
            self._thread.join()
            self._thread = None

    # The parts of an exchange

    def _with_tones(self, out: Samples) -> Samples:
        with self._lock:
            self._tones = [one for one in self._tones if not one.over]
            once = next((one for one in self._tones if not one.repeats), None)
            for one in self._tones:
                if one.repeats or one is once:
                    out = out + one.next(len(out))
        return out

    def _without_echo(self, echo: EchoCanceller, taken: Samples, out: Samples) -> Samples:
        """Give the canceller the block that was played when *taken* was taken up, or a little earlier."""
        self._played.append(to_octets(out))
        if self._delay is None or len(self._played) <= self._delay:
            speaker, microphone = self._speaker.elastic.state, self._microphone.elastic.state
            waiting_ms = speaker.filling_ms + microphone.filling_ms
            block_ms = len(out) / self._rate * 1e3
            self._delay = min(_LONGEST_DELAY - 1, int(waiting_ms / block_ms))
        played = self._played[max(0, len(self._played) - 1 - self._delay)]
        return from_octets(echo.cancel(to_octets(taken), played))

    def _measure(self, role: Role, samples: Samples) -> None:
        if self.levels and (level := self._meters[role].add(samples)) is not None:
            self._tell(LevelNews(role=role, rms_db=level.rms_db, peak_db=level.peak_db))

    # The thread that has the devices

    def _wish(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sipmikey-devices", daemon=True)
            self._thread.start()
        self._wishes.put(work)

    def _run(self) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                work = self._wishes.get(timeout=_LOOK_S if self._talking else None)
                if work is None:
                    break
                work()
            if self._talking:
                self._look()
        self._stop_ringing()
        self._set_talking(False)

    def _look(self) -> None:
        try:
            if self._devices is None:
                self._devices = Devices()
            for line in self._lines:
                line.look(self._devices)
        except NoSoundDevice as error:
            self._devices = None
            for line in self._lines:
                line.close()
                line.complain(str(error))

    def _set_talking(self, talking: bool) -> None:
        self._talking = talking
        if not talking:
            for line in self._lines:
                line.close()
            self._devices = None

    def _select(self, role: Role, name: str) -> None:
        if role is Role.RINGER:
            self._ringer = name
            return
        (self._microphone if role is Role.INPUT else self._speaker).select(name)

    def _ring(self, tone: Tone) -> None:
        self._stop_ringing()
        player = TonePlayer(tone, self._rate)

        def source() -> Generator[bytes, int, None]:
            made = b""
            while True:
                made = to_octets(player.next((yield made)))

        try:
            devices = Devices()
            identifier = None
            if self._ringer != DEFAULT:
                name = choose(self._ringer, Direction.OUTPUT, devices.all())
                identifier = devices.identifier(name, Direction.OUTPUT)
            self._ringing = open_output(self._rate, identifier, source())
        except NoSoundDevice as error:
            self._teller(Role.RINGER)("failed", self._ringer, str(error))

    def _stop_ringing(self) -> None:
        device, self._ringing = self._ringing, None
        if device is not None:
            device.close()

    def _teller(self, role: Role) -> Callable[[str, str, str], None]:
        def tell(state: str, name: str, detail: str) -> None:
            self._tell(DeviceNews(role=role, state=state, name=name, detail=detail))

        return tell
