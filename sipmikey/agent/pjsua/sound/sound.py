"""What calls say and where it goes that is heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.pjsua.library import logged, pj, refused, typed
from sipmikey.agent.pjsua.sound.recordings import Recordings
from sipmikey.agent.stack import StackError, StackObserver
from sipmikey.guard import create_private
from sipmikey.media.wav import read_wav, write_plain
from sipmikey.sound.commands import Command
from sipmikey.sound.settings import News

if TYPE_CHECKING:
    from sipmikey.agent.pjsua.sound.devices import DeviceSound


NO_SOUND_DEVICE = "no-sound-device"
"""Begins the text of the error where there is no sound device."""


class _Player(pj.AudioMediaPlayer):  # type: ignore[misc]
    def __init__(self, played: Callable[[], None]) -> None:
        super().__init__()
        self._played = played

    def onEof2(self) -> None:  # noqa: N802
        with logged("the end of a file"):
            self._played()


class Sound:
    """The audio source and sink of all calls: WAV files, or the sound device.

    A file is played from its beginning, and a recording begun, when a call comes while no other is there;
    recordings after the first get a number in their names. *again*: see `Recordings`.
    """

    def __init__(self, config: AgentConfig, observer: StackObserver, *, again: bool = False) -> None:
        self._audio = config.audio
        self._observer = observer
        self._devices: DeviceSound | None = None
        self._news: deque[News] = deque()
        self._users: set[int] = set()
        self._player: Any = None
        self._recorder: Any = None
        record = config.audio.record
        self._recordings = None if record is None else Recordings(record, again=again)
        self._folder: TemporaryDirectory[str] | None = None
        self._source = self._playable(self._audio.play)

    def _playable(self, path: Path | None) -> Path | None:
        """Return *path*, or a copy in the one form that pjmedia reads; raises ``LocalError``."""
        if path is None or (audio := read_wav(path)).plain:
            return path
        self._folder = TemporaryDirectory(prefix="sipmikey-")
        copy = Path(self._folder.name) / "played.wav"
        write_plain(audio, copy)
        return copy

    def open(self) -> None:
        """Take the place of pjsua's sound device, once the library was started. Raises ``StackError``."""
        if self._audio.device == "null":
            pj.Endpoint.instance().audDevManager().setNullDev()
            return
        try:
            from sipmikey.agent.pjsua.sound.devices import DeviceSound
            from sipmikey.sound.devices import Devices
            from sipmikey.sound.errors import NoSoundDevice
        except ImportError as error:
            raise StackError(f"sound needs {error.name}: pip install 'sipmikey[sound]'") from None
        try:
            Devices()
        except NoSoundDevice as error:
            raise StackError(f"{NO_SOUND_DEVICE}: {error}") from None
        self._devices = DeviceSound(self._audio.sound, self._news.append)

    def obey(self, command: Command) -> None:
        """Do what *command* says to the devices; without devices there is nothing to do."""
        if self._devices is not None:
            self._devices.obey(command)

    def take_news(self) -> Iterator[News]:
        """Yield what the devices told, from whatever thread, since this was asked last."""
        while self._news:
            yield self._news.popleft()

    def connect(self, user: int, call: Any) -> None:
        """Let *call*, the audio of the call with number *user*, be heard and hear."""
        self._users.add(user)
        with typed("audio"):
            manager = pj.Endpoint.instance().audDevManager()
            if self._source is not None:
                self._play(self._source, call)
            else:
                # The null device gives silence, which is sent: a peer needs packets to prove its keys.
                manager.getCaptureDevMedia().startTransmit(call)
            if self._audio.echo:
                call.startTransmit(call)
            if self._recordings is not None:
                self._record(self._recordings, call)
            if self._devices is not None:
                self._devices.use(user)
                call.startTransmit(manager.getPlaybackDevMedia())

    def _play(self, path: Path, call: Any) -> None:
        if self._player is None:
            self._player = _Player(self._observer.played)
            self._player.createPlayer(str(path), 0 if self._audio.repeat else pj.PJMEDIA_FILE_NO_LOOP)
        self._player.startTransmit(call)

    def _record(self, recordings: Recordings, call: Any) -> None:
        if self._recorder is None:
            path = recordings.next()
            with refused(f"recording to {path}"):
                create_private(path)
            self._recorder = pj.AudioMediaRecorder()
            self._recorder.createRecorder(str(path))
        call.startTransmit(self._recorder)

    def release(self, user: int) -> None:
        """The call with number *user* is over; after the last one the recording is complete."""
        self._users.discard(user)
        if self._devices is not None:
            self._devices.release(user)
        if not self._users:
            self._finish()

    def close(self) -> None:
        """End everything, before the library is destroyed."""
        self._finish()
        if self._devices is not None:
            self._devices.close()
            self._devices = None

    def _finish(self) -> None:
        """Delete player and recorder; pjmedia writes the length of a recording only then."""
        self._player = None
        self._recorder = None
