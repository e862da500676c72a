"""The list of calls: each with its facts as they were."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sipmikey.phone.calls import Direction, ShownCall
from sipmikey.phone.documents import Document, number, text
from sipmikey.phone.facts import Mood
from sipmikey.phone.text import Text


class Outcome(StrEnum):
    """What became of a call."""

    ANSWERED = "answered"
    MISSED = "missed"
    DECLINED = "declined"
    ELSEWHERE = "elsewhere"
    UNANSWERED = "unanswered"
    FAILED = "failed"


OUTCOMES = {
    Outcome.ANSWERED: Text("answered"),
    Outcome.MISSED: Text("missed"),
    Outcome.DECLINED: Text("declined"),
    Outcome.ELSEWHERE: Text("answered elsewhere"),
    Outcome.UNANSWERED: Text("no answer"),
    Outcome.FAILED: Text("failed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A call that is over.

    ``party``: whom was dialled, or who the call claimed to come from. ``peer``, ``kms``: who vouched for
    whom, empty when nobody did. ``signalling``, ``media``, ``who``: the English words of the three facts.
    ``at``: when it began, Unix seconds; ``duration_s``: of the talk.
    """

    account: str
    number: str
    at: float
    direction: Direction
    outcome: Outcome
    party: str
    peer: str = ""
    kms: str = ""
    ticket: str = ""
    signalling: str = ""
    media: str = ""
    who: str = ""
    proven: bool = False
    duration_s: float = 0.0
    reason: str = ""
    side: str = ""
    detail: str = ""

    @property
    def missed(self) -> bool:
        """True when a call came and was not taken."""
        return self.outcome is Outcome.MISSED


def _outcome(call: ShownCall) -> Outcome:
    if call.answered:
        return Outcome.ANSWERED
    if call.direction is Direction.IN:
        if call.reason == "answered-elsewhere":
            return Outcome.ELSEWHERE
        if call.declined:
            return Outcome.DECLINED
        # What was refused without asking anybody, as in "do not disturb", is missed.
        missed = ("cancelled", "no-answer", "hangup", "busy", "declined")
        return Outcome.MISSED if call.reason in missed else Outcome.FAILED
    if call.reason in ("no-answer", "cancelled", "busy", "declined", "setup-timeout"):
        return Outcome.UNANSWERED
    return Outcome.FAILED


def entry_of(call: ShownCall) -> HistoryEntry:
    """Return what stays of *call*, which has just ended."""
    signalling, media, who = call.facts
    return HistoryEntry(
        account=call.account,
        number=call.number,
        at=call.began,
        direction=call.direction,
        outcome=_outcome(call),
        party=call.party,
        peer=call.vouched,
        kms=text(call.security, "kms") if call.vouched else "",
        ticket=text(call.security, "ticket"),
        signalling=signalling.key.partition(" ")[0],
        media=media.key,
        who=who.key,
        proven=bool(call.answered) and media.key == "PROVEN" and who.key == "VOUCHED FOR",
        duration_s=max(0.0, call.ended - call.answered) if call.answered else 0.0,
        reason=call.reason,
        side=call.side,
        detail=call.detail,
    )


def entry_from(document: Document) -> HistoryEntry | None:
    """Return the entry that a ``history.entry`` document holds, None when it holds none."""
    direction, outcome = text(document, "direction"), text(document, "outcome")
    if direction not in tuple(Direction) or outcome not in tuple(Outcome):
        return None
    names = (
        "account", "number", "party", "peer", "kms", "ticket", "signalling", "media", "who", "reason", "side",
        "detail",
    )  # fmt: skip
    return HistoryEntry(
        at=number(document, "at"),
        direction=Direction(direction),
        outcome=Outcome(outcome),
        duration_s=number(document, "duration_s"),
        # Only a stored call whose words say so, too, was proven.
        proven=document.get("proven") is True
        and text(document, "media") == "PROVEN"
        and text(document, "who") == "VOUCHED FOR",
        **{name: text(document, name) for name in names},
    )


def mood_of(entry: HistoryEntry) -> Mood:
    """Return how an entry is shown: a past call is never good, but one in clear stays loud."""
    return Mood.BAD if entry.media in ("IN CLEAR", "NOT END TO END") else Mood.PAST
