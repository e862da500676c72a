"""A call in a few plain lines: what changed between two moments of a phone that a person wants to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.phone.advice import advice_for, ended_text
from sipmikey.phone.calls import Direction, Hold, ShownCall, Stage
from sipmikey.phone.conference import conference_facts, legs_of
from sipmikey.phone.facts import Fact, Mood
from sipmikey.phone.state import Account, Phone
from sipmikey.phone.text import Text


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    ``mood``: how loud it is. ``call``: the number of the call it is about, or ``""``. ``asks``: it is a
    question with yes and no.
    """

    text: Text
    mood: Mood = Mood.OPEN
    call: str = ""
    asks: bool = False


def lines(before: Phone, after: Phone) -> Iterator[Line]:
    """Yield what changed from *before* to *after*, in the order in which it is to be read."""
    for name, account in after.accounts.items():
        yield from _account_lines(before.accounts.get(name), account)
    for notice in after.notices[len(before.notices) :] if after.notices != before.notices else ():
        if not notice.call or notice.bad:
            yield Line(notice.text, Mood.BAD if notice.bad else Mood.OPEN, notice.call)
    for key, call in after.calls.items():
        yield from _call_lines(before.calls.get(key), call, after)
    yield from _conference_lines(before, after)
    for question in after.questions:
        if question not in before.questions:
            yield Line(question.text, Mood.BAD, question.call, asks=True)


def _conference_lines(before: Phone, after: Phone) -> Iterator[Line]:
    for account, now in after.conferences.items():
        was = before.conferences.get(account)
        legs = legs_of(after, now)
        if now == was or not legs:
            continue
        media = conference_facts(after, now)[1]
        values: dict[str, str | Text] = {
            "names": ", ".join(after.label(leg.name) for leg in legs), "media": media.word,
            "said": media.sentence,
        }  # fmt: skip
        if was is None or was.legs != now.legs:
            yield Line(Text("Conference of {names}: {media}. {said}", values), media.mood)
        if not now.present and (was is None or was.present):
            yield Line(Text("You are out of the conference; the others go on."))
        elif now.present and was is not None and not was.present:
            yield Line(Text("You are in the conference again."))
    for account, was in before.conferences.items():
        if account not in after.conferences and legs_of(before, was):
            yield Line(Text("The conference is over."))


