"""People and groups read from LDAP, by ldap3. Always over TLS, or on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
from sipmikey.ldap_search import ldap_server
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable


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
    with ldap_server(
        source.url, bind_dn=source.bind_dn, password=source.password, ca_file=source.ca_file
    ) as server:
        wanted = [source.key, *(pattern.attribute for pattern in source.identities)]
        for name, entry in server.entries(source.base, source.filter, wanted, page=source.page):
            _take_person(source, name, entry, found, keys)
        if source.group_base and source.group_identity is not None:
            wanted = [source.key, source.group_identity.attribute, source.group_member]
            for name, entry in server.entries(
                source.group_base, source.group_filter, wanted, page=source.page
            ):
                _take_group(source, name, entry, found, keys)
    return found


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
