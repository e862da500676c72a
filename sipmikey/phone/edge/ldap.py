"""Address books on an LDAP server, named by an LDAP URL (RFC 4516), read whole and never written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from sipmikey.mikey.errors import LocalError
from sipmikey.phone.edge.book import Server, called
from sipmikey.phone.people import Contact

SCHEMES: Final = ("ldaps", "ldap", "ldapi")
MAX_PEOPLE: Final = 100_000
PAGE = 100
"""Entries that are asked for at a time; servers refuse to send too many."""

_NAMES: Final = ("displayName", "cn")
_ADDRESSES: Final = (
    "msRTCSIP-PrimaryUserAddress", "labeledURI", "ipPhone", "telephoneNumber", "mobile", "homePhone",
)  # fmt: skip
"""What people can be called at, the address that is called first in front."""

_EVERYBODY: Final = "(objectClass=person)"
_SCOPES: Final = {"": "SUBTREE", "sub": "SUBTREE", "one": "LEVEL", "base": "BASE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Book:
    """What an LDAP URL names. ``addresses``: attributes with what people are called at."""

    server: str
    base: str
    addresses: tuple[str, ...]
    scope: str
    filter: str


def read_people(server: Server) -> tuple[Contact, ...]:
    """Return those in the address book of *server* who can be called. Raises ``LocalError``."""
    book = _book(server.url)
    try:
        from sipmikey.ldap_search import ldap_server
    except ImportError as error:
        raise LocalError(
            f"an address book of LDAP needs {error.name}: pip install 'sipmikey[ldap]'"
        ) from None
    contacts: list[Contact] = []
    with ldap_server(
        book.server, bind_dn=server.username, password=server.password, ca_file=server.ca_file
    ) as there:
        wanted = (*_NAMES, *book.addresses)
        for _, entry in there.entries(book.base, book.filter, wanted, scope=book.scope, page=PAGE):
            contact = _contact(entry, book.addresses)
            if contact is not None:
                contacts.append(contact)
            if len(contacts) > MAX_PEOPLE:
                raise LocalError(f"{book.server}: the address book is too large")
    return tuple(contacts)


def _book(url: str) -> _Book:
    """Return what *url* names: ``ldaps://HOST/BASE?ATTRIBUTES?SCOPE?FILTER``. Raises ``LocalError``."""
    parts = urlsplit(url)
    attributes, scope, search, *_ = *parts.query.split("?"), "", "", ""
    if scope.lower() not in _SCOPES:
        raise LocalError(f"{url}: the scope {scope} is not one of base, one and sub")
    base = unquote(parts.path.lstrip("/"))
    if not base:
        raise LocalError(f"{url}: say where the people are: ldaps://HOST/ou=people,dc=example,dc=com")
    addresses = tuple(unquote(one) for one in attributes.split(",") if one)
    return _Book(
        server=f"{parts.scheme}://{parts.netloc}", base=base, addresses=addresses or _ADDRESSES,
        scope=_SCOPES[scope.lower()], filter=unquote(search) or _EVERYBODY,
    )  # fmt: skip


def _contact(entry: Mapping[str, list[bytes]], addresses: tuple[str, ...]) -> Contact | None:
    texts = {name: [one.decode(errors="replace") for one in values] for name, values in entry.items()}
    names = [name for attribute in _NAMES for name in texts.get(attribute.lower(), ())]
    values = [value for attribute in addresses for value in texts.get(attribute.lower(), ())]
    # A labeledURI is an address and a label behind a blank (RFC 2079); web pages are named so, too.
    cut = [value.split(" ")[0] if value.lower().startswith(("sip:", "sips:")) else value for value in values]
    return called(names[0] if names else "", [one for one in cut if "://" not in one])
