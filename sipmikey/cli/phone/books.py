"""The address books that the accounts of a phone name, read when it starts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sipmikey.cli.calls.credentials import from_keyring
from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.config.sections.people import AddressBook
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.edge.book import Server
from sipmikey.phone.edge.ldap import SCHEMES, read_people
from sipmikey.phone.people import Contact


def servers(named: Iterable[AddressBook]) -> tuple[Server, ...]:
    """Return where the address books are that the accounts have *named*. Raises ``LocalError``."""
    found: dict[tuple[str, str], Server] = {}
    for book in named:
        if not book.url:
            continue
        password = book.password and from_keyring(book.password, "address_book.password")
        if book.password_file is not None:
            password = read_secret_file(book.password_file, "address_book.password_file")
        found[book.url, book.username] = Server(
            url=book.url, username=book.username, password=password, ca_file=book.ca_file
        )
    return tuple(found.values())


def documents(books: Sequence[Server]) -> Iterator[dict[str, Any]]:
    """Read *books*, and yield what each has as a document for ``fold``; or why it could not be read."""
    for server in books:
        try:
            contacts = [{**asdict(one), "numbers": list(one.numbers)} for one in _people(server)]
        except LocalError as error:
            yield {"type": "book.failed", "at": time.time(), "book": server.name, "detail": str(error)}
        else:
            yield {"type": "book.read", "at": time.time(), "book": server.name, "contacts": contacts}


def _people(server: Server) -> tuple[Contact, ...]:
    if server.url.partition(":")[0].lower() in SCHEMES:
        return read_people(server)
    from sipmikey.phone.edge.carddav import read_book

    return read_book(server)
