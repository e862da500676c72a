"""What an agent tells about itself while it works.

Every event is a frozen dataclass with a dotted ``type``; ``document`` turns one into plain JSON data.
Events that end something carry a ``reason`` of the closed set ``Reason`` and a ``side``. No event holds
a key, a TGK, a pre-shared key or a ticket: only identifiers and 8-digit fingerprints.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal

from sipmikey.call.reasons import Reason, Side

SCHEMA_VERSION = 1


Keying = Literal["mikey-ticket", "sdes"]


class MediaProtection(StrEnum):
    """``OFF``: in clear. ``KEYED``: SRTP has keys. ``PROVEN``: a packet of the peer verified under them."""

    OFF = "off"
    HELD = "held"
    KEYED = "keyed"
    PROVEN = "proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Three separate facts about a call.

    ``signalling``: transport of the SIP messages on this hop (``udp``, ``tcp`` or ``tls``).
    ``media``: see ``MediaProtection``; ``held`` means no keys yet, and nothing is sent or played.
    ``peer``: the identity that answered (or called) as ``kms`` vouches for it, None when nobody does;
    ``called``: the identity that was dialled, which differs from ``peer`` after retargeting.
    ``suite``: the SRTP profile's name, e.g. ``AES_256_CM_HMAC_SHA1_80``. ``ticket``: 8 hexadecimal digits
    that identify the ticket. ``keying``: what gave the keys, ``mikey-ticket`` or ``sdes`` (every proxy can
    read those, and ``peer`` stays None); None while there are none.
    """

    signalling: str
    media: MediaProtection
    peer: str | None = None
    called: str | None = None
    kms: str | None = None
    suite: str | None = None
    ticket: str | None = None
    keying: Keying | None = None

    @property
    def secured(self) -> bool:
        """True when the media is keyed (or proven) and a KMS vouches for the peer."""
        return self.media in (MediaProtection.KEYED, MediaProtection.PROVEN) and self.peer is not None


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
class TicketFacts:
    """What may be shown of a ticket: no key, not the ticket itself.

    ``ticket``: 8 hexadecimal digits naming it. ``valid_until``: Unix seconds. ``flags``: letters of the
    Ticket Policy flags that are set; ``mode``: what D and E among them mean (RFC 6043 section 4.1.1).
    ``responders``: identities it may be resolved by (patterns).
    """

    ticket: str
    kms: str
    initiator: str
    responders: tuple[str, ...]
    valid_from: float | None
    valid_until: float | None
    flags: str
    suite: str
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. ``at``: Unix seconds. ``call``: the agent's own number of the call, or ``""``."""

    type: ClassVar[str] = "event"
    at: float
    call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered(Event):
    type: ClassVar[str] = "reg.ok"
    identity: str
    registrar: str
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationFailed(Event):
    type: ClassVar[str] = "reg.fail"
    identity: str
    registrar: str
    status: int
    reason: Reason
    side: Side
    detail: str


