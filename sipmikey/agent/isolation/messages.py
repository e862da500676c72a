"""The messages between the agent's process and a stack process: one frozen class each.

A *question* is answered with a value of its ``answer`` type or an error, a *notice* is not. ``call`` is
the number of a call of one stack process: the agent gives out odd ones, the stack process even ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sipmikey.agent.config import AgentConfig, Transport
from sipmikey.agent.stack import (
    Headers,
    HelpingServers,
    Lane,
    OfferVerdict,
    Phase,
    Placement,
    Seat,
    SrtpKeys,
    StackKeys,
    StreamCount,
)
from sipmikey.nat.path import MediaPath
from sipmikey.sip import SipMessage
from sipmikey.sound.commands import Command
from sipmikey.sound.settings import News


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Base of the messages that need no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Base of the messages that are answered."""

    answer: ClassVar[Any] = None


# To the stack process


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Question):
    """Open the stack. ``config`` holds no key. ``keys``: which the stack may make itself, None for none.

    ``ports``: what to listen on where the configuration leaves it open; empty for any. ``again``: another
    process had this place and died. ``secret``: of the Vias of calls that are passed on, "" where none are;
    ``first``: this process has the SIP port and passes them on. ``contact``: our Contact, "" for the stack's.
    """

    answer: ClassVar[Any] = Mapping[Transport, str]
    config: AgentConfig
    keys: StackKeys | None
    ports: Mapping[Transport, int]
    again: bool
    first: bool
    secret: str
    contact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Question):
    """From the answer until ``GoOn``, only answer questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn(Notice):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyIn(Question):
    answer: ClassVar[Any] = float | None
    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCall(Question):
    """Answered with the SIP Call-ID."""

    answer: ClassVar[Any] = str
    call: int
    uri: str
    lane: Lane
    headers: Headers
    via: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferCodecs(Question):
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObeySound(Question):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class UseServers(Question):
    servers: HelpingServers


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMessage(Question):
    uri: str
    content_type: str
    body: str
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Register(Question):
    renew: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay(Notice):
    """Forward that call's messages to another process at ``address``; "" when the call is over."""

    sip_call_id: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowAddress(Question):
    """Our address changed: listen at the new one, and register. Answered with the addresses it listens on."""

    answer: ClassVar[Any] = Mapping[Transport, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(Question):
    """Hang everything up and leave the registrar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Notice):
    """Free everything and exit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Question):
    call: int
    status: int
    sdp: str | None
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Hangup(Question):
    call: int
    status: int
    headers: Headers
    sdp: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Question):
    """Answered with the packets of the stream before."""

    answer: ClassVar[Any] = StreamCount | None
    call: int
    index: int
    keys: SrtpKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Unkey(Question):
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(Question):
    answer: ClassVar[Any] = tuple[StreamCount, ...]
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectAudio(Question):
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSeat(Question):
    call: int
    seat: Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinvite(Question):
    call: int
    hold: bool
    unhold: bool
    moved: bool
    restart: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Question):
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDtmf(Question):
    call: int
    digits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Question):
    """``replacing``: the call of the same process whose place the new one takes."""

    call: int
    target: str
    replacing: int | None


# From the stack process


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCall(Question):
    """Which process takes a new call: "" for this one, ``host:port`` of another, or ``full``."""

    answer: ClassVar[Any] = str
    sip_call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceInvite(Question):
    answer: ClassVar[Any] = Placement
    invite: SipMessage
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming(Question):
    call: int
    sip_call_id: str
    invite: SipMessage
    source: str
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached(Question):
    """The successor of a call, let in by ``TransferRequested`` or ``ReplacementAsked``, exists."""

    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSdp(Question):
    answer: ClassVar[Any] = str
    call: int
    sdp: str
    remote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOffer(Question):
    answer: ClassVar[Any] = OfferVerdict
    call: int
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCreated(Question):
    call: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePassed(Question):
    call: int
    direction: Literal["sent", "received"]
    message: SipMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent(Notice):
    """The stack sent a message without a description: it does not wait for what the agent makes of it."""

    call: int
    message: SipMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Notice):
    """The Call-ID of a call that the stack process has made."""

    call: int
    sip_call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChanged(Question):
    """The call is established, or over. ``counts``: those of the call so far."""

    call: int
    phase: Phase
    status: int
    reason: str
    sip_call_id: str
    counts: tuple[StreamCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequested(Question):
    """Answered with the status to refuse with, 0 for consent; ``successor`` is the new call then."""

    answer: ClassVar[Any] = int
    call: int
    target: str
    successor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementAsked(Question):
    """Answered as ``TransferRequested`` is."""

    answer: ClassVar[Any] = int
    call: int
    invite: SipMessage
    source: str
    lane: Lane
    successor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress(Notice):
    call: int
    status: int
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfReceived(Notice):
    call: int
    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced(Notice):
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(Notice):
    """The stack failed within a call. ``error``: see ``channel.Failure``."""

    call: int
    error: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error of the other process.

    ``word``: a word of ``Reason``, "LocalError" for one, or "" for a ``StackError``.
    """

    detail: str
    status: int
    word: str = ""
    side: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway(Notice):
    caller: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageArrived(Notice):
    message: SipMessage
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Played(Notice):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundTold(Notice):
    news: News


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFound(Notice):
    sip_call_id: str
    index: int
    path: MediaPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Notice):
    status: int
    reason: str
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesWaiting(Notice):
    """A NOTIFY told of messages that wait."""

    notify: SipMessage
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged(Notice):
    """A line of the stack process's log, at a level of `logging`."""

    level: int
    logger: str
    text: str


TO_STACK: tuple[type[Notice | Question], ...] = (
    Start, Hold, GoOn, ReadyIn, MakeCall, PreferCodecs, ObeySound, UseServers, SendMessage, Register, Relay,
    FollowAddress, Leave, Stop, Answer, Hangup, Key, Unkey, Counts, ConnectAudio, TakeSeat, Reinvite, Update,
    SendDtmf, Transfer,
)  # fmt: skip

FROM_STACK: tuple[type[Notice | Question], ...] = (
    PlaceCall, PlaceInvite, Incoming, Attached, LocalSdp, RemoteOffer, StreamCreated, MessagePassed,
    MessageSent, Named, PhaseChanged, TransferRequested, ReplacementAsked, TransferProgress, DtmfReceived,
    Replaced, CallFailed, TurnedAway, MessageArrived, Played, SoundTold, PathFound, Registration,
    MessagesWaiting, Logged,
)  # fmt: skip
