"""What a call is told: by the SIP stack, the KMS, the user, a timer. One frozen class each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sipmikey.call.outputs import Output, Timer
from sipmikey.call.stream_count import StreamCount as StreamCount
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.request import TicketGrant


class Kind(StrEnum):
    """What one side asks of the other within a call.

    ``REFRESH`` offers the present streams again, with the codecs now preferred; no key changes. ``MOVE``
    tells the peer our new address; no key changes. ``RESTART`` does so with transports and ICE of its own,
    and with new keys: the stack would start the present keys again from packet index 0.
    """

    HOLD = "hold"
    RESUME = "resume"
    REFRESH = "refresh"
    REKEY = "rekey"
    MOVE = "move"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A contact of a redirection. ``q``: preference from 0 to 1."""

    uri: str
    q: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a call has to know of a SIP message. ``status`` 0: a request. ``method``: that of the CSeq.

    ``sdp``: the description, None when there is none. ``warning``, ``reason``: the texts of those header
    fields; ``cause``: that of Reason, 0 for none. ``phrase``: status and reason phrase of a response.
    ``contacts``: of a redirection; ``malformed``: why they cannot be read, ``""`` when they can.
    ``call_id``: of the Call-ID header field. ``reliable``: a provisional response that gets a PRACK.
    """

    method: str
    status: int = 0
    to_tag: str = ""
    sdp: str | None = None
    transport: str = "udp"
    warning: str | None = None
    reason: str | None = None
    cause: int = 0
    phrase: str = ""
    contacts: tuple[Contact, ...] = ()
    malformed: str = ""
    call_id: str = ""
    reliable: bool = False


@dataclass(frozen=True, slots=True)
class Input:
    """Base of all inputs."""


# Of the user, or the program around the call


@dataclass(frozen=True, slots=True)
class Start(Input):
    """Send the INVITE (caller), or judge the one that came (callee). ``by_stack``: the stack sends the INVITE
    itself, because of a REFER."""

    by_stack: bool = False


@dataclass(frozen=True, slots=True)
class Hangup(Input):
    """The user wants the call to end."""


@dataclass(frozen=True, slots=True)
class Ring(Input):
    """Send 180."""


@dataclass(frozen=True, slots=True)
class Accept(Input):
    """The user takes the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Input):
    """The user refuses the call with a SIP ``status``, 300 to 699. Raises ``LocalError`` for another."""

    status: int

    def __post_init__(self) -> None:
        if not 300 <= self.status <= 699:
            raise LocalError(f"status: a call is refused with 300 to 699, not {self.status}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose(Input):
    """Ask the peer for a change; ``ChangeDone`` with ``token`` tells how it went. ``update``: by UPDATE.

    Where another is under way this one waits until that is over; a third is refused.
    """

    kind: Kind
    token: int
    update: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Input):
    """The user answered ``AskUser``. ``refusal``: why not, ``""`` for consent."""

    refusal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refer(Input):
    """Have the peer call ``target``; ``ReferDone`` with ``token`` tells the status of that call.

    While another is under way it does so at once, with status 491.

    ``replacing``: in the place of another call of ours, which the program finds by the token.
    """

    target: str
    token: int
    replacing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAway(Input):
    """The peer is being transferred away by another call of ours, or no longer is."""

    given: bool


@dataclass(frozen=True, slots=True)
class Leave(Input):
    """The peer talks to another party now: end the call."""


# Of the SIP stack


@dataclass(frozen=True, slots=True)
class Attached(Input):
    """The stack has an INVITE session for this call; an INVITE is about to be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDescription(Input):
    """The stack made a description: an offer where ``remote`` is empty, else the answer to that.

    Answered at once with ``Describe`` or ``Withhold``.
    """

    sdp: str
    remote: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOffer(Input):
    """The peer offers within the call (re-INVITE, UPDATE). Answered at once with ``Permit`` or ``Refuse``.

    ``to_tag``: of the branch that offers, which the From of its request has; needed where we called and no
    branch has answered with 2xx.
    """

    sdp: str
    to_tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCreated(Input):
    """A stream exists. Before ``Confirmed`` it has no keys, whatever it had before.

    A stream made again between the answer to an offer of the peer (``Describe``) and its 200 keeps its keys.
    """

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKeyed(Input):
    """``Key`` was carried out. ``before``: the counts of the stream just before, None when it had none."""

    index: int
    before: StreamCount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Input):
    """A message of a transaction within the call went out."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Input):
    """A message of a transaction within the call came in, and took effect."""

    message: Message


@dataclass(frozen=True, slots=True)
class Confirmed(Input):
    """The INVITE transaction succeeded: 2xx and ACK are exchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(Input):
    """The INVITE session is over. ``status``, ``reason``: what the stack says; ``counts``: the last ones."""

    status: int
    reason: str = ""
    counts: tuple[StreamCount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Input):
    """The stack failed within this call."""

    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent(Input):
    """An output could not be carried out."""

    output: Output
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfHeard(Input):
    """The peer sent a digit."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAsked(Input):
    """The peer asks (REFER) that we call ``target``. Answered at once with ``Permit`` or ``Refuse``."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress(Input):
    """The peer reports how its new call goes."""

    status: int
    final: bool


@dataclass(frozen=True, slots=True)
class ReplacementAsked(Input):
    """An INVITE wants this call's place (Replaces). Answered at once with ``Permit`` or ``Refuse``."""


@dataclass(frozen=True, slots=True)
class Replaced(Input):
    """Another call has this one's place; the stack ends this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Input):
    """The answer to ``Count``."""

    counts: tuple[StreamCount, ...] = field(default=())


# Of the KMS


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsAnswered(Input):
    """The answer to ``AskKms``, and the milliseconds it took."""

    response: bytes
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsFailed(Input):
    """``AskKms`` has no answer."""

    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketGranted(Input):
    """The answer to ``AskTicket``: a ticket for ``called``, one of the identities asked for."""

    called: str
    grant: TicketGrant


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRefused(Input):
    """``AskTicket`` has no ticket."""

    error: BaseException


# Of time


@dataclass(frozen=True, slots=True, kw_only=True)
class Rang(Input):
    """A timer that was started is due."""

    timer: Timer
