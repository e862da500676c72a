"""The three facts of a call: signalling, media, peer. Each has a word, a sentence, a shape and a mood.

There is no padlock: no single sign says that all three are good. Only one state of each fact is good; what is
unknown, missing or new counts as not good, and what is in clear is as loud as what is proven.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from sipmikey.call.keying.known import kind_named
from sipmikey.phone.documents import Document, text
from sipmikey.phone.text import Text
from sipmikey.ticket.identity import same_identity


class Name(StrEnum):
    """Which of the three facts."""

    SIGNALLING = "signalling"
    MEDIA = "media"
    PEER = "peer"


class Mood(StrEnum):
    """How a fact is to be taken.

    ``GOOD``: proven. ``OPEN``: not decided yet, or known to be limited. ``BAD``: in clear, refused, unknown.
    ``PAST``: how it was in a call that is over.
    """

    GOOD = "good"
    OPEN = "open"
    BAD = "bad"
    PAST = "past"


SHAPES = MappingProxyType({Mood.GOOD: "●", Mood.OPEN: "◐", Mood.BAD: "▲", Mood.PAST: "○"})
"""Mood -> a shape that tells it without colour."""

LABELS = MappingProxyType(
    {Name.SIGNALLING: Text("Signalling"), Name.MEDIA: Text("Sound"), Name.PEER: Text("Who")}
)
"""What each fact is called on the screen."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: ``word`` in capitals for a glance, ``sentence`` for who reads on."""

    name: Name
    word: Text
    sentence: Text
    mood: Mood

    @property
    def label(self) -> Text:
        """What the fact is called."""
        return LABELS[self.name]

    @property
    def shape(self) -> str:
        """A shape that tells the mood without colour."""
        return SHAPES[self.mood]

    @property
    def key(self) -> str:
        """The English word, which names the state in stores, tests and screen readers' texts."""
        return self.word.message

    def past(self) -> Fact:
        """Return the fact of a call that is over: the same words, and no longer good or bad."""
        return Fact(self.name, self.word, self.sentence, Mood.PAST)


def signalling_fact(security: Document) -> Fact:
    """Return what is known of the SIP messages on our hop."""
    transport = text(security, "signalling")
    if transport == "tls":
        sentence = Text("SIP goes encrypted to your server. The servers on the way can read who calls whom.")
        return Fact(Name.SIGNALLING, Text("TLS"), sentence, Mood.GOOD)
    if transport in ("udp", "tcp"):
        sentence = Text("SIP goes in clear over {transport}: others on the way can read who calls whom.")
        over = {"transport": transport.upper()}
        word = Text("READABLE ({transport})", over)
        return Fact(Name.SIGNALLING, word, Text(sentence.message, over), Mood.OPEN)
    return Fact(Name.SIGNALLING, Text("UNKNOWN"), Text("It is not known how SIP travels."), Mood.BAD)


_NOT_SENT = Text("The call has only begun.")
_IN_CLEAR = Text("Nothing protects the sound: others on the way can listen.")
_HELD = Text("There are no keys yet. Nothing is sent and nothing is played.")
_FAILED = Text("What arrives does not decrypt with the keys of this call. It is not played.")
_EXPIRED = Text("The keys have reached the end of their life. Ask for new keys.")
_STALLED = Text("It was proven, but nothing has arrived for a while. The other side may be gone.")
_PROVEN = Text("Encrypted from end to end ({suite}): what arrives decrypts with the keys of this call.")
_UNKNOWN = Text("It is not known whether the sound is protected.")
_KEYED = Text("Keys are in place ({suite}), but nothing of the other side has been decrypted with them yet.")


