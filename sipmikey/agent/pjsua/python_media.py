"""Calls whose media runs in Python: pjsua2 does the signalling, `sipmikey.media` the RTP and SRTP.

pjsua2 is given a transport without sockets (its third-party media mode), and the descriptions it makes get
the addresses of sockets of ours. Methods here are called in the engine's thread and do not wait: what
concerns a running stream is handed to the media loop's thread.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.pjsua.sound.recordings import Recordings
from sipmikey.agent.stack import Seat, SrtpKeys, StackError, StreamCount
from sipmikey.media.endpoint import Address, MediaLoop, MediaPort, udp_pair
from sipmikey.media.errors import SrtpError
from sipmikey.media.g711 import G711, PCMA, PCMU
from sipmikey.media.keying import StreamKey
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames

T = TypeVar("T")

_log = logging.getLogger("sipmikey.agent.media")

_CODECS = {codec.name: codec for codec in (PCMA, PCMU)}
_MEDIA_LINE = re.compile(r"^m=audio (\d+) ")
_REPLACED = ("a=rtcp:", "a=rtcp-mux", "a=ssrc:", "c=")


class _Speech:
    """The file configured, then silence; tells once that the file has been played."""

    def __init__(
        self, frames: tuple[bytes, ...], codec: G711, repeat: bool, played: Callable[[], None]
    ) -> None:
        self._frames = FrameSource(frames, loop=repeat and bool(frames))
        self._silence = bytes((codec.silence,)) * codec.frame_length
        self._played: Callable[[], None] | None = played if frames else None

    def next_frame(self) -> bytes:
        frame = self._frames.next_frame()
        if frame is not None:
            return frame
        if self._played is not None:
            self._played()
            self._played = None
        return self._silence


@dataclass(slots=True, kw_only=True)
class _Line:
    """One m-line: its stream, the sockets, and the branch its receiving key belongs to."""

    port: MediaPort
    ssrc: int
    ports: tuple[int, int]
    chosen: bool = False
    heard: int = 0
    refused: Mapping[SrtpError, int] = field(default_factory=dict)
    refused_before: Mapping[SrtpError, int] = field(default_factory=dict)

    def trouble(self) -> str:
        """Return what was wrong with packets since one verified; "" where none came since it was asked last.

        The first packet of a kind may be all that can be diagnosed: clear RTP soon looks too old.
        """
        report = self.stream.statistics()
        last, self.refused = self.refused, report.refused
        if self.stream.received != self.heard:
            self.heard, self.refused_before = self.stream.received, last
        if report.refused == last:
            return ""
        before = self.refused_before
        kinds = {str(kind) for kind, count in report.refused.items() if count > before.get(kind, 0)}
        told = (text for text in report.diagnoses if text.partition(":")[0] in kinds)
        return "; ".join(told) or "packets arrive that do not verify"

    @property
    def stream(self) -> RtpStream:
        return self.port.stream


class PythonMedia:
    """The media of all calls of an agent, in one thread. *again*: see `Recordings`."""

    def __init__(self, config: AgentConfig, *, again: bool = False) -> None:
        self._audio = config.audio
        self.bind = config.sip.bind
        self.first_port = config.audio.rtp_port
        self.address = config.sip.public_address or config.sip.bind
        self.cname = config.identity.partition(":")[2]
        self.loop = MediaLoop()
        self._frames: dict[str, tuple[bytes, ...]] = {}
        record = config.audio.record
        self._recordings = None if record is None else Recordings(record, again=again)
        self._played = 0
        self.loop.start()

    def call(self) -> CallMedia:
        """Return the media of a new call."""
        return CallMedia(self)

    def close(self) -> None:
        """End every stream with an RTCP BYE, and the thread."""
        self.loop.close()

    def speech(self, codec: G711) -> _Speech:
        """Return a source that plays the file configured from its beginning."""
        path = self._audio.play
        if path is not None and codec.name not in self._frames:
            self._frames[codec.name] = read_frames(path, codec)
        return _Speech(self._frames.get(codec.name, ()), codec, self._audio.repeat, self._was_played)

    def recorder(self, codec: G711) -> WavRecorder | None:
        """Return a recorder; files after the first get a number in their names."""
        return None if self._recordings is None else WavRecorder(self._recordings.next(), codec)

    def _was_played(self) -> None:
        self._played += 1

    def take_played(self) -> bool:
        """Return whether a file was played to its end since this was asked last."""
        played, self._played = self._played, 0
        return played > 0

    def post(self, work: Callable[[], object]) -> None:
        """Have *work* done in the media thread."""
        self.loop.call(work).add_done_callback(_report)


class CallMedia:
    """The streams of one call, by m-line index."""

    def __init__(self, media: PythonMedia) -> None:
        self._media = media
        self._lines: dict[int, _Line] = {}
        self._speaking = False
        self._recorders: list[WavRecorder] = []

    def describe(self, sdp: str) -> str:
        """Return pjsua2's description with our addresses and SSRCs, opening sockets for new m-lines."""
        address = f"IN IP{6 if ':' in self._media.address else 4} {self._media.address}"
        head, *sections = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
        described = [re.sub(r"^c=.*$", f"c={address}", head, flags=re.MULTILINE)]
        for index, section in enumerate(sections):
            found = _MEDIA_LINE.match(section)
            if found is None or found.group(1) == "0":
                described.append(section)
                continue
            line = self._line(index)
            rtp, rtcp = line.ports
            first, *rest = section.rstrip("\r\n").split("\r\n")
            lines = [_MEDIA_LINE.sub(f"m=audio {rtp} ", first), f"c={address}"]
            lines += [one for one in rest if not one.startswith(_REPLACED)]
            lines += [f"a=rtcp:{rtcp} {address}", f"a=ssrc:{line.ssrc} cname:{self._media.cname}", ""]
            described.append("\r\n".join(lines))
        return "".join(described)

    def _line(self, index: int) -> _Line:
        if index not in self._lines:
            rtp, rtcp = udp_pair(self._media.bind, self._media.first_port)
            stream = RtpStream(codec=PCMA, cname=self._media.cname)
            self._lines[index] = _Line(
                ports=(_port_of(rtp), _port_of(rtcp)),
                port=self._media.loop.open(stream, rtp, rtcp),
                ssrc=stream.new_ssrc(),
            )
        return self._lines[index]

    def connect(self, index: int, codec: str, remote: Address | None, remote_rtcp: Address | None) -> None:
        """pjsua2 has agreed on a stream: send to *remote*, nothing if that is None."""
        line = self._line(index)
        if codec not in _CODECS:
            raise StackError(f"media in Python has no codec {codec}: allow PCMA or PCMU only")

        def connect() -> None:
            line.stream.codec = _CODECS[codec]
            line.port.remote = line.port.remote_rtcp = None
            if remote is not None:
                line.port.send_to(remote, remote_rtcp)

        self._media.post(connect)
        if self._speaking:
            self.speak()

    def disconnect(self, index: int) -> None:
        """The stream is gone: send nothing."""
        if index in self._lines:
            line = self._lines[index]
            self._media.post(line.port.send_to_nobody)

    def key(self, index: int, keys: SrtpKeys, *, confirmed: bool) -> None:
        """Run the m-line at *index* on *keys*: with overlap once a branch is chosen, else from now on."""
        if keys.directions is None:
            raise StackError("media in Python needs keys with their SSRC and packet index")
        send, receive = keys.directions
        if send.profile.python_name is None:
            raise StackError(f"media in Python cannot do {send.profile.name}")
        line = self._line(index)
        self._media.post(lambda: _key(line, send, receive, confirmed=confirmed))

    def unkey(self) -> None:
        """Send nothing and play nothing until there are keys again."""
        for line in self._lines.values():
            self._media.post(line.stream.pause)

    def choose(self) -> None:
        """The call is answered: the branch listened to is the one, the others are forgotten."""
        for line in self._lines.values():
            self._media.post(partial(_choose, line))

    def speak(self) -> None:
        """Play and record what is configured, from now on."""
        self._speaking = True
        for line in self._lines.values():
            self._media.post(partial(self._speak, line))

    def _speak(self, line: _Line) -> None:
        if line.stream.source is None:
            line.stream.source = self._media.speech(line.stream.codec)
        if line.stream.sink is None and (recorder := self._media.recorder(line.stream.codec)) is not None:
            line.stream.sink = recorder
            self._recorders.append(recorder)

    def seat(self, seat: Seat) -> None:
        """Have the call hear, and be heard by, those of its room only. Raises ``StackError``."""
        if seat != Seat():
            raise StackError("media in Python does not mix calls: use the engine native")

    def counts(self) -> tuple[StreamCount, ...]:
        """Packets of every m-line so far."""
        return tuple(
            StreamCount(
                index=index,
                codec=line.stream.codec.name,
                sent=line.stream.sent,
                received=line.stream.received,
                lost=line.stream.lost,
                trouble=line.trouble(),
            )
            for index, line in sorted(self._lines.items())
        )

    def close(self) -> None:
        """End the streams and the recordings."""
        for line in self._lines.values():
            self._media.loop.shut(line.port).add_done_callback(_report)
        recorders, self._recorders = self._recorders, []
        for recorder in recorders:
            self._media.post(recorder.close)


def _key(line: _Line, send: StreamKey, receive: StreamKey, *, confirmed: bool) -> None:
    stream = line.stream
    stream.send_with(send)
    if line.chosen:
        stream.receive_with(receive)
        return
    branch = receive.key.fingerprint()
    stream.add_candidate(branch, receive)
    stream.listen_to(branch)
    if confirmed:
        _choose(line)


def _choose(line: _Line) -> None:
    if not line.chosen and line.stream.listening_to is not None:
        line.stream.choose(line.stream.listening_to)
        line.chosen = True


def _port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _report(future: Future[T]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("work in the media thread failed: %s", error, exc_info=error)
