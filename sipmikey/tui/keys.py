"""The keys of the phone in a terminal: what each does, and its word in the footer."""

from __future__ import annotations

from dataclasses import replace

from textual.binding import Binding

from sipmikey.phone import Text
from sipmikey.phone.possible import Action
from sipmikey.phone.text import Translate

BINDINGS = (
    Binding("f2", "dial", "Dial"),
    Binding("f4", "answer", "Answer"),
    Binding("f5", "leave", "Hang up"),
    Binding("f6", "hold", "Hold"),
    Binding("f7", "mute", "Mute"),
    Binding("f8", "swap", "Other call"),
    Binding("f9", "transfer", "Transfer"),
    Binding("f10", "rekey", "New keys"),
    Binding("f3", "details", "Details"),
    Binding("ctrl+g", "conference", "Conference"),
    Binding("ctrl+t", "split", "Take out"),
    Binding("ctrl+o", "step", "Step out, in"),
    Binding("ctrl+l", "end_conference", "End conference"),
    Binding("ctrl+b", "busy", "Busy", show=False),
    Binding("ctrl+j", "join", "Join", show=False),
    Binding("ctrl+n", "do_not_disturb", "Do not disturb"),
    Binding("ctrl+s", "save_contact", "Save contact", show=False),
    Binding("ctrl+up", "louder(1)", "Louder", show=False),
    Binding("ctrl+down", "louder(-1)", "Softer", show=False),
    Binding("ctrl+q", "quit", "Quit"),
)
"""Each key, its action, and its word in the footer."""

ACTIONS = {
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
"""Action of a key -> what it does with a call."""

KEY_WORDS = {
    "dial": Text("Dial"),
    "answer": Text("Answer"),
    "leave": Text("Hang up"),
    "hold": Text("Hold"),
    "mute": Text("Mute"),
    "swap": Text("Other call"),
    "conference": Text("Conference"),
    "split": Text("Take out"),
    "step": Text("Step out, in"),
    "end_conference": Text("End conference"),
    "transfer": Text("Transfer"),
    "rekey": Text("New keys"),
    "details": Text("Details"),
    "do_not_disturb": Text("Do not disturb"),
    "quit": Text("Quit"),
}
"""Action of a key -> its word in the footer."""


def translated(binding: Binding, tr: Translate) -> Binding:
    """Return *binding* with its word in the language of the user."""
    word = KEY_WORDS.get(binding.action)
    return binding if word is None else replace(binding, description=word.render(tr))
