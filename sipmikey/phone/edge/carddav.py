"""Address books on a CardDAV server (RFC 6352), read whole; nothing is written to them."""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from sipmikey.mikey.errors import LocalError
from sipmikey.phone.edge.book import Server
from sipmikey.phone.edge.vcards import read_vcards
from sipmikey.phone.people import Contact

TIMEOUT_S: Final = 15.0
MAX_ANSWER: Final = 64 * 1024 * 1024
MAX_HOPS: Final = 5
MAX_BOOKS: Final = 20

_DAV, _CARD = "{DAV:}", "{urn:ietf:params:xml:ns:carddav}"
_FIND = """<?xml version="1.0" encoding="utf-8"?>
<d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:prop>
<d:resourcetype/><d:current-user-principal/><c:addressbook-home-set/></d:prop></d:propfind>"""
_ALL = """<?xml version="1.0" encoding="utf-8"?>
<c:addressbook-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">
<d:prop><c:address-data/></d:prop></c:addressbook-query>"""


def read_book(server: Server) -> tuple[Contact, ...]:
    """Return those in the address books of *server* who can be called. Raises ``LocalError``."""
    contacts: list[Contact] = []
    for book in _books(server):
        for response in _ask(server, "REPORT", book, _ALL, depth="1").iter(f"{_DAV}response"):
            card = response.findtext(f".//{_CARD}address-data") or ""
            contacts += _contacts_in(card)
    return tuple(contacts)


def _contacts_in(card: str) -> tuple[Contact, ...]:
    try:
        return read_vcards(card)
    except LocalError:
        return ()  # one card that nobody can read does not cost the others


def _books(server: Server) -> Iterator[str]:
    """Yield the addresses of the books: that of *server*, or those that it leads to."""
    found = _ask(server, "PROPFIND", server.url, _FIND, depth="0")
    if _is_book(found):
        yield server.url
        return
    home = _link(found, server.url, f"{_CARD}addressbook-home-set")
    if not home and (principal := _link(found, server.url, f"{_DAV}current-user-principal")):
        home = _link(
            _ask(server, "PROPFIND", principal, _FIND, depth="0"), principal, f"{_CARD}addressbook-home-set"
        )
    where = home or server.url
    books = [
        urljoin(where, response.findtext(f"{_DAV}href") or "")
        for response in _ask(server, "PROPFIND", where, _FIND, depth="1").iter(f"{_DAV}response")
        if _is_book(response)
    ]
    if not books:
        raise LocalError(f"{server.url}: there is not an address book")
    yield from books[:MAX_BOOKS]


def _is_book(element: Element) -> bool:
    return element.find(f".//{_DAV}resourcetype/{_CARD}addressbook") is not None


def _link(element: Element, base: str, kind: str) -> str:
    """Return where the property *kind* leads, on the same server; ``""`` where it is not given."""
    href = element.findtext(f".//{kind}/{_DAV}href")
    return urljoin(base, href) if href else ""


def _ask(server: Server, method: str, url: str, body: str, *, depth: str) -> Element:
    """Send a request and return its answer. Raises ``LocalError``."""
    for _ in range(MAX_HOPS):
        _check(server, url)
        answer = _send(server, method, url, body, depth)
        if isinstance(answer, str):
            url = urljoin(url, answer)
            continue
        try:
            found: Element = ElementTree.fromstring(answer)
        except (ParseError, DefusedXmlException, ValueError):
            raise LocalError(f"{url}: the answer is not that of an address book (CardDAV)") from None
        return found
    raise LocalError(f"{server.url}: it is passed on too often")


def _check(server: Server, url: str) -> None:
    """The password goes to the server that was named, and over TLS, but on this machine."""
    parts, named = urlsplit(url), urlsplit(server.url)
    if (parts.scheme, parts.netloc) != (named.scheme, named.netloc):
        raise LocalError(f"{server.url}: it leads to another server, {parts.netloc}; name that one")
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise LocalError(f"{server.url}: an address book is read over https only")


def _send(server: Server, method: str, url: str, body: str, depth: str) -> bytes | str:
    """Return the body of the answer, or where it is passed on to."""
    headers = {"Content-Type": "application/xml; charset=utf-8", "Depth": depth}
    if server.username:
        password = "" if server.password is None else server.password.reveal().decode()
        pair = base64.b64encode(f"{server.username}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    request = urllib.request.Request(url, body.encode(), headers, method=method)
    context = ssl.create_default_context(cafile=server.ca_file)
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            octets: bytes = answer.read(MAX_ANSWER + 1)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (301, 302, 307, 308) and (to := error.headers.get("Location")):
                return str(to)
        if error.code in (401, 403):
            raise LocalError(f"{url}: the server does not accept the user name and password") from None
        raise LocalError(f"{url}: the server answered {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise LocalError(f"{url}: {getattr(error, 'reason', error)}") from None
    if len(octets) > MAX_ANSWER:
        raise LocalError(f"{url}: the address book is too large")
    return octets


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves it to the caller where a request is passed on to."""

    def redirect_request(self, *args: object, **options: object) -> None:
        """Follow nothing."""
        return
