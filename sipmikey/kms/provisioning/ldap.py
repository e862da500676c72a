"""People and groups read from LDAP, by ldap3. Always over TLS, or on this machine."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.dn import safe_dn

from sipmikey.kms.provisioning.people import (
    DirectoryGroup,
    DirectoryUser,
    Found,
    Pattern,
    identities_of,
    slug,
)
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

CONNECT_S: Final = 5
ANSWER_S: Final = 30
MAX_ENTRIES: Final = 1_000_000


class LdapFailure(LocalError):
    """The LDAP server does not answer as it should: nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapSource:
    """Where people are and what they are here.

    ``url``: ``ldaps://``, ``ldap://`` (StartTLS is used) or ``ldapi://`` with the path of a socket.
    ``identities``: patterns, the primary one first. ``key``: attribute that never changes. Without
    ``group_base`` groups are left alone; ``group_member``: attribute with the members' distinguished names.
    """

    url: str
    base: str
    filter: str
    identities: tuple[Pattern, ...]
    key: str = "entryUUID"
    bind_dn: str = ""
    password: Secret | None = None
    ca_file: Path | None = None
    group_base: str = ""
    group_filter: str = "(objectClass=groupOfNames)"
    group_identity: Pattern | None = None
    group_member: str = "member"
    page: int = 500


def read_directory(source: LdapSource) -> Found:
    """Return all people and groups. Raises `LdapFailure`, also where an answer is not whole."""
    found = Found()
    keys: dict[str, str] = {}
    try:
        connection = _connected(source)
        try:
            wanted = [source.key, *(pattern.attribute for pattern in source.identities)]
            for name, entry in _entries(connection, source, source.base, source.filter, wanted):
                _take_person(source, name, entry, found, keys)
            if source.group_base and source.group_identity is not None:
                wanted = [source.key, source.group_identity.attribute, source.group_member]
                for name, entry in _entries(
                    connection, source, source.group_base, source.group_filter, wanted
                ):
                    _take_group(source, name, entry, found, keys)
        finally:
            connection.unbind()
    except (LDAPException, OSError, ssl.SSLError) as error:
        raise LdapFailure(f"{source.url}: {_what(error)}") from None
    return found


def _connected(source: LdapSource) -> ldap3.Connection:
    parts = urlsplit(source.url)
    encrypted = parts.scheme == "ldaps"
    local = parts.scheme == "ldapi"
    tls = ldap3.Tls(
        validate=ssl.CERT_REQUIRED, ca_certs_file=None if source.ca_file is None else str(source.ca_file)
    )
    server = ldap3.Server(
        source.url if local else parts.hostname,
        port=None if local else parts.port or (636 if encrypted else 389),
        use_ssl=encrypted, tls=None if local else tls, get_info=ldap3.NONE, connect_timeout=CONNECT_S,
    )  # fmt: skip
    connection = ldap3.Connection(
        server, user=source.bind_dn or None,
        password=None if source.password is None else source.password.reveal().decode(),
        authentication=ldap3.SIMPLE if source.bind_dn else ldap3.ANONYMOUS,
        raise_exceptions=True, receive_timeout=ANSWER_S, read_only=True, auto_referrals=False,
        return_empty_attributes=False,
    )  # fmt: skip
    connection.open()
    if not encrypted and not local:
        connection.start_tls()
    connection.bind()
    return connection


def _entries(
    connection: ldap3.Connection, source: LdapSource, base: str, search: str, attributes: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, list[bytes]]]]:
    """Yield name and attributes of each entry, the names of attributes in lower case, page by page."""
    pages = connection.extend.standard.paged_search(
        base, search, search_scope=ldap3.SUBTREE, attributes=list(dict.fromkeys(attributes)),
        paged_size=source.page, paged_criticality=True, generator=True,
    )  # fmt: skip
    for count, entry in enumerate(pages):
        if count >= MAX_ENTRIES:
            raise LdapFailure(f"{source.url}: more than {MAX_ENTRIES} entries")
        if entry.get("type") != "searchResEntry":
            raise LdapFailure(f"{source.url}: it refers to another server: set ldap.base")
        raw: Mapping[str, list[bytes]] = entry["raw_attributes"]
        yield entry["dn"], {name.lower(): values for name, values in raw.items()}


def _take_person(
    source: LdapSource, name: str, entry: Mapping[str, list[bytes]], found: Found, keys: dict[str, str]
) -> None:
    shown = printable(name, most=120)
    key = _key(source, entry)
    if key is None:
        found.problems.append((shown, f"{source.key} is missing"))
        return
    keys[_normal(name)] = key
    try:
        identities = identities_of(source.identities, _texts(entry))
        SubscriberRecord(name=identities[0], identities=identities)
    except LocalError as error:
        found.problems.append((shown, str(error)))
        found.unusable.add(key)
        return
    found.users.append(DirectoryUser(key=key, shown=shown, identities=identities))


def _take_group(
    source: LdapSource, name: str, entry: Mapping[str, list[bytes]], found: Found, keys: Mapping[str, str]
) -> None:
    assert source.group_identity is not None
    shown = printable(name, most=120)
    key = _key(source, entry)
    if key is None:
        found.problems.append((shown, f"{source.key} is missing"))
        return
    texts = _texts(entry)
    try:
        names = [slug(value) for value in texts.get(source.group_identity.attribute.lower(), ())]
        (uri,) = identities_of([source.group_identity], {source.group_identity.attribute.lower(): names})
    except LocalError as error:
        found.problems.append((shown, str(error)))
        found.unusable.add(key)
        return
    names = texts.get(source.group_member.lower(), [])
    members = frozenset(keys[normal] for member in names if (normal := _normal(member)) in keys)
    found.groups.append(DirectoryGroup(key=key, shown=shown, uri=uri, members=members))


def _key(source: LdapSource, entry: Mapping[str, list[bytes]]) -> str | None:
    """Return the value that names an entry for good; octets that cannot be read as text in hexadecimal."""
    values = entry.get(source.key.lower(), [])
    if not values or not values[0] or len(values[0]) > 255:
        return None
    try:
        text = values[0].decode()
    except UnicodeDecodeError:
        return values[0].hex()
    return text if text.isprintable() else values[0].hex()


def _texts(entry: Mapping[str, list[bytes]]) -> dict[str, list[str]]:
    return {name: [value.decode(errors="replace") for value in values] for name, values in entry.items()}


def _normal(name: str) -> str:
    """Return a distinguished name in one form of all its spellings."""
    try:
        return str(safe_dn(name)).lower()
    except LDAPException:
        return name.lower()


def _what(error: Any) -> str:
    """Return what went wrong, without what was sent."""
    return printable(str(error) or type(error).__name__, most=300)
