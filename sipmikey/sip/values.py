"""Header fields other than addresses: Warning, Reason, Replaces, Via, Content-Type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sipmikey.sip.errors import SipMalformed
from sipmikey.sip.grammar import TOKEN, Parameters, cut, parameters, shown, strip, unquote

_WARNING = re.compile(r"(\d{3})[ \t]+([^ \t]+)[ \t]+(\".*)", re.ASCII | re.DOTALL)
_VIA = re.compile(r"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*([^\s/;,]+)[ \t]+([^\s;,]+)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningValue:
    """A warning (RFC 3261 section 20.43): ``code`` of three digits, host or name of the ``agent``."""

    code: int
    agent: str
    text: str


def parse_warning(item: str) -> WarningValue:
    """Read one item of a Warning header field. Raises ``SipMalformed``."""
    found = _WARNING.fullmatch(strip(item))
    if found is None:
        raise SipMalformed(f"malformed warning {shown(item)}")
    return WarningValue(code=int(found[1]), agent=found[2], text=unquote(found[3]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonValue:
    """A reason (RFC 3326): ``protocol`` as it is written, ``cause`` None where it gives none."""

    protocol: str
    cause: int | None
    text: str


def parse_reason(item: str) -> ReasonValue:
    """Read one item of a Reason header field. Raises ``SipMalformed``."""
    protocol, semicolon, rest = cut(item, ";")
    given = dict(parameters(semicolon + rest))
    protocol, cause = strip(protocol), given.get("cause")
    if TOKEN.fullmatch(protocol) is None or not re.fullmatch(r"\d{1,9}", cause or "0", re.ASCII):
        raise SipMalformed(f"malformed reason {shown(item)}")
    return ReasonValue(
        protocol=protocol, cause=None if cause is None else int(cause), text=given.get("text") or ""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaces:
    """The dialog that a call is to replace (RFC 3891): ``early_only`` while it has not been answered."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool


def parse_replaces(value: str) -> Replaces:
    """Read a Replaces header field. Raises ``SipMalformed``."""
    call_id, semicolon, rest = cut(value, ";")
    given = parameters(semicolon + rest)
    names = [name for name, _ in given]
    found = dict(given)
    if (
        not strip(call_id)
        or re.search(r"[\s,<>\"]", strip(call_id))
        or names.count("to-tag") != 1
        or names.count("from-tag") != 1
    ):
        raise SipMalformed(f"malformed Replaces {shown(value)}")
    return Replaces(
        call_id=strip(call_id),
        to_tag=found["to-tag"] or "",
        from_tag=found["from-tag"] or "",
        early_only="early-only" in found,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """One hop (RFC 3261 section 20.42): ``transport`` in lower case, ``sent_by`` is ``host[:port]``."""

    transport: str
    sent_by: str
    parameters: Parameters

    def parameter(self, name: str) -> str | None:
        """Return the value of the first parameter *name* (lower case), ``""`` where it has none."""
        return next((value or "" for key, value in self.parameters if key == name), None)

    @property
    def branch(self) -> str:
        """Branch parameter, ``""`` when there is none."""
        return self.parameter("branch") or ""


def via_transport(value: str) -> str:
    """Return the transport of the first item of a Via header field, ``""`` where it cannot be read."""
    found = _VIA.match(value)
    return "" if found is None else found[1].lower()


@lru_cache(maxsize=64)
def parse_via(item: str) -> Via:
    """Read one item of a Via header field. Raises ``SipMalformed``."""
    found = _VIA.match(item := strip(item))
    if found is None:
        raise SipMalformed(f"malformed Via {shown(item)}")
    return Via(transport=found[1].lower(), sent_by=found[2], parameters=parameters(item[found.end() :]))


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """``name``: ``type/subtype`` in lower case."""

    name: str
    parameters: Parameters

    def parameter(self, name: str) -> str | None:
        """Return the value of the first parameter *name* (lower case), ``""`` where it has none."""
        return next((value or "" for key, value in self.parameters if key == name), None)


@lru_cache(maxsize=64)
def parse_media_type(value: str) -> MediaType:
    """Read a Content-Type header field (RFC 3261 section 20.15). Raises ``SipMalformed``."""
    name, semicolon, rest = cut(value, ";")
    kind, slash, subtype = name.partition("/")
    kind, subtype = strip(kind), strip(subtype)
    if not slash or TOKEN.fullmatch(kind) is None or TOKEN.fullmatch(subtype) is None:
        raise SipMalformed(f"malformed Content-Type {shown(value)}")
    return MediaType(name=f"{kind}/{subtype}".lower(), parameters=parameters(semicolon + rest))
