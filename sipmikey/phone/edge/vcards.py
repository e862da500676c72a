"""Contacts as vCards (RFC 6350), as address books export and import them."""

from __future__ import annotations

import vobject
from vobject.base import ParseError, VObjectError

from sipmikey.mikey.errors import LocalError
from sipmikey.phone.edge.book import called
from sipmikey.phone.people import Contact

_KMS = "x-sipmikey-kms"


def read_vcards(text: str) -> tuple[Contact, ...]:
    """Return the contacts in *text* that can be called: those with a SIP or tel URI, or a telephone number.

    Raises ``LocalError`` for what is not vCards.
    """
    try:
        cards = list(vobject.readComponents(text, ignoreUnreadable=True))
    except (ParseError, VObjectError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise LocalError(f"these are not vCards: {type(error).__name__}") from None
    if not cards and text.strip():
        raise LocalError("these are not vCards")
    contacts = (_contact(card) for card in cards if card.name == "VCARD")
    return tuple(contact for contact in contacts if contact is not None)


def _contact(card: vobject.base.Component) -> Contact | None:
    values = [line.value for name in ("impp", "x-sip", "tel") for line in card.contents.get(name, ())]
    names = card.contents.get("fn") or card.contents.get("org") or ()
    kms = card.contents.get(_KMS, ())
    return called(str(names[0].value) if names else "", values, kms=str(kms[0].value) if kms else "")


def write_vcards(contacts: tuple[Contact, ...]) -> str:
    """Return *contacts* as vCards, version 4.0 in what they say."""
    written = []
    for contact in contacts:
        card = vobject.vCard()
        card.add("fn").value = contact.label
        card.add("n").value = vobject.vcard.Name(given=contact.label)
        for uri in (contact.identity, *contact.numbers):
            card.add("tel" if uri.startswith("tel:") else "impp").value = uri
        if contact.kms:
            card.add(_KMS).value = contact.kms
        written.append(card.serialize())
    return "".join(written)
