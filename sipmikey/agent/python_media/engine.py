"""Calls whose media runs in Python: a SIP stack does the signalling, `sipmikey.media` the RTP and SRTP.

pjsua2 is given a transport without sockets (its third-party media mode), and the descriptions it makes get
the addresses of sockets of ours. Methods here are called in the engine's thread and do not wait: what
concerns a running stream is handed to the media loop's thread.
"""

from __future__ import annotations

import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.python_media.agreed_media import AgreedMedia
from sipmikey.agent.python_media.line import PythonLine
from sipmikey.agent.python_media.recordings import Recordings
from sipmikey.agent.python_media.ways import Countdown, Ways
from sipmikey.agent.stack import Seat, SrtpKeys, StackError, StreamCount
from sipmikey.media.codecs.codec import Codec, frame_samples
from sipmikey.media.codecs.known import OPUS_PARAMETERS, codec_named
from sipmikey.media.endpoint import MediaLoop, MediaPort, udp_pair
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import profile_by_name
from sipmikey.media.stream import RtpStream, Source
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.nat.candidates import PeerIce
from sipmikey.nat.path import MediaPath
from sipmikey.nat.servers import Address

if TYPE_CHECKING:
    from sipmikey.agent.python_media.quiet import QuietSound
    from sipmikey.media.voice.party import StreamParty
    from sipmikey.sound.room import Room

T = TypeVar("T")

_log = logging.getLogger("sipmikey.agent.media")

_MEDIA_LINE = re.compile(r"^m=audio (\d+) ")
_OPUS = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r?$", re.MULTILINE | re.IGNORECASE)
_REPLACED = ("a=rtcp:", "a=ssrc:", "c=", "a=ice-", "a=candidate:")
_LOOPBACK = "127.0.0.1"


class RoomKeeper(Protocol):
    """The keeper of a room, which runs it while calls use it."""

    @property
    def room(self) -> Room: ...

    def use(self, user: int) -> None:
        """Let the call with number *user* have it."""

    def release(self, user: int) -> None:
        """The call with number *user* is over."""


class SoundDevices(Protocol):
    """The sound devices; ``devices`` is None where there are none."""

    @property
    def devices(self) -> RoomKeeper | None: ...


class _Speech:
    """The file configured, then silence; tells once that the file has been played."""

    def __init__(
        self, frames: tuple[bytes, ...], codec: Codec, repeat: bool, played: Callable[[], None]
    ) -> None:
        self._frames = FrameSource(frames, loop=repeat and bool(frames))
        self._encoder = codec.encoder()
        self._silence = bytes(2 * frame_samples(codec))
        self._played: Callable[[], None] | None = played if frames else None

    def next_frame(self) -> bytes:
        frame = self._frames.next_frame()
        if frame is not None:
            return frame
        if self._played is not None:
            self._played()
            self._played = None
        return self._encoder.encode(self._silence)


