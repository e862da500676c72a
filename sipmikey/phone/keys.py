"""Keys of a terminal during calls: which call they are for, what they do, and which are of use now."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from sipmikey.phone.calls import Hold, ShownCall, Stage
from sipmikey.phone.conference import conference_of, outside
from sipmikey.phone.possible import Action, call_actions
from sipmikey.phone.state import Phone
from sipmikey.phone.text import Text


@dataclass(frozen=True, slots=True)
class Key:
    """A key: what it does, in a word. ``asks``: what has to be typed after it."""

    key: str
    word: Text
    asks: Text | None = None


KEYS = MappingProxyType(
    {
        Action.ANSWER: Key("a", Text("answer")),
        Action.DECLINE: Key("d", Text("decline")),
        Action.BUSY: Key("b", Text("busy")),
        Action.HANGUP: Key("h", Text("hang up")),
        Action.HOLD: Key("p", Text("hold")),
        Action.RESUME: Key("p", Text("off hold")),
        Action.MUTE: Key("m", Text("mute")),
        Action.UNMUTE: Key("m", Text("unmute")),
        Action.SWAP: Key("s", Text("other call")),
        Action.TRANSFER: Key("t", Text("transfer"), Text("Transfer to whom?")),
        Action.TRANSFER_TO: Key("j", Text("join both and leave")),
        Action.CONFERENCE: Key("g", Text("conference")),
        Action.SPLIT: Key("x", Text("take out")),
        Action.STEP_OUT: Key("o", Text("step out")),
        Action.STEP_IN: Key("o", Text("step in")),
        Action.END_CONFERENCE: Key("e", Text("end conference")),
        Action.REKEY: Key("k", Text("new keys")),
        Action.DIAL: Key("c", Text("call"), Text("Call whom?")),
    }
)
"""What is done -> its key. Digits are sent as they are typed."""

DIGITS = frozenset("0123456789*#")


def current(phone: Phone) -> ShownCall | None:
    """Return the call that keys are for: one that rings, else one that is talked to, else any."""

    def rank(call: ShownCall) -> tuple[bool, bool, bool]:
        conference = conference_of(phone, call)
        held = call.hold in (Hold.OURS, Hold.BOTH) or (conference is not None and not conference.present)
        return call.stage is Stage.INCOMING, call.stage is Stage.TALKING and not held, not held

    return max(phone.live, key=rank, default=None)


def other(phone: Phone, call: ShownCall) -> ShownCall | None:
    """Return another call of the same account that is answered, one outside of its conference first."""
    if (found := outside(phone, call)) is not None:
        return found
    for one in phone.live:
        if one.key != call.key and one.account == call.account and one.stage is Stage.TALKING:
            return one
    return None


def action_of(phone: Phone, key: str) -> Action | None:
    """Return what *key* does now, None when it does nothing."""
    call = current(phone)
    for action in () if call is None else _useful(phone, call):
        if KEYS[action].key == key:
            return action
    return Action.DIAL if key == KEYS[Action.DIAL].key else None


def _useful(phone: Phone, call: ShownCall) -> list[Action]:
    """Return what may be done with *call* and has a key; a call that rings is declined, not hung up."""
    rings = call.stage is Stage.INCOMING
    return [
        action
        for action, possible in call_actions(phone, call).items()
        if possible.may and action in KEYS and not (rings and action is Action.HANGUP)
    ]


def legend(phone: Phone, *, dials: bool = True) -> tuple[tuple[str, Text], ...]:
    """Return the keys that are of use now, each with its word."""
    call = current(phone)
    shown: dict[str, Text] = {}
    if call is not None:
        for action in _useful(phone, call):
            shown.setdefault(KEYS[action].key, KEYS[action].word)
        if call.stage is Stage.TALKING:
            shown["0-9*#"] = Text("digits")
    if dials:
        shown.setdefault(KEYS[Action.DIAL].key, KEYS[Action.DIAL].word)
    shown["q"] = Text("quit")
    return tuple(shown.items())
