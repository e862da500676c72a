"""What can be configured: one frozen dataclass a section, each field with its own description and check.

The same table makes the TOML keys, the `SIPMIKEY_*` variables, the command-line options, the error texts and
the reference in docs/configuration.md, so that they cannot disagree.
"""

# ruff: noqa: RUF009 (a section of defaults is frozen)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sipmikey.cli.config.sections.keys import Enrolment, Kms, Security, Tickets
from sipmikey.cli.config.sections.media import Media, Timeouts
from sipmikey.cli.config.sections.people import AddressBook, Mailbox
from sipmikey.cli.config.sections.signalling import Credentials, Identity, Nat, Sip
from sipmikey.settings import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All of it, merged and checked."""

    identity: Identity = Identity()
    credentials: Credentials = Credentials()
    sip: Sip = Sip()
    kms: Kms = Kms()
    tickets: Tickets = Tickets()
    security: Security = Security()
    media: Media = Media()
    nat: Nat = Nat()
    mailbox: Mailbox = Mailbox()
    address_book: AddressBook = AddressBook()
    enrolment: Enrolment = Enrolment()
    timeouts: Timeouts = Timeouts()


SECTIONS: Mapping[str, Section] = {
    "identity": Identity,
    "credentials": Credentials,
    "sip": Sip,
    "kms": Kms,
    "tickets": Tickets,
    "security": Security,
    "media": Media,
    "nat": Nat,
    "mailbox": Mailbox,
    "address_book": AddressBook,
    "enrolment": Enrolment,
    "timeouts": Timeouts,
}