KmsExchange = Literal["ticket-request", "ticket-resolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsRequest(Event):
    """A message went to the KMS. ``size``: octets."""

    type: ClassVar[str] = "kms.request"
    exchange: KmsExchange
    kms: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsResponse(Event):
    """The KMS answered. ``elapsed_ms``: from request to response. ``answerer``: whom it vouches for."""

    type: ClassVar[str] = "kms.response"
    exchange: KmsExchange
    kms: str
    size: int
    elapsed_ms: float
    ticket: TicketFacts | None = None
    answerer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsFailed(Event):
    type: ClassVar[str] = "kms.error"
    exchange: KmsExchange
    kms: str
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOut(Event):
    """An INVITE is about to be sent to *uri*."""

    type: ClassVar[str] = "call.out"
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRedirected(Event):
    """The INVITE ended with ``status``, and the call is made again to ``target``, a contact of a redirection.
    ``called``: the identity that is called there."""

    type: ClassVar[str] = "call.redirected"
    status: int
    target: str
    called: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallIn(Event):
    """An INVITE passed the early checks. ``caller``: From, not yet vouched for by any KMS.

    ``display_name``: what the caller calls itself; it names nobody.
    """

    type: ClassVar[str] = "call.in"
    caller: str
    called: str
    sip_call_id: str
    display_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChallenged(Event):
    """A proxy or the peer wants a password (``status`` 407, 401): the same offer is sent again with it."""

    type: ClassVar[str] = "call.challenged"
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRinging(Event):
    """A provisional response arrived. ``early_media``: it carried SDP."""

    type: ClassVar[str] = "call.ringing"
    status: int
    to_tag: str
    early_media: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered(Event):
    """The call is established. ``setup_ms``: from INVITE to 2xx, this side's view."""

    type: ClassVar[str] = "call.answered"
    sip_call_id: str
    to_tag: str
    setup_ms: float
    security: Security


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState(Event):
    """One of the three security facts, or hold, changed during the call."""

    type: ClassVar[str] = "call.state"
    state: str
    security: Security


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Event):
    """The call is over. ``status``: the SIP status that ended the set-up, or 200 for a BYE."""

    type: ClassVar[str] = "call.end"
    reason: Reason
    side: Side
    status: int
    detail: str
    duration_s: float
    security: Security


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkCandidate(Event):
    """A branch answered with a TRANSFER_RESP that verifies."""

    type: ClassVar[str] = "fork.candidate"
    to_tag: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkCommitted(Event):
    type: ClassVar[str] = "fork.committed"
    to_tag: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkAbandoned(Event):
    """A branch lost the call or failed; its keys are erased."""

    type: ClassVar[str] = "fork.abandoned"
    to_tag: str
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MikeySent(Event):
    """A MIKEY message left in SDP. ``message``: e.g. ``TRANSFER_INIT``. ``size``: octets before base64."""

    type: ClassVar[str] = "mikey.sent"
    message: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MikeyReceived(Event):
    type: ClassVar[str] = "mikey.received"
    message: str
    size: int
    to_tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MikeyRefused(Event):
    type: ClassVar[str] = "mikey.refused"
    reason: Reason
    side: Side
    detail: str
    to_tag: str = ""


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
    """No packet of the peer proved the keys, or packets that arrive do not verify any more."""

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
class PolicyRefused(Event):
    """This agent's policy refused something: an offer in clear, a fifth call, an identity."""

    type: ClassVar[str] = "policy.refused"
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyQuestion(Event):
    """Policy has the user asked whether *peer* will do instead of *called*; ``wait_s``: how long.

    ``kms``: who vouches for *peer*, None where a redirection names it.
    """

    type: ClassVar[str] = "policy.question"
    peer: str
    called: str
    kms: str | None
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFallback(Event):
    """Policy ``preferred`` let a call go on without protection; said loudly, once per call."""

    type: ClassVar[str] = "policy.fallback"
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAlternative(Event):
    """Policy ``preferred`` let a call be keyed by *keying* instead of MIKEY-TICKET; said loudly."""

    type: ClassVar[str] = "policy.alternative"
    keying: Keying
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequested(Event):
    """The peer asks that we call *target*. ``new_call``: the number of that call, ``""`` when refused with
    ``status`` (480: not yet, its ticket is being fetched)."""

    type: ClassVar[str] = "transfer.requested"
    target: str
    status: int
    new_call: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementRequested(Event):
    """*caller* (not yet vouched for) wants this call's place for a call of its own (Replaces, RFC 3891).
    ``new_call``: the number of that call, ``""`` when refused with ``status``."""

    type: ClassVar[str] = "replacement.requested"
    caller: str
    status: int
    new_call: str


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
    where it is that which relays."""

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
class StackFailed(Event):
    """The process of the SIP stack died, and ``calls`` calls with it; each of them ends with ``call.end``.

    ``again_in_s``: seconds until it is started again; 0 at once, more when it dies over and over.
    """

    type: ClassVar[str] = "stack.failed"
    calls: int
    detail: str
    again_in_s: float
    reason: Reason = Reason.STACK_FAILED
    side: Side = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesWaiting(Event):
    """Somebody who keeps messages for us tells how many (RFC 3842): ``new`` were not heard, ``old`` were.

    ``box``: whose messages, as told. ``source``: who sent it, ``host:port``. SIP does not protect it end to
    end: it is a hint to look into the box.
    """

    type: ClassVar[str] = "message.waiting"
    box: str
    waiting: bool
    new: int
    old: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Event):
    """Counts at the end of a call, before ``call.end``."""

    type: ClassVar[str] = "stats"
    streams: tuple[StreamStats, ...]


def document(event: Event) -> dict[str, Any]:
    """Return *event* as JSON data: ``v``, ``type`` and ``at`` first, then its own fields.

    Enumerations become their words, tuples become lists, nested facts become objects.
    """
    fields = dataclasses.asdict(event)
    head = {"v": SCHEMA_VERSION, "type": event.type, "at": fields.pop("at")}
    return {**head, **{name: _plain(value) for name, value in fields.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, StrEnum) else value
