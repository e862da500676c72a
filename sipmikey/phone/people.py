"""Contacts: who they are, what is expected of calls with them, and what is said when that changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sipmikey.call.keying.known import exposed
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.documents import Document, flag, number, text, texts
from sipmikey.phone.text import Text
from sipmikey.ticket.identity import canonical, same_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Somebody to call.

    ``identity``: SIP or tel URI, which names the contact. ``kms``: the KMS that is expected to vouch for it,
    ``""`` until one did. ``media``, ``signalling``: keys of the facts of the last call. ``seen``: when that
    was, Unix seconds. ``numbers``: further URIs. ``favourite``: shown first. ``book``: the address book that
    the entry was read from, ``""`` for a contact of our own.
    """

    identity: str
    name: str = ""
    kms: str = ""
    media: str = ""
    signalling: str = ""
    seen: float = 0.0
    numbers: tuple[str, ...] = ()
    favourite: bool = False
    book: str = ""

    @property
    def label(self) -> str:
        """The name, or the identity where there is none."""
        return self.name or self.identity

    @property
    def line(self) -> str:
        """The label, and where it comes from."""
        return f"{self.label} ({self.book})" if self.book else self.label


def contact_of(document: Document) -> Contact | None:
    """Return the contact that *document* tells of, None when it has no identity."""
    identity = text(document, "identity")
    if not identity:
        return None
    return Contact(
        identity=identity,
        name=text(document, "name"),
        kms=text(document, "kms"),
        media=text(document, "media"),
        signalling=text(document, "signalling"),
        seen=number(document, "seen"),
        numbers=texts(document, "numbers"),
        favourite=flag(document, "favourite"),
    )


def find(contacts: Iterable[Contact], identity: str) -> Contact | None:
    """Return the contact with *identity*, if there is one."""
    for contact in contacts:
        if any(same_identity(uri, identity) for uri in (contact.identity, *contact.numbers)):
            return contact
    return None


def completions(contacts: Iterable[Contact], typed: str, *, most: int = 8) -> tuple[Contact, ...]:
    """Return the contacts that *typed* may stand for, the likeliest first."""
    word = typed.strip().casefold()
    ranked: list[tuple[int, bool, str, Contact]] = []
    for contact in contacts:
        user = contact.identity.partition(":")[2]
        texts = [contact.name.casefold(), user.casefold(), contact.identity.casefold()]
        starts = any(item.startswith(word) for item in (*texts, *contact.name.casefold().split()))
        if starts or any(word in item for item in texts):
            ranked.append((0 if starts else 1, not contact.favourite, contact.label.casefold(), contact))
    ranked.sort(key=lambda entry: entry[:3])
    return tuple(contact for *_, contact in ranked[:most])


def to_dial(contacts: Iterable[Contact], typed: str, *, domain: str = "") -> str:
    """Return the URI that *typed* means: a URI, the name of a contact, a number, or a user of *domain*.

    Raises ``LocalError`` when it means nothing, or more than one contact.
    """
    word = typed.strip()
    if not word:
        raise LocalError("say whom to call: a name, a SIP URI or a number")
    if word.partition(":")[0].lower() in ("sip", "sips", "tel") and ":" in word:
        canonical(word)
        return word
    named = [contact for contact in contacts if contact.name.casefold() == word.casefold()]
    if len(named) > 1:
        raise LocalError(f"{word}: {len(named)} contacts have this name; give the SIP URI")
    if named:
        return named[0].identity
    if "@" in word:
        return canonical(f"sip:{word}")
    close = completions(contacts, word, most=2)
    if len(close) == 1:
        return close[0].identity
    if not domain:
        raise LocalError(f"{word}: this is not a contact, and without a domain it is not a SIP URI")
    return canonical(f"sip:{''.join(word.split())}@{domain}")


def warning_for(contact: Contact | None, security: Mapping[str, object]) -> Text | None:
    """Return what a person must be told when a call with *contact* is not as calls with it were.

    *security*: the facts as the agent says them.
    """
    if contact is None:
        return None
    kms = security.get("kms")
    if contact.kms and isinstance(kms, str) and security.get("peer") and not same_identity(kms, contact.kms):
        return Text(
            "Another KMS vouches for {name} than before: {now} instead of {before}.",
            {"name": contact.label, "now": kms, "before": contact.kms},
        )
    media = security.get("media")
    weaker = media == "off" or exposed(security.get("keying"))
    if contact.media == "PROVEN" and weaker:
        return Text(
            "Calls with {name} were protected from end to end before. This one is not.",
            {"name": contact.label},
        )
    return None


def seen(contact: Contact, *, kms: str, media: str, signalling: str, at: float) -> Contact:
    """Return *contact* after a call; the KMS that vouched first stays the expected one."""
    return replace(contact, kms=contact.kms or kms, media=media, signalling=signalling, seen=at)
