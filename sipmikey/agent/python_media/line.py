"""One m-line of a call whose media runs in Python: its stream, and the sound on it.

A running stream is changed only in the media thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from sipmikey.agent.python_media.agreed_media import AgreedMedia
from sipmikey.agent.stack import Seat
from sipmikey.media.codecs.codec import Codec
from sipmikey.media.endpoint import MediaPort
from sipmikey.media.errors import SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.stream import RtpStream, Sink, Source
from sipmikey.media.voice.echo import Echo
from sipmikey.media.wav import WavRecorder

if TYPE_CHECKING:
    from sipmikey.media.voice.party import StreamParty
    from sipmikey.nat.ice import IceStream
    from sipmikey.sound.room import Room


class Means(Protocol):
    """The sources and sinks of sound for lines."""

    @property
    def echoes(self) -> bool:
        """True where what is heard is sent back, and nothing else."""

    def speech(self, codec: Codec) -> Source:
        """Return a source that plays the file configured from its beginning, then silence."""

    def recorder(self, codec: Codec) -> WavRecorder | None:
        """Return a recorder, None where nothing is recorded."""

    def party(self, port: MediaPort) -> StreamParty:
        """Return the party that stands for a stream in a room."""


class _Both:
    """Two sinks."""

    def __init__(self, one: Sink, other: Sink) -> None:
        self._one, self._other = one, other

    def put(self, timestamp: int, payload: bytes) -> None:
        self._one.put(timestamp, payload)
        self._other.put(timestamp, payload)


def _joined(one: Sink | None, other: Sink | None) -> Sink | None:
    return one or other if one is None or other is None else _Both(one, other)


class PythonLine:
    """``ports``: of RTP and RTCP, ``ssrc``: of what is sent.

    ``loopback``: the sockets are on the loopback interface, and ``ice`` finds the way and carries the
    packets. ``shared``: RTCP goes on the port of RTP. ``chosen``: the call is the branch's that is heard.
    Without a room, the stream itself plays the file configured; in one, the user and the others of the room
    are heard.
    """

    def __init__(self, port: MediaPort, *, ssrc: int, ports: tuple[int, int], loopback: bool = False) -> None:
        self.port = port
        self.ssrc = ssrc
        self.ports = ports
        self.chosen = False
        self.loopback = loopback
        self.shared = False
        self.ice: IceStream | None = None
        self._heard = 0
        self._refused: Mapping[SrtpError, int] = {}
        self._refused_before: Mapping[SrtpError, int] = {}
        self._codec: Codec | None = None
        self._recorder: WavRecorder | None = None
        self._party: StreamParty | None = None
        self._room: Room | None = None
        self._echo: Echo | None = None
        self._agreed = self._both_ways = False

    @property
    def stream(self) -> RtpStream:
        return self.port.stream

    def trouble(self) -> str:
        """Return what was wrong with packets since one verified; "" where none came since the last call.

        The first packet of a kind may be all that can be diagnosed: clear RTP soon looks too old.
        """
        report = self.stream.statistics()
        last, self._refused = self._refused, report.refused
        if self.stream.received != self._heard:
            self._heard, self._refused_before = self.stream.received, last
        if report.refused == last:
            return ""
        before = self._refused_before
        kinds = {str(kind) for kind, count in report.refused.items() if count > before.get(kind, 0)}
        told = (text for text in report.diagnoses if text.partition(":")[0] in kinds)
        return "; ".join(told) or "packets arrive that do not verify"

    # In the thread of the media

    def connect(self, agreed: AgreedMedia, codec: Codec) -> None:
        """Send and hear with *codec* what the SIP stack and the peer agreed on."""
        sent, heard = agreed.types
        self.stream.codec = codec.of_type(sent)
        self.stream.type_heard = heard
        self.stream.event_type_sent, self.stream.event_type_heard = agreed.event_types
        self._agreed, self._both_ways = True, agreed.both_ways
        self.port.remote = self.port.remote_rtcp = None
        if agreed.remote is None:
            return
        if self.ice is not None and self.ice.relays is not None:
            self.port.send_to(*self.ice.relays)
        else:
            self.port.send_to(agreed.remote, None if self.port.rtcp is None else agreed.remote_rtcp)

    def close_ice(self, _: object) -> None:
        """Give back what ICE has."""
        if self.ice is not None:
            self.ice.close()

    def find_way(self, agreed: AgreedMedia) -> None:
        """Have ICE find the way to the peer; from any thread."""
        if self.ice is None or self.ice.relays is None:
            return
        if agreed.ice is not None:
            self.ice.connect(agreed.ice, controlling=agreed.offered, shared=agreed.shared)
        elif agreed.remote is not None:
            host, port = agreed.remote
            rtcp = agreed.remote if agreed.shared else agreed.remote_rtcp or (host, port + 1)
            self.ice.connect_without(agreed.remote, rtcp)

    def equip(self, means: Means, room: Room | None, seat: Seat, *, from_file: bool) -> None:
        """Connect the peer's sound as *seat* says; *from_file*: the peer hears the configured file."""
        stream, codec = self.stream, self.stream.codec
        changed, self._codec = codec != self._codec, codec
        if self._recorder is None:
            self._recorder = means.recorder(codec)
        elif changed:
            self._recorder.change(codec)
        if means.echoes:
            if self._agreed and (changed or self._echo is None):
                self._echo = Echo(codec)
            stream.source = self._echo
            stream.sink = _joined(self._echo, self._recorder)
            return
        if room is not None and (self._party is None or changed):
            self._leave()
            self._party = means.party(self.port)
        if from_file and self._agreed:
            if stream.source is None or changed:
                stream.source = means.speech(codec)
        else:
            stream.source = None
        if self._party is None or room is None:
            stream.sink = self._recorder
            return
        self._party.muted = from_file
        stream.sink = _joined(self._party.ear, self._recorder)
        self._room = room
        room.enter(self._party, table=seat.room if self._both_ways else "", with_user=seat.present)

    def _leave(self) -> None:
        if self._room is not None and self._party is not None:
            self._room.leave(self._party)
        self._party = None

    def end(self) -> None:
        """Leave the room, and finish the recording."""
        self._leave()
        if self._recorder is not None:
            self._recorder.close()

    def key(self, send: StreamKey, receive: StreamKey, *, confirmed: bool) -> None:
        """Run on these keys: with overlap once a branch is chosen, else from now on."""
        self.stream.send_with(send)
        if self.chosen:
            self.stream.receive_with(receive)
            return
        branch = receive.key.fingerprint()
        self.stream.add_candidate(branch, receive)
        self.stream.listen_to(branch)
        if confirmed:
            self.choose()

    def key_from_description(self, send: StreamKey, receive: StreamKey) -> None:
        """Run on the keys of descriptions; the SSRC of *receive* does not count."""
        self.stream.send_with(send)
        self.stream.receive_from_any(receive)

    def choose(self) -> None:
        """The call is the branch's that is heard."""
        if not self.chosen and self.stream.listening_to is not None:
            self.stream.choose(self.stream.listening_to)
            self.chosen = True
