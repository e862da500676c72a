"""Messages that are left, and names of people."""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sipmikey.cli.config.sections.values import NOTHING, text_by_party, url_by_domain
from sipmikey.mikey.secret import Secret
from sipmikey.settings import readers as read
from sipmikey.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Messages that are left, by us and for us."""

    url: str = setting(
        "", "URL of our mailbox, and of every domain that `mailbox.domains` does not name",
        read.uri("https", "http"), option="--mailbox", metavar="URL",
    )  # fmt: skip
    domains: Mapping[str, str] = setting(NOTHING, "mailboxes of other domains: URLs by domain", url_by_domain)
    token_file: Path | None = setting(
        None, "file with the token that opens our box", read.path, option="--token-file", metavar="FILE"
    )
    boxes: Mapping[str, str] = setting(
        NOTHING, "boxes of groups that we are in: files with their tokens, by the group's URI (`--box`)",
        text_by_party,
    )  # fmt: skip
    ca_file: Path | None = setting(
        None, "certificates to verify the mailbox by, instead of the system's", read.path
    )
    certificate_file: Path | None = setting(None, "our certificate for TLS, if that opens our box", read.path)
    private_key_file: Path | None = setting(None, "its private key", read.path)
    plain_http: bool = setting(False, "allow http:// to a mailbox that is not on this machine", read.boolean)
    valid_days: float = setting(
        7.0, "days in which a message of ours can be heard, if the KMS allows as many",
        read.number(0.001, 3650, "days"),
    )  # fmt: skip
    longest: float = setting(120.0, "longest message that we leave, seconds", read.seconds(1, 600))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressBook:
    """Names of people, read from a CardDAV or LDAP server by the phone."""

    url: str = setting(
        "",
        "CardDAV address book, or its server, or LDAP URL (RFC 4516); the phone reads it",
        read.uri("https", "http", "ldaps", "ldap", "ldapi"),
    )
    username: str = setting("", "user name there; with LDAP the distinguished name", read.text)
    password: Secret | None = setting(None, "password there; better in a file", read.secret, secret=True)
    password_file: Path | None = setting(None, "file that holds the password", read.path)
    ca_file: Path | None = setting(
        None, "certificates to verify the server by, instead of the system's", read.path
    )