class PythonMedia:
    """The media of all calls of an agent, in one thread. *again*: see `Recordings`."""

    def __init__(self, config: AgentConfig, sound: SoundDevices, *, again: bool = False) -> None:
        self._audio = config.audio
        self._sound = sound
        self._quiet: QuietSound | None = None
        self.bind = config.sip.bind
        self.first_port = config.audio.rtp_port
        self.address = config.sip.public_address or config.sip.bind
        self.cname = config.identity.partition(":")[2]
        self.loop = MediaLoop()
        self._frames: dict[str, tuple[bytes, ...]] = {}
        record = config.audio.record
        self._recordings = None if record is None else Recordings(record, again=again)
        self._played = 0
        self._ways: Ways | None = None
        self.digits: deque[tuple[CallMedia, str]] = deque()
        self.loop.start()

    def call(self, on_digit: Callable[[str], None]) -> CallMedia:
        """Return the media of a new call.

        *on_digit* is called with each DTMF key heard, in the engine's thread.
        """
        return CallMedia(self, on_digit)

    def use_ways(self, ways: Ways) -> None:
        """Have *ways* find the way of the media of new streams."""
        self._ways = ways

    @property
    def ways(self) -> Ways | None:
        """What finds the way of the media; None where it goes straight."""
        return self._ways

    def plain(self, sdp: str) -> str:
        """Return the description of a call in pjmedia, without the codec that it has in name only."""
        for number in _OPUS.findall(sdp):
            sdp = re.sub(rf"^(m=audio .*?) {number}\b", r"\1", sdp, flags=re.MULTILINE)
            sdp = re.sub(rf"^a=(rtpmap|fmtp):{number} .*\r\n", "", sdp, flags=re.MULTILINE)
        return sdp

    def close(self) -> None:
        """End every stream with an RTCP BYE, and the thread."""
        self.loop.close()
        if self._quiet is not None:
            self._quiet.close()

    @property
    def has_devices(self) -> bool:
        """True where there are sound devices."""
        return self._sound.devices is not None

    @property
    def room_keeper(self) -> RoomKeeper:
        """The keeper of the room in which the user and the calls meet. Raises ``StackError``."""
        if self._sound.devices is not None:
            return self._sound.devices
        if self._quiet is None:
            try:
                from sipmikey.agent.python_media.quiet import QuietSound
            except ImportError as error:
                raise StackError(f"sound needs {error.name}: pip install 'sipmikey[sound]'") from None
            self._quiet = QuietSound(self._audio.play, repeat=self._audio.repeat, played=self._was_played)
        return self._quiet

    @property
    def echoes(self) -> bool:
        """True where what is heard is sent back, and nothing else."""
        return self._audio.echo

    @property
    def plays(self) -> bool:
        """True where a file is played."""
        return self._audio.play is not None

    def codec(self, name: str) -> Codec:
        """Return the codec of that name, with the file configured ready to be played. Raises ``StackError``.

        Reading and encoding take their time: it is done in the engine's thread, so that the media of calls
        does not wait.
        """
        try:
            codec = codec_named(name)
            if self._audio.play is not None and codec.name not in self._frames:
                self._frames[codec.name] = read_frames(self._audio.play, codec)
        except LocalError as error:
            raise StackError(str(error)) from None
        return codec

    def speech(self, codec: Codec) -> Source:
        """Return a source that plays the file configured from its beginning, then silence."""
        return _Speech(self._frames.get(codec.name, ()), codec, self._audio.repeat, self._was_played)

    def recorder(self, codec: Codec) -> WavRecorder | None:
        """Return a recorder; files after the first get a number in their names."""
        return None if self._recordings is None else WavRecorder(self._recordings.next(), codec)

    def party(self, port: MediaPort) -> StreamParty:
        """Return the party that stands for a stream in a room."""
        from sipmikey.media.voice.party import StreamParty
        from sipmikey.sound.room import RATE

        return StreamParty(
            port.stream.codec, rate=RATE, settings=self._audio.jitter, say=partial(self.loop.say, port)
        )

    def _was_played(self) -> None:
        self._played += 1

    def take_played(self) -> bool:
        """Return True where a file was played to its end since the last call."""
        played, self._played = self._played, 0
        return played > 0

    def tell_digits(self) -> None:
        """Tell the calls the DTMF keys heard since the last call of this method."""
        while self.digits:
            call, digit = self.digits.popleft()
            call.on_digit(digit)

    def post(self, work: Callable[[], object]) -> None:
        """Run *work* in the media thread."""
        self.loop.call(work).add_done_callback(_report)


