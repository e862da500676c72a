"""A conference as it is shown: whose calls are in it, and how it is protected: as its weakest call is."""

from __future__ import annotations

from sipmikey.phone.calls import Hold, ShownCall, Stage
from sipmikey.phone.facts import Fact, Mood
from sipmikey.phone.state import Conference, Phone
from sipmikey.phone.text import Text, Translate

_LOUDEST = (Mood.BAD, Mood.OPEN, Mood.GOOD, Mood.PAST)
_WORST_WORDS = ("IN CLEAR", "NOT END TO END")

_ALL = Text("In each of the {count} calls: {said}")
_PROVEN = Text("Each of the {count} calls is encrypted up to this phone, which mixes them.")
_VOUCHED = Text("A KMS vouches for each of the {count} others.")
_WEAKEST = Text("{name}, of {count} in the conference: {said}")
_MIXED = Text("This phone mixes: each call is protected up to here, and who is in one hears all the others.")
_AWAY = Text("You are out of it: the others go on, and you neither hear nor are heard.")
_HELD = Text("on hold")
_TITLE = Text("Conference of {count}: {names}")


def conference_of(phone: Phone, call: ShownCall) -> Conference | None:
    """Return the conference that *call* is in, or None."""
    found = phone.conferences.get(call.account)
    return found if found is not None and call.live and call.number in found.legs else None


def legs_of(phone: Phone, conference: Conference) -> tuple[ShownCall, ...]:
    """Return the calls in it, in the order in which they came."""
    calls = (phone.calls.get((conference.account, number)) for number in conference.legs)
    return tuple(call for call in calls if call is not None and call.live)


def conference_facts(phone: Phone, conference: Conference) -> tuple[Fact, Fact, Fact]:
    """Return signalling, media and peer of a conference: of each the worst of its calls, and whose it is."""
    legs = legs_of(phone, conference)
    signalling, media, peer = (_worst(phone, legs, place) for place in range(3))
    return signalling, media, peer


def _worst(phone: Phone, legs: tuple[ShownCall, ...], place: int) -> Fact:
    def loudness(leg: ShownCall) -> tuple[int, int]:
        fact = leg.facts[place]
        word = _WORST_WORDS.index(fact.key) if fact.key in _WORST_WORDS else len(_WORST_WORDS)
        return _LOUDEST.index(fact.mood), word

    worst = min(legs, key=loudness)
    fact = worst.facts[place]
    alike = all(leg.facts[place].key == fact.key for leg in legs)
    values: dict[str, str | Text] = {
        "name": phone.label(worst.name), "count": str(len(legs)), "said": fact.sentence,
    }  # fmt: skip
    sentence = _WEAKEST
    if alike:
        # What one call says of itself would say too much of several, or name one of them only.
        sentence = {"PROVEN": _PROVEN, "VOUCHED FOR": _VOUCHED}.get(fact.key, _ALL if place < 2 else _WEAKEST)
    return Fact(fact.name, fact.word, Text(sentence.message, values), fact.mood)


def shown_facts(phone: Phone, call: ShownCall) -> tuple[Fact, Fact, Fact]:
    """Return the facts to show beside *call*: those of its conference where it is in one."""
    conference = conference_of(phone, call)
    return call.facts if conference is None else conference_facts(phone, conference)


def conference_note(phone: Phone, call: ShownCall) -> Text | None:
    """Return what has to be said of the conference that *call* is in; None where it is in none."""
    conference = conference_of(phone, call)
    if conference is None:
        return None
    return _MIXED if conference.present else _AWAY


def conference_title(phone: Phone, conference: Conference, tr: Translate) -> str:
    """Return who is in it; who is on hold is marked as that."""
    legs = legs_of(phone, conference)
    names = ", ".join(
        phone.label(leg.name) + ("" if leg.hold is Hold.NONE else f" ({_HELD.render(tr)})") for leg in legs
    )
    return Text(_TITLE.message, {"count": str(len(legs)), "names": names}).render(tr)


def outside(phone: Phone, call: ShownCall) -> ShownCall | None:
    """Return another answered call of the same account that is not in one conference with *call*."""
    conference = conference_of(phone, call)
    together = () if conference is None else conference.legs
    for one in phone.live:
        elsewhere = one.account == call.account and one.number not in (call.number, *together)
        if elsewhere and one.stage is Stage.TALKING:
            return one
    return None
