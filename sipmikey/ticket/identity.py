"""Identities: one canonical form of SIP and tel URIs, used by the KMS, SDP and the agent alike."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from sipmikey.mikey.errors import InvalidIdentity, LocalError
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.registry import IdRole, IdType

_DEFAULT_PORTS = {"sip": "5060", "sips": "5061"}
_USER_SAFE = "-_.!~*'()&=+$,;?/"
_SEPARATORS = re.compile(r"[-.()]")
_HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")
_NUMBER = re.compile(r"\+?[0-9a-f*#]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@lru_cache(maxsize=4096)
def canonical(uri: str) -> str:
    """Return the canonical form of a ``sip:``, ``sips:`` or ``tel:`` URI.

    SIP: scheme and host in lower case, no password, parameters, headers or default port, escapes only
    where the grammar needs them (RFC 3261 section 19.1). tel: no visual separators, no parameters but
    phone-context (RFC 3966). Another scheme is returned with the scheme in lower case. Angle brackets
    and a display name are removed. Raises `LocalError` for anything else.
    """
    text = uri.strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LocalError(f"{uri!r} is not a URI: it is not UTF-8") from None
    if _CONTROL.search(text):
        raise LocalError(f"{uri!r} is not a URI: it has a control character")
    if "<" in text:
        text = text[text.index("<") + 1 :].partition(">")[0]
    scheme, colon, rest = text.partition(":")
    scheme = scheme.strip().lower() if scheme.isascii() else ""
    if not colon or not (scheme.isascii() and scheme.isalnum()) or not rest:
        raise LocalError(f"{uri!r} is not a URI: it needs a scheme, such as sip:")
    if scheme in _DEFAULT_PORTS:
        return _canonical_sip(scheme, rest, uri)
    if scheme == "tel":
        return _canonical_tel(rest, uri)
    if "<" in rest or rest != rest.strip():
        raise LocalError(f"{uri!r} is not a URI: it has a bracket or a space within")
    return f"{scheme}:{rest}"


def _canonical_sip(scheme: str, rest: str, uri: str) -> str:
    rest = rest.partition("?")[0] if "@" not in rest.partition("?")[2] else rest
    user, at, hostport = rest.rpartition("@")
    hostport = re.split(r"[;?]", hostport, maxsplit=1)[0]
    # In lower case some non-ASCII letters become ASCII letters, and would imitate another host.
    host_ascii, hostport = hostport.isascii(), hostport.lower()
    match = re.fullmatch(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]+))?", hostport)
    if match is None or not host_ascii or _HOST.fullmatch(match["host"]) is None:
        raise LocalError(f"{uri!r} is not a SIP URI: the host is not valid")
    port = match["port"]
    tail = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{port}"
    if not at:
        return f"{scheme}:{match['host']}{tail}"
    name = quote(unquote_to_bytes(user.partition(":")[0]), safe=_USER_SAFE)
    if not name:
        raise LocalError(f"{uri!r} is not a SIP URI: the user part is empty")
    return f"{scheme}:{name}@{match['host']}{tail}"


def _canonical_tel(rest: str, uri: str) -> str:
    if not rest.isascii():
        raise LocalError(f"{uri!r} is not a tel URI: it has letters beyond ASCII")
    number, *parameters = rest.lower().split(";")
    number = _SEPARATORS.sub("", number)
    if _NUMBER.fullmatch(number) is None:
        raise LocalError(f"{uri!r} is not a tel URI: {number!r} is not a number")
    context = [item for item in parameters if item.startswith("phone-context=")]
    return ";".join([f"tel:{number}", *context])


def same_identity(one: str, other: str) -> bool:
    """Return whether two URIs name the same identity; text that is not a URI is compared unchanged."""
    return _comparable(one) == _comparable(other)


def _comparable(uri: str) -> str:
    try:
        return canonical(uri)
    except LocalError:
        return uri


def aliases(identity: str) -> frozenset[str]:
    """Return looser forms of a canonical *identity*: two identities that share one may be the same party.

    They leave out the scheme sips, a port, the dot after a host, the case of a user, and the host after a
    telephone number (``sip:+15550123@example.com`` may be ``tel:+15550123``). Use them to be stricter, never
    to admit a party.
    """
    scheme, _, rest = identity.lower().partition(":")
    if scheme == "tel":
        return frozenset({f"tel:{rest.partition(';')[0]}"})
    if scheme not in _DEFAULT_PORTS:
        return frozenset({identity})
    user, _, hostport = rest.rpartition("@")
    host = re.sub(r":[0-9]+$", "", hostport).removesuffix(".")
    found = {f"sip:{user}@{host}"}
    if re.fullmatch(r"\+[-.()0-9]+", user):
        found.add(f"tel:{_SEPARATORS.sub('', user)}")
    return frozenset(found)


def matches(pattern: str, identity: str) -> bool:
    """Return whether *identity* is *pattern* or falls under it.

    ``sip:*@support.example.com`` covers every user of that host and scheme, and no subdomain; ``*`` covers
    every identity. Both are compared in canonical form. Text that is not a URI falls under ``*`` only.
    """
    try:
        name = canonical(identity)
    except LocalError:
        return pattern in ("*", identity)
    pattern = _comparable(pattern)
    return pattern == name or pattern in wildcards_of(name)


def wildcards_of(identity: str) -> tuple[str, ...]:
    """Return the wildcards that a canonical *identity* falls under, the narrowest first."""
    scheme, _, rest = identity.partition(":")
    user, at, host = rest.rpartition("@")
    return (f"{scheme}:*@{host}", "*") if at and user else ("*",)


def uri_identity(role: IdRole, uri: str) -> IDR:
    """Return an IDR payload of type URI with the canonical form of *uri*."""
    return IDR(role=role, id_type=IdType.URI, data=canonical(uri).encode("utf-8"))


def psk_identity(key_id: bytes) -> IDR:
    """Return an IDRpsk payload: a byte string that names a pre-shared key."""
    return IDR(role=IdRole.PSK, id_type=IdType.BYTE_STRING, data=key_id)


def identity_text(payload: IDR) -> str:
    """Return the ID Data of an IDR payload as text; raise `InvalidIdentity` unless it is UTF-8."""
    try:
        return payload.data.decode("utf-8")
    except UnicodeDecodeError:
        name = payload.role.name if isinstance(payload.role, IdRole) else str(payload.role)
        raise InvalidIdentity("the ID Data is not UTF-8 text", field=f"IDR {name}") from None
