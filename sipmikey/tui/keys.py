"""The keys of the phone in a terminal, their words, and what they do with a call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

from textual.binding import Binding

from sipmikey.phone import Text
from sipmikey.phone.possible import Action
from sipmikey.phone.text import Translate


@dataclass(frozen=True, slots=True)
class Key:
    """A key: the action of the screen that it stands for, and its word; ``shown``: in the last line."""

    key: str
    action: str
    word: Text
    shown: bool = True


KEYS = (
    Key("f2", "dial", Text("Dial")),
    Key("f4", "act('answer')", Text("Answer")),
    Key("f5", "leave", Text("Decline, hang up")),
    Key("f6", "hold", Text("Hold")),
    Key("f7", "mute", Text("Mute")),
    Key("f8", "act('swap')", Text("Other call")),
    Key("f9", "transfer", Text("Transfer")),
    Key("f10", "act('rekey')", Text("New keys")),
    Key("f3", "details", Text("Details")),
    Key("ctrl+g", "act('conference')", Text("Conference")),
    Key("ctrl+t", "act('split')", Text("Take out")),
    Key("ctrl+o", "step", Text("Step out, in")),
    Key("ctrl+l", "act('end_conference')", Text("End conference")),
    Key("ctrl+b", "act('busy')", Text("Busy"), shown=False),
    Key("ctrl+j", "act('join')", Text("Join"), shown=False),
    Key("ctrl+r", "leave_message", Text("Leave a message")),
    Key("ctrl+y", "next_account", Text("Account")),
    Key("ctrl+p", "devices", Text("Sound devices")),
    Key("f12", "report", Text("Report")),
    Key("ctrl+n", "do_not_disturb", Text("Do not disturb")),
    Key("ctrl+s", "save_contact", Text("Save contact"), shown=False),
    Key("ctrl+up", "louder(1)", Text("Louder"), shown=False),
    Key("ctrl+down", "louder(-1)", Text("Softer"), shown=False),
    Key("ctrl+q", "quit", Text("Quit")),
)

ACTIONS = MappingProxyType(
    {
        "answer": (Action.ANSWER,),
        "busy": (Action.BUSY,),
        "leave": (Action.HANGUP, Action.DECLINE),
        "hold": (Action.HOLD, Action.RESUME),
        "mute": (Action.MUTE, Action.UNMUTE),
        "swap": (Action.SWAP,),
        "join": (Action.TRANSFER_TO,),
        "conference": (Action.CONFERENCE,),
        "split": (Action.SPLIT,),
        "step": (Action.STEP_OUT, Action.STEP_IN),
        "end_conference": (Action.END_CONFERENCE,),
        "transfer": (Action.TRANSFER,),
        "rekey": (Action.REKEY,),
    }
)
"""Action of a key -> what it does with a call."""


def bindings(tr: Translate) -> Iterator[Binding]:
    """Yield what Textual binds to each key, with its word in the language of *tr*."""
    for key in KEYS:
        yield Binding(key.key, key.action, key.word.render(tr), show=key.shown)
