"""SIP requests and responses as this stack writes them (RFC 3261 sections 8.1.1, 8.2.6 and 17.1.1.3)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from sipmikey.agent.config import AgentConfig
from sipmikey.sip import Headers, SipMessage, list_items, quote

ALLOW: Final = "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, OPTIONS, MESSAGE, NOTIFY, REFER, INFO"
METHODS: Final = frozenset(ALLOW.split(", "))
SDP_TYPE: Final = ("Content-Type", "application/sdp")

SUPPORTED: Final = ("replaces", "100rel", "norefersub", "timer")
ALLOW_EVENTS: Final = "message-summary, presence, refer"
ACCEPT: Final = "application/sdp"
_MAX_FORWARDS: Final = "70"

_PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    202: "Accepted", 408: "Request Timeout", 410: "Gone", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
    489: "Bad Event", 491: "Request Pending", 493: "Undecipherable", 500: "Server Internal Error",
    580: "Precondition Failure", 600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}  # fmt: skip


def phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Response"


def new_tag() -> str:
    """Return a fresh tag, 64 bits of randomness in hexadecimal."""
    return secrets.token_hex(8)


def new_branch() -> str:
    """Return a fresh branch parameter."""
    return f"z9hG4bK{secrets.token_hex(12)}"


def new_call_id() -> str:
    """Return a fresh Call-ID."""
    return secrets.token_hex(16)


def own_address(config: AgentConfig) -> str:
    """Return our identity with its display name, as From has it, without a tag."""
    name = f"{quote(config.display_name)} " if config.display_name else ""
    return f"{name}<{config.identity}>"


def route_through(proxy: str | None) -> Headers:
    """Return the Route header field of a request to a proxy, which routes loosely."""
    if not proxy:
        return ()
    return (("Route", f"<{proxy}>" if ";lr" in proxy else f"<{proxy};lr>"),)


def options(message: SipMessage, field: str) -> tuple[str, ...]:
    """Return the option tags in Require or Supported, as they are written."""
    words = (word.strip() for value in message.all(field) for word in value.split(","))
    return tuple(word for word in words if word)


def has_option(message: SipMessage, field: str, option: str) -> bool:
    """Return whether Require or Supported has an option tag."""
    return option in (word.lower() for word in options(message, field))


def token_of(message: SipMessage, field: str) -> str:
    """Return the part before the parameters of a header field, in lower case; "" without the field."""
    return (message.first(field) or "").partition(";")[0].strip().lower()


def parameter_of(message: SipMessage, field: str, name: str) -> str:
    """Return a parameter of a header field, in lower case; "" without it."""
    for part in (message.first(field) or "").split(";")[1:]:
        found, _, value = part.partition("=")
        if found.strip().lower() == name:
            return value.strip().lower()
    return ""


def request(method: str, uri: str, headers: Headers, content: bytes = b"") -> SipMessage:
    """Return a request; Max-Forwards is added, and the length of *content* when it is written."""
    return SipMessage(
        start_line=f"{method} {uri} SIP/2.0",
        headers=(*headers, ("Max-Forwards", _MAX_FORWARDS)),
        content=content,
    )


def response(
    to: SipMessage,
    status: int,
    *,
    tag: str = "",
    headers: Headers = (),
    content: bytes = b"",
    reason: str = "",
) -> SipMessage:
    """Return a response to a request. *tag*: of ours in To, where the request has none there."""
    made: list[tuple[str, str]] = [("Via", value) for value in to.all("via")]
    if status // 100 < 3:
        made += [("Record-Route", value) for value in to.all("record-route")]
    receiver = to.first("to") or ""
    if tag and status > 100 and not to.to_tag:
        receiver = f"{receiver};tag={tag}"
    made += [("From", to.first("from") or ""), ("To", receiver)]
    made += [(name, to.first(name) or "") for name in ("Call-ID", "CSeq")]
    start = f"SIP/2.0 {status} {reason or phrase(status)}"
    return SipMessage(start_line=start, headers=(*made, *headers), content=content)


def session_response(
    to: SipMessage, status: int, *, tag: str, contact: str, headers: Headers = (), sdp: str | None = None
) -> SipMessage:
    """Return a response within a session: with Contact where it makes or refreshes a dialog, and *sdp*."""
    fields: list[tuple[str, str]] = []
    if to.method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER") and 100 < status < 300:
        fields += [("Contact", contact), ("Allow", ALLOW), ("Supported", ", ".join(SUPPORTED))]
    content = b""
    if sdp is not None:
        fields.append(SDP_TYPE)
        content = sdp.encode()
    return response(to, status, tag=tag, headers=(*fields, *headers), content=content)


def acknowledgement(invite: SipMessage, failure: SipMessage) -> SipMessage:
    """Return the ACK of a failure, which belongs to the transaction of the INVITE (section 17.1.1.3)."""
    return _of_transaction(invite, "ACK", failure.first("to") or "")


def cancellation(invite: SipMessage, headers: Headers = ()) -> SipMessage:
    """Return the CANCEL of an INVITE (section 9.1)."""
    made = _of_transaction(invite, "CANCEL", invite.first("to") or "")
    return replace(made, headers=(*made.headers, *headers))


def _of_transaction(invite: SipMessage, method: str, to: str) -> SipMessage:
    number = (invite.first("cseq") or "").partition(" ")[0]
    headers: list[tuple[str, str]] = [("Via", next(invite.items("via")))]
    headers += [("Route", value) for value in invite.all("route")]
    headers += [
        ("From", invite.first("from") or ""),
        ("To", to),
        ("Call-ID", invite.first("call-id") or ""),
        ("CSeq", f"{number} {method}"),
    ]
    return request(method, invite.request_uri, tuple(headers))


def with_source(message: SipMessage, host: str, port: int) -> SipMessage:
    """Return a request whose topmost Via says where it came from (RFC 3261 section 18.2.1, RFC 3581)."""
    first = next((at for at, (name, _) in enumerate(message.headers) if name.lower() in ("via", "v")), None)
    if first is None:
        return message
    name, value = message.headers[first]
    top, *others = list_items(value)
    parts = top.split(";")
    kept = [part for part in parts[1:] if part.partition("=")[0].strip().lower() not in ("received", "rport")]
    asked = any(part.partition("=")[0].strip().lower() == "rport" for part in parts[1:])
    added = [f"received={host}"] + ([f"rport={port}"] if asked else [])
    marked = ", ".join([";".join([parts[0], *kept, *added]), *others])
    headers = (*message.headers[:first], (name, marked), *message.headers[first + 1 :])
    return replace(message, headers=headers)


def without_tag(value: str) -> str:
    """Return a From or To header field without its tag."""
    head, bracket, tail = value.rpartition(">")
    parts = tail.split(";")
    kept = [part for part in parts if part.partition("=")[0].strip().lower() != "tag"]
    return head + bracket + ";".join(kept)
