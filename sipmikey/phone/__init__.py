"""What a phone shows and lets a person do, folded from event documents; no toolkit, no sockets.

The same documents make the same phone, so a log replayed shows what the phone showed when it was live. The
faces (terminal, window) render a ``Phone`` and send commands; none of them computes security.
"""

from sipmikey.phone.calls import Direction, ShownCall, Stage
from sipmikey.phone.facts import Fact, Mood, facts_of, media_fact
from sipmikey.phone.fold import fold, replay
from sipmikey.phone.history import HistoryEntry, Outcome
from sipmikey.phone.people import Contact
from sipmikey.phone.possible import Possible, call_actions, phone_actions
from sipmikey.phone.state import Account, Phone, Question
from sipmikey.phone.text import Text

__all__ = [
    "Account",
    "Contact",
    "Direction",
    "Fact",
    "HistoryEntry",
    "Mood",
    "Outcome",
    "Phone",
    "Possible",
    "Question",
    "ShownCall",
    "Stage",
    "Text",
    "call_actions",
    "facts_of",
    "fold",
    "media_fact",
    "phone_actions",
    "replay",
]
