"""The audio source and sink of calls on pjmedia."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.devices import AgentDevices
from sipmikey.agent.pjsua.library import logged, pj, refused, typed
from sipmikey.agent.python_media.devices import check_devices
from sipmikey.agent.python_media.recordings import Recordings
from sipmikey.agent.stack import Seat, StackObserver
from sipmikey.guard import create_private
from sipmikey.media.wav import read_wav, write_plain


class _Player(pj.AudioMediaPlayer):  # type: ignore[misc]
    def __init__(self, played: Callable[[], None]) -> None:
        super().__init__()
        self._played = played

    def onEof2(self) -> None:  # noqa: N802
        with logged("the end of a file"):
            self._played()


@dataclass(frozen=True, slots=True)
class Line:
    """The audio of one stream of a call. ``mixes``: both sides speak and hear; neither holds the other."""

    audio: Any
    mixes: bool


def _part(source: Any, sink: Any) -> None:
    """Disconnect *source* from *sink*, where they are connected."""
    with contextlib.suppress(pj.Error):
        source.stopTransmit(sink)


class Sound(AgentDevices):
    """The audio source and sink of all calls: WAV files, or the sound device.

    A file is played from its beginning, and a recording begun, when a call comes while no other is there;
    recordings after the first get a number in their names. *again*: see `Recordings`.
    """

    def __init__(self, config: AgentConfig, observer: StackObserver, *, again: bool = False) -> None:
        super().__init__()
        self._audio = config.audio
        self._observer = observer
        self._users: set[int] = set()
        self._lines: dict[int, tuple[Line, ...]] = {}
        self._seats: dict[int, Seat] = {}
        self._mixed: set[frozenset[int]] = set()
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
        check_devices()
        from sipmikey.agent.pjsua.sound.devices import device_room

        self.devices = device_room(self._audio.sound, self.heard_news)

    def connect(self, user: int, lines: tuple[Line, ...]) -> None:
        """Let *lines*, all that the call with number *user* has now, be heard and hear, as it is seated."""
        self._users.add(user)
        self._lines[user] = lines
        with typed("audio"):
            self._arrange(user)

    def seat(self, user: int, seat: Seat) -> None:
        """Have the call with number *user* hear, and be heard by, those of its room only."""
        self._seats[user] = seat
        with typed("audio"):
            self._arrange(user)

    def _arrange(self, user: int) -> None:
        lines, seat = self._lines.get(user, ()), self._seats.get(user, Seat())
        for line in lines:
            if seat.present:
                self._let_in(user, line.audio)
            else:
                self._shut_out(line.audio)
        for other, others in self._lines.items():
            room = self._seats.get(other, Seat()).room
            pair = frozenset((user, other))
            if other != user and (room == seat.room != "" or pair in self._mixed):
                self._mix(pair, lines, others, together=room == seat.room != "")

    def _mix(
        self, pair: frozenset[int], lines: tuple[Line, ...], others: tuple[Line, ...], *, together: bool
    ) -> None:
        """Connect the lines of two calls in both directions, or part them. pjmedia adds up what one hears."""
        (self._mixed.add if together else self._mixed.discard)(pair)
        for line in lines:
            for other in others:
                for source, sink in ((line, other), (other, line)):
                    if together and source.mixes and sink.mixes:
                        source.audio.startTransmit(sink.audio)
                    else:
                        _part(source.audio, sink.audio)

    def _let_in(self, user: int, call: Any) -> None:
        """Let the user of this agent speak in *call* and hear it."""
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
        if self.devices is not None:
            self.devices.use(user)
            call.startTransmit(manager.getPlaybackDevMedia())

    def _shut_out(self, call: Any) -> None:
        """Undo `_let_in`. pjmedia sends silence where no source is connected."""
        manager = pj.Endpoint.instance().audDevManager()
        _part(manager.getCaptureDevMedia() if self._player is None else self._player, call)
        if self._audio.echo:
            _part(call, call)
        if self._recorder is not None:
            _part(call, self._recorder)
        if self.devices is not None:
            _part(call, manager.getPlaybackDevMedia())

    def _play(self, path: Path, call: Any) -> None:
        if self._player is None:
            self._player = _Player(self._observer.on_played)
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
        self._lines.pop(user, None)
        self._seats.pop(user, None)
        self._mixed = {pair for pair in self._mixed if user not in pair}
        if self.devices is not None:
            self.devices.release(user)
        if not self._users:
            self._finish()

    def close(self) -> None:
        """End everything, before the library is destroyed."""
        self._finish()
        super().close()

    def _finish(self) -> None:
        """Delete player and recorder; pjmedia writes the length of a recording only then."""
        self._player = None
        self._recorder = None
