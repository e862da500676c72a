"""All that a phone shows at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sipmikey.phone.calls import CallKey, ShownCall, Stage
from sipmikey.phone.history import HistoryEntry
from sipmikey.phone.people import Contact
from sipmikey.phone.text import Text, clean

MAX_NOTICES = 50
"""Notices that are kept, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A sound device: ``kind`` is ``input`` or ``output``, or ``ringer`` for the chosen one."""

    name: str
    kind: str
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An identity, and whether it can be reached.

    ``engine``: True while the process that makes its calls runs. ``registered``: None where there is no
    registrar to ask; ``trouble``: why it is not as it should be. ``do_not_disturb``: calls are refused.
    ``muted``: the microphone is off; ``microphone_db``, ``speaker_db``: volumes, 0 is as it comes.
    ``engine_ends``: how often the engine has ended unasked. ``messages_new``, ``messages_old``: messages left
    for us, not heard and heard, as their keeper tells.
    """

    name: str
    identity: str = ""
    contact: str = ""
    engine: bool = False
    registrar: str = ""
    registered: bool | None = None
    trouble: Text | None = None
    do_not_disturb: bool = False
    muted: bool = False
    microphone_db: float = 0.0
    speaker_db: float = 0.0
    devices: tuple[Device, ...] = ()
    engine_ends: int = 0
    features: tuple[str, ...] = ()
    messages_new: int = 0
    messages_old: int = 0

    @property
    def place(self) -> Text:
        """Where it waits for calls. An agent that listens everywhere has no address that others could use."""
        host, _, port = self.contact.rpartition("@")[2].partition(";")[0].rpartition(":")
        if host in ("0.0.0.0", "[::]"):
            return Text("port {port} of this machine", {"port": port})
        return Text("{contact}", {"contact": self.contact})

    @property
    def domain(self) -> str:
        """The part of the identity after the @, without a port."""
        return self.identity.rpartition("@")[2].partition(":")[0] if "@" in self.identity else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What policy wants decided: whether *peer* will do instead of *called*.

    ``kms``: who vouches for *peer*, ``""`` while nobody does. ``until``: Unix seconds.
    """

    account: str
    call: str
    peer: str
    called: str
    kms: str = ""
    until: float = 0.0

    @property
    def text(self) -> Text:
        """The question in plain words."""
        values: dict[str, str | Text] = {"peer": self.peer, "called": self.called, "kms": self.kms}
        if self.kms:
            return Text(
                "You dialled {called}. {peer} answers; {kms} vouches for {peer}. Talk to {peer}?", values
            )
        return Text("You dialled {called}. The call is sent on to {peer}. Call {peer} instead?", values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to be told once."""

    at: float
    text: Text
    bad: bool = False
    account: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message left for us. ``sender``: whom it says it is from.

    ``peer``: whom a KMS vouches for as its sender, ``""`` when nobody does. ``expired``: nobody can open it.
    ``account``: whose box it is in. ``playing``: it is being heard now.
    """

    at: float
    identifier: str
    sender: str
    peer: str = ""
    duration_s: float = 0.0
    heard: bool = False
    expired: bool = False
    account: str = ""
    playing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A message of ours for ``to`` that is being said, or, once it ``sends``, is on its way to a mailbox.

    ``began``: Unix seconds. ``longest_s``: it ends by itself after so many seconds.
    """

    account: str
    to: str
    began: float = 0.0
    longest_s: float = 0.0
    sends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conference:
    """Calls of an account that hear each other. ``legs``: their numbers. ``present``: the user is in it."""

    account: str
    legs: tuple[str, ...]
    present: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """All of it, immutable; ``fold`` makes the next one. ``missed``: calls missed since the list was read.

    ``conferences``, ``recordings``: the one of each account that has one. ``books``: what address books
    have, by their names; ``listed``: their entries by URI, the first of each.
    """

    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))
    calls: Mapping[CallKey, ShownCall] = field(default_factory=lambda: MappingProxyType({}))
    contacts: tuple[Contact, ...] = ()
    books: Mapping[str, tuple[Contact, ...]] = field(default_factory=lambda: MappingProxyType({}))
    listed: Mapping[str, Contact] = field(default_factory=lambda: MappingProxyType({}))
    history: tuple[HistoryEntry, ...] = ()
    missed: int = 0
    questions: tuple[Question, ...] = ()
    notices: tuple[Notice, ...] = ()
    messages: tuple[Message, ...] = ()
    recordings: Mapping[str, Recording] = field(default_factory=lambda: MappingProxyType({}))
    conferences: Mapping[str, Conference] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def live(self) -> tuple[ShownCall, ...]:
        """Calls that are not over, the oldest first."""
        return tuple(call for call in self.calls.values() if call.live)

    @property
    def incoming(self) -> tuple[ShownCall, ...]:
        """Calls that ring here and wait for an answer."""
        return tuple(call for call in self.live if call.stage is Stage.INCOMING)

    @property
    def people(self) -> tuple[Contact, ...]:
        """Our contacts, and then those of address books who are not among them."""
        known = {uri for one in self.contacts for uri in (one.identity, *one.numbers)}
        others = (one for book in self.books.values() for one in book if one.identity not in known)
        return (*self.contacts, *others)

    def same_people(self, other: Phone) -> bool:
        """Return True where ``people`` did not change from one to the next: books may be large."""
        return self.contacts is other.contacts and self.books is other.books

    def label(self, identity: str) -> str:
        """Return the name of *identity* among our contacts or, with its name, in an address book."""
        for contact in self.contacts:
            if identity in (contact.identity, *contact.numbers):
                return clean(contact.label)
        found = self.listed.get(identity)
        return clean(identity if found is None else found.line)