class CallMedia:
    """The streams of one call, by m-line index."""

    def __init__(self, media: PythonMedia, on_digit: Callable[[str], None]) -> None:
        self._media = media
        self.on_digit = on_digit
        self._lines: dict[int, PythonLine] = {}
        self._takes_digits: set[int] = set()
        self._speaking = False
        self._seat = Seat()
        self._keeper: RoomKeeper | None = None
        self.on_path: Callable[[int, MediaPath], None] = lambda index, path: None
        """Called with the path that ICE chose for the stream of an m-line, in a thread of ICE."""

    def gather(self, indices: Iterable[int], then: Callable[[], None], *, again: bool = False) -> bool:
        """Find ICE candidates for those m-lines that have none, or with *again* for all; call *then* after.

        *then* is called in another thread. Returns False, and calls nothing, where nothing is to be found.
        """
        ways = self._media.ways
        wanted = [index for index in indices if ways is not None and (again or index not in self._lines)]
        if ways is None or not wanted:
            return False
        left = Countdown(len(wanted), then)
        for index in wanted:
            line = self._line(index, loopback=True)
            if line.loopback:
                if line.ice is not None:
                    line.ice.close()
                line.ice = ways.stream(line.ports, partial(self._chose, index))
                line.ice.gather(left.one_less)
            else:
                left.one_less()
        return True

    def _chose(self, index: int, path: MediaPath) -> None:
        self.on_path(index, path)

    def another_peer(self, index: int, peer: PeerIce | None) -> bool:
        """Return whether *peer* starts ICE again for the stream of an m-line."""
        line = self._lines.get(index)
        return peer is not None and line is not None and line.ice is not None and line.ice.knows_another(peer)

    def describe(self, sdp: str) -> str:
        """Return the stack's description with our addresses and SSRCs, opening sockets for new m-lines."""
        address = f"IN IP{6 if ':' in self._media.address else 4} {self._media.address}"
        head, *sections = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
        described = [re.sub(r"^c=[^\r\n]*", f"c={address}", head, flags=re.MULTILINE)]
        for index, section in enumerate(sections):
            found = _MEDIA_LINE.match(section)
            if found is None or found.group(1) == "0":
                described.append(section)
                continue
            line = self._line(index)
            (host, rtp), (rtcp_host, rtcp), ice = self._whereabouts(line)
            here = f"IN IP{6 if ':' in host else 4} {host}"
            there = f"IN IP{6 if ':' in rtcp_host else 4} {rtcp_host}"
            first, *rest = section.rstrip("\r\n").split("\r\n")
            if line.shared and "a=rtcp-mux" in rest:
                rtcp = rtp
            lines = [_MEDIA_LINE.sub(f"m=audio {rtp} ", first), f"c={here}"]
            lines += [one for one in rest if not one.startswith(_REPLACED)]
            lines += [f"a=fmtp:{number} {OPUS_PARAMETERS}" for number in _OPUS.findall(section)]
            lines += [f"a=rtcp:{rtcp} {there}", f"a=ssrc:{line.ssrc} cname:{self._media.cname}", *ice, ""]
            described.append("\r\n".join(lines))
        return "".join(described)

    def _whereabouts(self, line: PythonLine) -> tuple[Address, Address, tuple[str, ...]]:
        """Return where a stream takes RTP and RTCP, and its attributes of ICE."""
        if line.ice is not None and line.ice.default is not None:
            return (*line.ice.default, line.ice.attributes)
        rtp, rtcp = line.ports
        return (self._media.address, rtp), (self._media.address, rtcp), ()

    def _line(self, index: int, *, loopback: bool = False) -> PythonLine:
        if index not in self._lines:
            bind = _LOOPBACK if loopback else self._media.bind
            rtp, rtcp = udp_pair(bind, 0 if loopback else self._media.first_port)
            stream = RtpStream(
                codec=PCMA,
                cname=self._media.cname,
                on_digit=lambda digit: self._media.digits.append((self, digit)),
            )
            self._lines[index] = PythonLine(
                self._media.loop.open(stream, rtp, rtcp),
                ssrc=stream.new_ssrc(),
                ports=(_port_of(rtp), _port_of(rtcp)),
                loopback=loopback,
            )
        return self._lines[index]

    def connect(self, index: int, agreed: AgreedMedia) -> None:
        """The stack agreed on a stream. Raises ``StackError`` for a codec or a file that cannot be used."""
        codec = self._media.codec(agreed.codec)
        line = self._line(index)
        (self._takes_digits.discard if agreed.event_types[0] is None else self._takes_digits.add)(index)
        line.find_way(agreed)
        if agreed.shared and not line.shared:
            line.shared = True
            if line.ice is None:
                self._media.post(partial(self._media.loop.share, line.port))
        self._media.post(partial(line.connect, agreed, codec))
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
        line = self._line(index)
        self._media.post(lambda: line.key(send, receive, confirmed=confirmed))

    def key_from_description(self, index: int, keys: SrtpKeys) -> None:
        """Run the m-line at *index* on keys of its descriptions (RFC 4568), which do not tell SSRCs."""
        profile = profile_by_name(keys.suite)
        line = self._line(index)
        send, receive = (
            StreamKey(
                profile=profile,
                key=Secret(keying.reveal()[: profile.key_length]),
                salt=Secret(keying.reveal()[profile.key_length :]),
                ssrc=line.ssrc,
            )
            for keying in (keys.send, keys.receive)
        )
        self._media.post(partial(line.key_from_description, send, receive))

    def run_in_clear(self, index: int) -> None:
        """Run the m-line at *index* without keys, where policy lets the call do without."""
        line = self._line(index)
        self._media.post(lambda: line.stream.run_in_clear(line.ssrc))

    def unkey(self) -> None:
        """Send nothing and play nothing until there are keys again."""
        for line in self._lines.values():
            self._media.post(line.stream.pause)

    def choose(self) -> None:
        """The call is answered: keep the branch that is heard, and forget the others."""
        for line in self._lines.values():
            self._media.post(line.choose)

    def speak(self) -> None:
        """Connect the user, or the configured file, with the streams from now on."""
        self._speaking = True
        if self._keeper is None and (self._media.has_devices or self._seat != Seat()):
            self._keeper = self._media.room_keeper
            self._keeper.use(id(self))
        room = None if self._keeper is None else self._keeper.room
        # Without devices the file is the user of a room; with devices, a conference hears the user.
        from_file = room is None or (self._media.has_devices and self._media.plays and self._seat == Seat())
        for line in self._lines.values():
            self._media.post(partial(line.equip, self._media, room, self._seat, from_file=from_file))

    def seat(self, seat: Seat) -> None:
        """Have the call hear, and be heard by, those of its room only. Raises ``StackError``."""
        self._seat = seat
        if self._speaking:
            self.speak()

    def dtmf(self, digits: str) -> None:
        """Send telephone events on the first stream that takes them. Raises ``StackError``."""
        if not self._takes_digits:
            raise StackError("the peer does not take telephone events (RFC 4733)")
        line = self._lines[min(self._takes_digits)]
        self._media.post(lambda: line.stream.send_digits(digits))

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
            closing = self._media.loop.shut(line.port)
            closing.add_done_callback(_report)
            self._media.post(line.end)
            if line.ice is not None:
                # After the BYE of RTCP.
                closing.add_done_callback(line.close_ice)
        if self._keeper is not None:
            self._keeper.release(id(self))
            self._keeper = None


def _port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _report(future: Future[T]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("work in the media thread failed: %s", error, exc_info=error)
