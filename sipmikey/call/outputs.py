"""What a call wants done: by the SIP stack, the KMS, the user, the clock. One frozen class each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sipmikey.call.events import Event, KmsExchange
from sipmikey.call.inviting.consent import Question
from sipmikey.call.keying.lanes import Lane, SrtpKeys

Headers = tuple[tuple[str, str], ...]


class Timer(StrEnum):
    """The timers of a call; each runs at most once at a time.

    ``SETUP``: for an answer. ``LATE``: for the answers of other branches after one that was refused.
    ``LOOK``: the next look at the packet counts. ``PROOF``: for the packet that proves the keys.
    ``REKEY``, ``EXPIRE``: the age of the keys. ``GLARE``: until a change is tried again.
    """

    SETUP = "setup"
    LATE = "late"
    LOOK = "look"
    PROOF = "proof"
    REKEY = "rekey"
    EXPIRE = "expire"
    GLARE = "glare"


@dataclass(frozen=True, slots=True)
class Output:
    """Base of all outputs."""


# For the stack, answered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe(Output):
    """Send this description instead of the stack's."""

    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withhold(Output):
    """There is no description: send nothing that starts media."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Permit(Output):
    """Go on with what the peer asks: its offer, its transfer, its replacement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Output):
    """Refuse what the peer asks with a SIP ``status``; ``headers`` say why."""

    status: int
    headers: Headers = ()


# For the stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite(Output):
    """Send an INVITE: To is ``uri``, and the Request-URI ``via`` when given."""

    uri: str
    via: str | None
    lane: Lane
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Output):
    """Answer the INVITE that came; ``sdp`` replaces the stack's own answer."""

    status: int
    sdp: str | None = None
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndInvite(Output):
    """CANCEL, BYE, or refuse with ``status``: whichever the state of the INVITE calls for.

    ``to_tag``: of the branch that has the call, which gets the BYE; ``""`` where none has. ``sdp``: a
    description that says why, neither an offer nor an answer (RFC 3312 section 8).
    """

    status: int = 0
    to_tag: str = ""
    headers: Headers = ()
    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(Output):
    """Send the ACK of a 2xx of branch ``to_tag`` (RFC 3261 section 13.2.2.4)."""

    to_tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndBranch(Output):
    """Send BYE to branch ``to_tag``, which answered but does not have the call."""

    to_tag: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinvite(Output):
    """Send a re-INVITE: to put the peer on hold, to take it off hold, or to repeat the present description.

    ``moved``: from a new address. ``restart``: with new media transports.
    """

    hold: bool = False
    unhold: bool = False
    moved: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Update(Output):
    """Send an UPDATE with an offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRefer(Output):
    """Send REFER to ``target``, or to the peer of the call that ``token`` stands for."""

    target: str
    token: int
    replacing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Output):
    """Run the stream at m-line ``index`` on these keys; ``StreamKeyed`` says that it does."""

    index: int
    keys: SrtpKeys


@dataclass(frozen=True, slots=True)
class Unkey(Output):
    """Take the keys of all streams away: nothing is sent or played."""


@dataclass(frozen=True, slots=True)
class OpenAudio(Output):
    """Let sound flow between the streams and the user, now or once they are ready."""


@dataclass(frozen=True, slots=True)
class Count(Output):
    """Read the packet counts; ``Counted`` has them."""


# For the program around the call


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimer(Output):
    """Have ``timer`` ring after ``after_s`` seconds; one that runs already starts again."""

    timer: Timer
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTimer(Output):
    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class AskKms(Output):
    """Carry ``message`` to a KMS; ``KmsAnswered`` or ``KmsFailed`` follows."""

    exchange: KmsExchange
    message: bytes
    kms: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskTicket(Output):
    """Get a ticket for the first of ``identities`` that the KMS does not refuse."""

    identities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskUser(Output):
    """Have the user decide; ``Decided`` follows."""

    question: Question


@dataclass(frozen=True, slots=True)
class Rings(Output):
    """The call is judged, its ticket resolved: the user may answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDone(Output):
    """The change of ``Propose`` is over; ``error`` None: the peer agreed."""

    token: int
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferDone(Output):
    """The transfer of ``Refer`` is over; ``status``: the final one of the peer's new call, or its refusal."""

    token: int
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell(Output):
    """Something happened."""

    event: Event