def duration(seconds: float) -> str:
    """Return a duration as people write it: 2:13, 1:02:13."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _account_lines(before: Account | None, now: Account) -> Iterator[Line]:
    if now.contact and not (before and before.contact == now.contact):
        values: dict[str, str | Text] = {"identity": now.identity, "contact": now.place}
        yield Line(Text("Ready: {identity} at {contact}.", values))
    if now.registered and not (before and before.registered):
        yield Line(Text("{identity} can be called.", {"identity": now.identity or now.name}), Mood.GOOD)
    if before is not None and before.registered and now.registered is False and now.trouble is None:
        yield Line(Text("{identity} cannot be called any more.", {"identity": now.identity or now.name}))
    if now.messages_new > (before.messages_new if before else 0):
        yield Line(_waiting(now.messages_new), Mood.GOOD)
    if now.muted != (before.muted if before else False):
        yield Line(Text("Your microphone is off.") if now.muted else Text("Your microphone is on."))
    if before is not None and now.speaker_db != before.speaker_db:
        yield Line(Text("The speaker is at {db} dB.", {"db": f"{now.speaker_db:+.0f}"}))
    if now.do_not_disturb != (before.do_not_disturb if before else False):
        yield Line(Text("Calls are refused.") if now.do_not_disturb else Text("Calls ring."))


def _waiting(new: int) -> Text:
    if new == 1:
        return Text("A message was left for you.")
    return Text("{count} messages were left for you.", {"count": str(new)})


def _call_lines(before: ShownCall | None, now: ShownCall, phone: Phone) -> Iterator[Line]:
    stage = before.stage if before else None
    name = {"name": phone.label(now.name)}
    number = now.number
    if _calls_by_name(now) and not (before is not None and _calls_by_name(before)):
        yield Line(Text("Calling {name}.", name), Mood.OPEN, number)
    if now.stage is not stage:
        match now.stage:
            case Stage.RINGING:
                yield Line(Text("It rings at {name}.", name), Mood.OPEN, number)
            case Stage.INCOMING:
                yield _rings(now, phone)
    if before is not None and now.live:
        yield from _changes(before, now, phone)
    if now.warning is not None and (before is None or now.warning != before.warning):
        yield Line(now.warning, Mood.BAD, number)
    if now.stage is Stage.ENDED and stage is not Stage.ENDED:
        yield from _end(now, phone)


def _calls_by_name(call: ShownCall) -> bool:
    """True once it is known whom an outgoing call is for: its ticket may be asked for before that."""
    return call.stage is Stage.CALLING and bool(call.party)


def _rings(call: ShownCall, phone: Phone) -> Line:
    peer = call.facts[2]
    if peer.mood is Mood.GOOD:
        values: dict[str, str | Text] = {"name": phone.label(call.name), "vouched": peer.sentence}
        return Line(Text("{name} calls. {vouched}", values), Mood.OPEN, call.number)
    return Line(Text("A call comes in. {who}", {"who": peer.sentence}), Mood.BAD, call.number)


def _changes(before: ShownCall, now: ShownCall, phone: Phone) -> Iterator[Line]:
    name = {"name": phone.label(now.name)}
    if now.stage is Stage.TALKING:
        first = before.stage is not Stage.TALKING
        media, peer = now.facts[1], now.facts[2]
        old = before.facts
        # The packet that proves the keys comes a moment later, or media.failed tells that it did not.
        waiting = first and media.key == "NOT PROVEN YET"
        if not waiting and (first or media.key != old[1].key or peer.key != old[2].key):
            yield _talking(media, peer, name, now.number)
    if now.hold is not before.hold:
        texts = {
            Hold.NONE: Text("{name} is off hold.", name),
            Hold.OURS: Text("{name} is on hold.", name),
            Hold.THEIRS: Text("{name} has put you on hold.", name),
            Hold.BOTH: Text("Both sides are on hold."),
        }
        yield Line(texts[now.hold], Mood.OPEN, now.number)


def _talking(media: Fact, peer: Fact, name: dict[str, str], number: str) -> Line:
    values: dict[str, str | Text] = {
        **name,
        "media": media.word,
        "said": media.sentence,
        "peer": peer.word,
        "who": peer.sentence,
    }
    if media.mood is Mood.GOOD and peer.mood is Mood.GOOD:
        return Line(Text("Talking to {name}: {media}. {who}", values), Mood.GOOD, number)
    if peer.mood is Mood.GOOD:
        return Line(Text("Talking to {name}: {media}. {said}", values), media.mood, number)
    worst = Mood.BAD if Mood.BAD in (media.mood, peer.mood) else Mood.OPEN
    return Line(Text("Talking to {name}: {media}, {peer}. {who}", values), worst, number)


def _end(call: ShownCall, phone: Phone) -> Iterator[Line]:
    why = ended_text(call.reason, call.side, call.detail)
    values: dict[str, str | Text] = {"name": phone.label(call.name), "why": why}
    fine = call.reason in ("hangup", "cancelled", "transferred", "replaced", "answered-elsewhere")
    mood = Mood.OPEN if fine else Mood.BAD
    if call.answered:
        values["time"] = duration(call.ended - call.answered)
        yield Line(Text("The call with {name} ended after {time}. {why}", values), mood, call.number)
    elif call.direction is Direction.IN and not call.declined and fine:
        yield Line(Text("You missed a call of {name}. {why}", values), Mood.BAD, call.number)
    else:
        yield Line(Text("No call with {name}. {why}", values), mood, call.number)
    if not fine and (advice := advice_for(call.reason, call.side)) is not None:
        yield Line(advice, mood, call.number)
