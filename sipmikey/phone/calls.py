"""One call as it is shown, and how each event document changes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from sipmikey.phone.documents import Document, flag, inner, number, text
from sipmikey.phone.facts import Fact, Mood, facts_of
from sipmikey.phone.text import Text, clean

MAX_EVENTS = 400
"""Documents of one call that are kept for its ladder; the first are kept."""

_LONGEST_NAME = 40
_NOT_IN_NAMES = str.maketrans({'"': "'", "<": "(", ">": ")", "&": "+"})
"""Our own quotes, and what desktops take for markup in a notification."""

CallKey = tuple[str, str]
"""The account's name, and the number of the call there."""


class Direction(StrEnum):
    """The direction of a call: which side called."""

    OUT = "out"
    IN = "in"


class Stage(StrEnum):
    """How far a call is.

    ``CALLING``: no sign of the other side. ``RINGING``: it rings there. ``CHECKING``: it came in and the
    KMS is asked who calls. ``INCOMING``: it rings here and may be answered. ``ANSWERING``: the user took it.
    """

    CALLING = "calling"
    RINGING = "ringing"
    CHECKING = "checking"
    INCOMING = "incoming"
    ANSWERING = "answering"
    TALKING = "talking"
    ENDED = "ended"


class Hold(StrEnum):
    """Which side is on hold. ``OURS``: we put the other side on hold. ``THEIRS``: it put us. ``BOTH``."""

    NONE = "talking"
    OURS = "holding"
    THEIRS = "held"
    BOTH = "silent"


_EMPTY: Document = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """A call as a face renders it.

    ``party``: whom the user dialled, or who the call claims to come from. ``says``: what the caller calls
    itself, in one short printable line; it names nobody. ``began``, ``answered``, ``ended``:
    Unix seconds, 0.0 before that. ``security``: the last facts as the agent said them. ``trouble``: what came
    after them (see ``media_fact``). ``path``: how the media travels, where the agent said.
    """

    account: str
    number: str
    direction: Direction
    party: str = ""
    called: str = ""
    says: str = ""
    stage: Stage = Stage.CALLING
    hold: Hold = Hold.NONE
    security: Document = field(default_factory=lambda: _EMPTY)
    trouble: str = ""
    began: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    reason: str = ""
    side: str = ""
    status: int = 0
    detail: str = ""
    declined: bool = False
    conference: bool = False
    path: str = ""
    warning: Text | None = None
    events: tuple[Document, ...] = field(default=(), repr=False)

    @property
    def key(self) -> CallKey:
        """What names the call among those of all accounts."""
        return self.account, self.number

    @property
    def live(self) -> bool:
        """True until the call is over."""
        return self.stage is not Stage.ENDED

    @property
    def vouched(self) -> str:
        """The identity a KMS vouches for, ``""`` while none does."""
        return text(self.security, "peer") if text(self.security, "kms") else ""

    @property
    def name(self) -> str:
        """Whom to show as the other side: the vouched identity, else what was dialled or is claimed."""
        return self.vouched or self.party or "?"

    @property
    def facts(self) -> tuple[Fact, Fact, Fact]:
        """Signalling, media and peer, as they are now; of an ended call as they were."""
        incoming = self.direction is Direction.IN
        now = facts_of(
            self.security,
            trouble=self.trouble,
            claimed=self.party if incoming else "",
            dialled="" if incoming else self.party,
            waiting=self.stage in (Stage.CALLING, Stage.RINGING, Stage.CHECKING),
            says=self.says,
        )
        return now if self.live else (now[0].past(), now[1].past(), now[2].past())

    @property
    def protected(self) -> bool:
        """True when the media is proven now and a KMS vouches for the other side: then only."""
        _, media, peer = self.facts
        return self.stage is Stage.TALKING and media.mood is Mood.GOOD and peer.mood is Mood.GOOD


def follow(call: ShownCall, document: Document, at: float) -> ShownCall:
    """Return *call* after *document*, an event of it that happened *at* (Unix seconds)."""
    if len(call.events) < MAX_EVENTS:
        call = replace(call, events=(*call.events, document))
    if not call.live:
        return call
    security = inner(document, "security")
    if security is not None:
        # The agent says all facts again, so what came after the last ones is told by these.
        call = replace(call, security=dict(security), trouble="")
    return _changed(call, document, at)


def _changed(call: ShownCall, document: Document, at: float) -> ShownCall:
    match text(document, "type"):
        case "call.out":
            return replace(call, party=call.party or text(document, "uri"))
        case "call.in":
            return replace(
                call, direction=Direction.IN, party=text(document, "caller"), called=text(document, "called"),
                says=_chosen_name(text(document, "display_name")), stage=Stage.CHECKING,
            )  # fmt: skip
        case "call.rings":
            return replace(call, stage=Stage.INCOMING) if call.stage is Stage.CHECKING else call
        case "call.ringing":
            return replace(call, stage=Stage.RINGING) if call.stage is Stage.CALLING else call
        case "call.answering":
            return replace(call, stage=Stage.ANSWERING) if call.stage is Stage.INCOMING else call
        case "call.declining":
            return replace(call, declined=text(document, "by") == "user")
        case "call.answered":
            return replace(call, stage=Stage.TALKING, answered=call.answered or at)
        case "call.state":
            return _state(call, text(document, "state"))
        case "call.conference":
            return replace(call, conference=flag(document, "joined"))
        case "media.failed":
            return replace(call, trouble="failed")
        case "media.expired":
            return replace(call, trouble="expired")
        case "media.stalled" | "media.silent":
            return replace(call, trouble=call.trouble or "stalled")
        case "media.resumed":
            # The agent says it when packets verify again, also after ``media.failed``.
            return replace(call, trouble="" if call.trouble in ("stalled", "failed") else call.trouble)
        case "media.rekeyed":
            return replace(call, trouble="" if call.trouble == "expired" else call.trouble)
        case "media.path":
            return replace(call, path=text(document, "way"))
        case "call.end":
            return ended(
                call, at, reason=text(document, "reason"), side=text(document, "side"),
                detail=text(document, "detail"), status=int(number(document, "status")),
            )  # fmt: skip
    return call


def _chosen_name(name: str) -> str:
    """Return the name that a caller gave itself, so that it cannot pass for anything that we say."""
    shown = " ".join(clean(name).translate(_NOT_IN_NAMES).split())
    return f"{shown[:_LONGEST_NAME]}…" if len(shown) > _LONGEST_NAME else shown


def _state(call: ShownCall, word: str) -> ShownCall:
    # "held" says two things: that there are no keys, and that the other side does not listen.
    if word in tuple(Hold) and text(call.security, "media") != "held":
        return replace(call, hold=Hold(word))
    return call


def ended(
    call: ShownCall, at: float, *, reason: str, side: str, detail: str = "", status: int = 0
) -> ShownCall:
    """Return *call* as it is when it is over."""
    return replace(
        call, stage=Stage.ENDED, ended=at, reason=reason, side=side, detail=detail, status=status,
        hold=Hold.NONE, conference=False,
    )  # fmt: skip
