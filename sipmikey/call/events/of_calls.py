"""Events of registration, the KMS, calls, policy and the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sipmikey.call.events.event import Event, Security, TicketFacts
from sipmikey.call.reasons import Reason, Side


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

    ``display_name``: what the caller calls itself, which proves nothing.
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
class PolicyRefused(Event):
    """This agent's policy refused something: an offer in clear, an identity, a call too many."""

    type: ClassVar[str] = "policy.refused"
    reason: Reason
    side: Side
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyQuestion(Event):
    """The user is asked whether to talk to *peer* instead of *called*; ``wait_s``: for how long.

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
    keying: str
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
class CallConference(Event):
    """The call ``joined`` a conference of this agent, or left it: it hears and is heard by the others."""

    type: ClassVar[str] = "call.conference"
    conference: str
    joined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceChanged(Event):
    """A conference of this agent has changed; without ``legs`` it is over.

    ``legs``: numbers of its calls. ``present``: whether the user of this agent speaks and hears in it.
    ``weakest``: the leg that is protected least, and ``security`` its facts, which are those of the
    conference; None without legs.
    """

    type: ClassVar[str] = "conference.changed"
    conference: str
    legs: tuple[str, ...]
    present: bool
    weakest: str
    security: Security | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChanged(Event):
    """This machine reaches the network from another address (``address``), or slept (``waking``).

    ``before`` and ``now``: the addresses. The agent registers again and moves its calls to the new address.
    """

    type: ClassVar[str] = "network.changed"
    cause: str
    before: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMoved(Event):
    """The peer was told our new address, or new transports after ``media.stalled``, and agreed (``moved``).

    ``detail``: why not. ``cause``: that of ``network.changed``, or ``stalled``.
    """

    type: ClassVar[str] = "call.moved"
    moved: bool
    detail: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFailed(Event):
    """The process of the SIP stack died, and ``calls`` calls with it; each of them ends with ``call.end``.

    ``again_in_s``: seconds until it is started again; 0 for immediately, more when it keeps dying.
    """

    type: ClassVar[str] = "stack.failed"
    calls: int
    detail: str
    again_in_s: float
    reason: Reason = Reason.STACK_FAILED
    side: Side = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChanged(Event):
    """A server told whether ``identity`` can be reached (RFC 3856): ``state`` is open, closed or unknown.

    ``note``: in words of that party. ``watch``: ``active``, ``pending`` (nothing is told for now; ``detail``
    says why) or ``ended``. ``source``: who sent it, ``host:port``. SIP does not protect it end to end: it is
    a hint.
    """

    type: ClassVar[str] = "presence.changed"
    identity: str
    state: str
    note: str
    watch: str
    detail: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesWaiting(Event):
    """A server keeps messages for us (RFC 3842): ``new`` were not heard, ``old`` were.

    ``box``: whose messages, as told. ``source``: who sent it, ``host:port``. SIP does not protect it end to
    end: it is a hint to look into the box.
    """

    type: ClassVar[str] = "message.waiting"
    box: str
    waiting: bool
    new: int
    old: int
    source: str
