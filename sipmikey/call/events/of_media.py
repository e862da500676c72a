"""Events of media: keys and the packets that prove them, sound devices, the way through NAT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sipmikey.call.events.event import Event
from sipmikey.call.reasons import Reason, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStats:
    """Packet counts of one stream, from pjmedia.

    ``sent``: RTP packets protected and sent. ``decrypted``: RTP packets that verified and decrypted (or
    arrived, when media is off). ``lost``: gaps in the sequence numbers received.
    """

    index: int
    codec: str
    sent: int
    decrypted: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaKeyed(Event):
    """SRTP of one stream has keys. ``send_key``, ``receive_key``: fingerprints, 8 hexadecimal digits."""

    type: ClassVar[str] = "media.keyed"
    index: int
    to_tag: str
    suite: str
    send_key: str
    receive_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaProven(Event):
    """A first packet of the peer verified under the keys of ``media.keyed``."""

    type: ClassVar[str] = "media.proven"
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRekeyed(Event):
    type: ClassVar[str] = "media.rekeyed"
    index: int
    suite: str
    send_key: str
    receive_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSwitched(Event):
    """How the change of ``media.rekeyed`` went: packets of the peer ``lost`` around it, counted when
    ``received`` more had verified."""

    type: ClassVar[str] = "media.switched"
    index: int
    lost: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFailed(Event):
    """No packet of the peer proved the keys, or packets that arrive do no longer verify."""

    type: ClassVar[str] = "media.failed"
    index: int
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStalled(Event):
    """Nothing of the peer arrived for ``silent_s`` seconds on a stream that was proven."""

    type: ClassVar[str] = "media.stalled"
    index: int
    reason: Reason
    side: Side
    detail: str
    silent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaResumed(Event):
    """Packets of the peer verify again after ``media.stalled`` or ``media.failed``."""

    type: ClassVar[str] = "media.resumed"
    index: int
    silent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaExpired(Event):
    type: ClassVar[str] = "media.expired"
    index: int
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfReceived(Event):
    type: ClassVar[str] = "dtmf.received"
    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackFinished(Event):
    """The WAV file given as audio source was played to its end."""

    type: ClassVar[str] = "audio.played"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatServers(Event):
    """The STUN and TURN servers were asked. ``kind``: what lies between us and them (`sipmikey.nat`).

    ``stun``, ``turn``: ``ok``, why not, or empty where none is configured. ``mapped``: our address as others
    see it, ``relayed``: one the TURN server would lend us."""

    type: ClassVar[str] = "nat.servers"
    kind: str
    stun: str
    turn: str
    mapped: str
    relayed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRoute(Event):
    """ICE chose the way of a stream's media. ``way``: ``direct``, ``reflexive`` (through a NAT), ``relayed``.

    ``local_kind``, ``remote_kind``: ``host``, ``srflx``, ``prflx`` or ``relay``. ``relay``: our TURN server,
    where it is the one that relays."""

    type: ClassVar[str] = "media.path"
    sip_call_id: str
    index: int
    way: str
    local: str
    local_kind: str
    remote: str
    remote_kind: str
    relay: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundDevice(Event):
    """A sound device was opened (``open``), pulled out (``lost``), or could not be used (``failed``).

    ``role``: ``input``, ``output`` or ``ringer``. ``name`` is empty for the system's default."""

    type: ClassVar[str] = "sound.device"
    role: str
    state: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundLevel(Event):
    """How loud the last 100 ms were, in decibels relative to full scale; only while levels are watched."""

    type: ClassVar[str] = "sound.level"
    role: str
    rms_db: float
    peak_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Event):
    """Counts at the end of a call, before ``call.end``."""

    type: ClassVar[str] = "stats"
    streams: tuple[StreamStats, ...]
