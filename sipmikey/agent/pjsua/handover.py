"""Calls of other stack processes behind one SIP port: their messages, passed on as a stateless proxy does.

The process that has the port puts a Via of its own on top of each request for another process, and takes it
off each response (RFC 3261 section 16.11). Peers, proxies and NAT see one address and one connection. Pure
functions on the octets of messages; the branch parameter starts with a secret, so that no other host can
forge such a Via.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Final

from sipmikey.sip import SipMessage

_MAGIC: Final = "z9hG4bK"
_FOLD = re.compile(rb"\r\n[ \t]+")
_VIA = re.compile(rb"^(?:via|v)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_REPLACES = re.compile(rb"^replaces[ \t]*:[ \t]*([^;\r\n]*)", re.IGNORECASE | re.MULTILINE)
_RPORT = re.compile(rb";\s*rport(?=\s*(?:;|$))", re.IGNORECASE)
_RECEIVED = re.compile(rb";\s*received\s*=[^;]*", re.IGNORECASE)
_BRANCH = re.compile(rb"branch\s*=\s*([^\s;,]+)", re.IGNORECASE)
_CONTACT = re.compile(
    rb"^((?:contact|m)[ \t]*:[^\r\n]*<sip:[^>;?\r\n]*?)(?::\d+)?((?:;[^>\r\n]*)?>)",
    re.IGNORECASE | re.MULTILINE,
)
_PARAMETER = re.compile(r";\s*(received|rport)\s*=\s*\[?([^;,\s\]]+)", re.IGNORECASE)


def call_of(message: bytes) -> tuple[bytes, bytes]:
    """Return the Call-ID of a fit message, and the Call-ID in its Replaces header field or ``b""``."""
    head = message.partition(b"\r\n\r\n")[0]
    found, replaced = _CALL_ID.search(head), _REPLACES.search(head)
    return (found[1].strip() if found else b""), (replaced[1].strip() if replaced else b"")


def passed_on(request: bytes, own: str, source: tuple[str, int], secret: str) -> tuple[str, str, bytes]:
    """Return (branch, transport, octets) of *request* for another process.

    *own*: ``host:port`` of ours, for the Via. *source*: where the request came from. The transport is that
    of its topmost Via, in upper case. A retransmission, an ACK and a CANCEL get the branch of their INVITE.
    """
    head, empty, body = request.partition(b"\r\n\r\n")
    head = _FOLD.sub(b" ", head.lstrip(b"\r\n"))
    found = _VIA.search(head)
    assert found is not None, "the screen lets nothing pass without a Via"
    top, comma, rest = found[1].partition(b",")
    given = _BRANCH.search(top)
    name = top if given is None else given[1] + top.partition(b";")[0]
    branch = f"{_MAGIC}{secret}{hashlib.sha256(name).hexdigest()[:24]}"
    transport = top.partition(b";")[0].split()[0].rpartition(b"/")[2] or b"UDP"
    top = _RPORT.sub(b"", _RECEIVED.sub(b"", top))
    host, port = source
    top += f";received={host};rport={port}".encode()
    ours = f"Via: SIP/2.0/UDP {own};branch={branch}\r\nVia: ".encode()
    head = head[: found.start()] + ours + top + comma + rest + head[found.end() :]
    return branch, transport.decode("ascii", "replace").upper(), head + empty + body


def taken_back(response: bytes, secret: str) -> tuple[str, bytes] | None:
    """Return (branch, octets) of a *response* to what was passed on, without our Via; None for others."""
    head, empty, body = response.partition(b"\r\n\r\n")
    found = _VIA.search(head)
    given = None if found is None else _BRANCH.search(found[1].partition(b",")[0])
    if found is None or given is None or not given[1].startswith(f"{_MAGIC}{secret}".encode()):
        return None
    rest = found[1].partition(b",")[2].strip()
    if rest:
        head = head[: found.start(1)] + rest + head[found.end() :]
    else:
        head = head[: found.start()] + head[found.end() :].removeprefix(b"\r\n")
    return given[1].decode(), head + empty + body


def reached_over(response: bytes, transport: str, port: int) -> bytes:
    """Return *response* with a Contact that names *transport* (``tcp``, ``tls``) and our port for it.

    What the peer sends next would else come over UDP, where the call began over TLS.
    """
    head, empty, body = response.partition(b"\r\n\r\n")
    found = _CONTACT.search(head)
    if found is None or b"transport=" in found[2].lower():
        return response
    uri = found[1] + f":{port};transport={transport}".encode() + found[2]
    return head[: found.start()] + uri + head[found.end() :] + empty + body


def as_it_came(message: SipMessage, source: str, secret: str) -> tuple[SipMessage, str]:
    """Return a request as it reached our port, and its source (``host:port``), for a process behind that."""
    first = next(
        (index for index, (name, _) in enumerate(message.headers) if name.lower() in ("via", "v")), None
    )
    if not secret or first is None or f"branch={_MAGIC}{secret}" not in message.headers[first][1]:
        return message, source
    headers = message.headers[:first] + message.headers[first + 1 :]
    stripped = replace(message, headers=headers)
    facts = {key.lower(): value for key, value in _PARAMETER.findall(stripped.first("via") or "")}
    host = facts.get("received", "")
    return stripped, f"{f'[{host}]' if ':' in host else host}:{facts.get('rport', '0')}"
