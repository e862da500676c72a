"""Entries read from an LDAP server, by ldap3. Always over TLS, or on this machine."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

CONNECT_S: Final = 5
ANSWER_S: Final = 30
MAX_ENTRIES: Final = 1_000_000

Entry = tuple[str, Mapping[str, list[bytes]]]
"""The distinguished name of an entry, and its attributes; their names are in lower case."""


class LdapFailure(LocalError):
    """The LDAP server does not answer as it should."""


class LdapServer:
    """A server that is connected. ``url``: what to call it in an error."""

    def __init__(self, url: str, connection: ldap3.Connection) -> None:
        self._url = url
        self._connection = connection

    def entries(
        self,
        base: str,
        search: str,
        attributes: Sequence[str],
        *,
        scope: str = ldap3.SUBTREE,
        page: int = 500,
    ) -> Iterator[Entry]:
        """Yield the entries below *base* that *search* finds, page by page. Raises `LdapFailure`."""
        pages = self._connection.extend.standard.paged_search(
            base, search, search_scope=scope, attributes=list(dict.fromkeys(attributes)),
            paged_size=page, paged_criticality=True, generator=True,
        )  # fmt: skip
        for count, entry in enumerate(pages):
            if count >= MAX_ENTRIES:
                raise LdapFailure(f"{self._url}: more than {MAX_ENTRIES} entries")
            if entry.get("type") != "searchResEntry":
                raise LdapFailure(
                    f"{self._url}: the directory refers to another server for {base}: set another base"
                )
            raw: Mapping[str, list[bytes]] = entry["raw_attributes"]
            yield entry["dn"], {name.lower(): values for name, values in raw.items()}


@contextmanager
def ldap_server(
    url: str, *, bind_dn: str = "", password: Secret | None = None, ca_file: Path | None = None
) -> Iterator[LdapServer]:
    """Connect with a server while the block runs. Raises `LdapFailure`, also for what fails in the block.

    *url*: ``ldaps://``, ``ldap://`` (StartTLS is used) or ``ldapi://`` with the path of a socket.
    """
    try:
        connection = _connected(url, bind_dn, password, ca_file)
        try:
            yield LdapServer(url, connection)
        finally:
            connection.unbind()
    except (LDAPException, OSError, ssl.SSLError) as error:
        # What went wrong, without what was sent.
        raise LdapFailure(f"{url}: {printable(str(error) or type(error).__name__, most=300)}") from None


def _connected(url: str, bind_dn: str, password: Secret | None, ca_file: Path | None) -> ldap3.Connection:
    parts = urlsplit(url)
    encrypted = parts.scheme == "ldaps"
    local = parts.scheme == "ldapi"
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=None if ca_file is None else str(ca_file))
    server = ldap3.Server(
        url if local else parts.hostname,
        port=None if local else parts.port or (636 if encrypted else 389),
        use_ssl=encrypted, tls=None if local else tls, get_info=ldap3.NONE, connect_timeout=CONNECT_S,
    )  # fmt: skip
    connection = ldap3.Connection(
        server, user=bind_dn or None, password=None if password is None else password.reveal().decode(),
        authentication=ldap3.SIMPLE if bind_dn else ldap3.ANONYMOUS,
        raise_exceptions=True, receive_timeout=ANSWER_S, read_only=True, auto_referrals=False,
        return_empty_attributes=False,
    )  # fmt: skip
    connection.open()
    if not encrypted and not local:
        connection.start_tls()
    connection.bind()
    return connection