def media_fact(security: Document, trouble: str = "") -> Fact:
    """Return what is known of the sound.

    *trouble*: ``""``, or what came after the facts in *security*: ``failed``, ``expired``, ``stalled``.
    It is good only when the agent said ``proven``, under keys that only the parties have, and no trouble came
    since.
    """
    media, keying, suite = text(security, "media"), text(security, "keying"), text(security, "suite")
    with_suite = {"suite": suite or "?"}
    if media == "off":
        return Fact(Name.MEDIA, Text("IN CLEAR"), _IN_CLEAR, Mood.BAD)
    if trouble == "failed":
        return Fact(Name.MEDIA, Text("FAILING"), _FAILED, Mood.BAD)
    if trouble == "expired":
        return Fact(Name.MEDIA, Text("KEYS EXPIRED"), _EXPIRED, Mood.BAD)
    if media == "held":
        return Fact(Name.MEDIA, Text("WAITING FOR KEYS"), _HELD, Mood.OPEN)
    kind = kind_named(keying)
    if media in ("keyed", "proven") and kind is not None and not kind.end_to_end:
        return Fact(Name.MEDIA, Text("NOT END TO END"), Text(kind.words.warning), Mood.BAD)
    if media == "proven" and kind is not None:
        if trouble:
            return Fact(Name.MEDIA, Text("SILENT"), _STALLED, Mood.OPEN)
        return Fact(Name.MEDIA, Text("PROVEN"), Text(_PROVEN.message, with_suite), Mood.GOOD)
    if media in ("keyed", "proven"):
        return Fact(Name.MEDIA, Text("NOT PROVEN YET"), Text(_KEYED.message, with_suite), Mood.OPEN)
    return Fact(Name.MEDIA, Text("UNKNOWN"), _UNKNOWN, Mood.BAD)


_NOBODY_YET = Text("Nobody has answered yet.")
_CHECKING = Text("The KMS is being asked who calls. The call only claims to come from {claimed}.")
_CLAIM = Text("Nobody vouches for who this is. The call claims to come from {claimed}; it may be anybody.")
_UNVOUCHED = Text("Nobody vouches for who this is. It may be anybody.")
_OTHER = Text("You dialled {called}, and {peer} answered. {kms} vouches for {peer}.")
_VOUCHED = Text("{kms} vouches that this is {peer}.")
_NAMED = Text('{who} It calls itself "{says}": nobody vouches for that name.')


def peer_fact(
    security: Document, *, claimed: str = "", dialled: str = "", waiting: bool = False, says: str = ""
) -> Fact:
    """Return who the other side is.

    *claimed*: the From of an incoming call. *dialled*: whom the user dialled. *waiting*: nobody can be known
    yet: nobody answered, or the KMS was not heard. *says*: what the caller calls itself.
    """
    fact = _identity_fact(security, claimed=claimed, dialled=dialled, waiting=waiting)
    if not says:
        return fact
    return replace(fact, sentence=Text(_NAMED.message, {"who": fact.sentence, "says": says}))


def _identity_fact(security: Document, *, claimed: str, dialled: str, waiting: bool) -> Fact:
    peer, kms = text(security, "peer"), text(security, "kms")
    if peer and not kms:
        peer = ""  # a name without somebody who vouches for it is a claim
    if not peer:
        if waiting and claimed:
            return Fact(Name.PEER, Text("CHECKING"), Text(_CHECKING.message, {"claimed": claimed}), Mood.OPEN)
        if waiting:
            return Fact(Name.PEER, Text("NOBODY YET"), _NOBODY_YET, Mood.OPEN)
        sentence = Text(_CLAIM.message, {"claimed": claimed}) if claimed else _UNVOUCHED
        return Fact(Name.PEER, Text("NOT VOUCHED FOR"), sentence, Mood.BAD)
    values: dict[str, str | Text] = {"peer": peer, "kms": kms, "called": dialled}
    if dialled and not same_identity(peer, dialled):
        return Fact(Name.PEER, Text("SOMEBODY ELSE"), Text(_OTHER.message, values), Mood.BAD)
    return Fact(Name.PEER, Text("VOUCHED FOR"), Text(_VOUCHED.message, values), Mood.GOOD)


def facts_of(
    security: Document,
    *,
    trouble: str = "",
    claimed: str = "",
    dialled: str = "",
    waiting: bool = False,
    says: str = "",
) -> tuple[Fact, Fact, Fact]:
    """Return the facts in their fixed order; see the three functions for the parameters."""
    nothing = waiting and not text(security, "media")
    return (
        Fact(Name.SIGNALLING, Text("NOT KNOWN YET"), _NOT_SENT, Mood.OPEN)
        if nothing
        else signalling_fact(security),
        Fact(Name.MEDIA, Text("NOTHING YET"), _HELD, Mood.OPEN) if nothing else media_fact(security, trouble),
        peer_fact(security, claimed=claimed, dialled=dialled, waiting=waiting, says=says),
    )
