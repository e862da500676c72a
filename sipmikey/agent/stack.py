"""The port between the agent and a SIP stack: what the agent asks of a stack, and what a stack tells it.

There are two stacks: pjsua2 and `sipmikey.agent.asyncio_sip`. Everything here happens in the engine's thread,
and nothing may wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from sipmikey.call.keying.lanes import Lane, SrtpKeys, StackKeys
from sipmikey.call.stream_count import StreamCount
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.nat.path import MediaPath
from sipmikey.sip import Headers, SipMessage
from sipmikey.sound.settings import News

__all__ = [
    "CallObserver",
    "Headers",
    "HelpingServers",
    "Lane",
    "OfferVerdict",
    "Phase",
    "Placement",
    "Seat",
    "Sighting",
    "SrtpKeys",
    "StackCall",
    "StackError",
    "StackKeys",
    "StackObserver",
    "StackPresence",
    "StreamCount",
]


class StackError(SipmikeyError):
    """The SIP stack refused an operation. ``status``: pjsip's status number, 0 when it has none."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class Phase(StrEnum):
    """State of the INVITE session."""

    CALLING = "calling"
    INCOMING = "incoming"
    EARLY = "early"
    CONNECTING = "connecting"
    CONFIRMED = "confirmed"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpingServers:
    """The STUN and TURN servers that work now, as ``host:port``; empty: none. ``username`` and ``password``
    are for the TURN server."""

    stun: str = ""
    turn: str = ""
    username: str = ""
    password: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferVerdict:
    """The decision about an offer of the peer within a call.

    ``status``: 200 to accept it, else the response to send, with ``headers`` that say why.
    """

    status: int = 200
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which account takes an INVITE. ``headers``: tell why, where it is refused."""

    lane: Lane
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a call sits. ``room``: the calls of one room hear each other; ``""`` for none. ``present``:
    the user of this agent hears the call and is heard in it."""

    room: str = ""
    present: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a server says of an identity that we watch. ``open``: it can be reached, None where nobody says.

    ``watch``: told by the server (``active``), not told for now (``pending``, ``detail`` says why), never
    again (``ended``). ``source``: who told, ``host:port``.
    """

    identity: str
    watch: Literal["active", "pending", "ended"]
    open: bool | None = None
    note: str = ""
    detail: str = ""
    source: str = ""


class StackPresence(Protocol):
    """Presence (RFC 3856) by a stack that has it."""

    def watch(self, identity: str, wanted: bool) -> None:
        """Watch *identity*, or no longer."""

    def publish(self, open: bool | None, note: str) -> None:
        """Say of ourselves whether we can be reached, and *note*; None: say nothing any more."""


class StackCall(Protocol):
    """One INVITE session of the stack."""

    @property
    def sip_call_id(self) -> str: ...

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None: ...

    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None: ...

    def end_branch(self, to_tag: str, *, headers: Headers = ()) -> None:
        """End a branch that answered but does not have the call, unless the stack does that itself."""

    def key(self, index: int, keys: SrtpKeys) -> StreamCount | None:
        """Run a stream on *keys*; return its packets so far, None where they are not counted."""

    def unkey(self) -> None: ...

    def counts(self) -> tuple[StreamCount, ...]: ...

    def connect_audio(self) -> None: ...

    def seat(self, seat: Seat) -> None:
        """Have the call hear, and be heard by, those of its room only, as soon as it has keys."""

    def mixes_with(self, other: StackCall) -> bool:
        """True where both calls can be in one room."""

    def reinvite(
        self, *, hold: bool = False, unhold: bool = False, moved: bool = False, restart: bool = False
    ) -> None:
        """Offer again. ``moved``: our address is another one. ``restart``: with new media transports."""

    def update(self) -> None: ...

    def dtmf(self, digits: str) -> None: ...

    def transfer(self, target: str, replacing: StackCall | None = None) -> None: ...


class CallObserver(Protocol):
    """The owner of a call, as the stack tells it. An exception raised by one of its methods ends the call."""

    def on_attached(self, call: StackCall) -> None:
        """An outgoing call exists, and its INVITE is about to be made."""

    def on_local_sdp(self, sdp: str, remote: str) -> str:
        """The stack made an offer (*remote* is empty) or an answer: return what is to be sent instead."""

    def on_remote_offer(self, sdp: str) -> OfferVerdict:
        """The peer makes a new offer (re-INVITE, UPDATE): judge it."""

    def on_stream_created(self, index: int) -> None:
        """A stream exists. Before ``Phase.CONFIRMED`` it has no keys, whatever it had before.

        A stream made again for a permitted offer of the peer keeps its keys.
        """

    def on_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        """A message of a transaction within the call went out or came in, after it took effect."""

    def on_phase(self, phase: Phase, status: int, reason: str) -> None:
        """The call is in another phase. A stack in its own process tells the last two only."""

    def on_dtmf(self, digit: str) -> None: ...

    def on_transfer_requested(self, target: str) -> CallObserver | int:
        """The peer asks (REFER) to call *target*: return the observer of that call, or a status to refuse."""

    def on_transfer_progress(self, status: int, final: bool) -> None: ...

    def on_replacement_asked(self, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        """An INVITE from *source* (``host:port``) wants this call's place (Replaces, RFC 3891).

        Return the observer of the call that gets it, which is answered immediately, or a status to refuse.
        *lane* is that of this call.
        """

    def on_replaced(self) -> None:
        """The new call has taken this one's place; the stack ends this one."""

    def on_failed(self, error: BaseException) -> None:
        """An observer method, or the stack within this call, raised *error*."""


class StackObserver(Protocol):
    """The agent, as the stack tells it of events outside of calls."""

    def on_invite(self, invite: SipMessage, source: str) -> Placement:
        """Judge an INVITE from *source* (``host:port``), before any socket is opened for it."""

    def on_incoming(self, call: StackCall, invite: SipMessage, source: str, lane: Lane) -> CallObserver: ...

    def on_turned_away(self, caller: str, status: int, reason: str) -> None:
        """The stack itself refused an incoming call, because all its slots are taken."""

    def on_message(self, message: SipMessage, source: str) -> None:
        """A MESSAGE (RFC 3428) came from *source*, ``host:port``; the stack has answered it with 200."""

    def on_played(self) -> None:
        """The audio file was played to its end."""

    def on_registration(self, status: int, reason: str, expires_s: int) -> None: ...

    def on_messages_waiting(self, notify: SipMessage, source: str) -> None:
        """A NOTIFY from *source* (``host:port``) tells of messages that wait (RFC 3842)."""

    def on_presence(self, sighting: Sighting) -> None:
        """A server told of an identity that we watch."""

    def on_media_path(self, sip_call_id: str, index: int, path: MediaPath) -> None:
        """ICE chose the way of a stream's media."""

    def on_sound_news(self, news: News) -> None:
        """A sound device came or went, or a level was measured."""

    def on_stack_lost(self, calls: int, detail: str, again_in_s: float) -> None:
        """The stack failed and is started again; each of its *calls* calls is told separately."""
