"""The facts of a dialog that let another process end it (RFC 3261 section 12.2.1.1)."""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from sipmikey.sip import SipMalformed, SipMessage, parse_address, parse_addresses

_HOST = re.compile(r"sips?:(?:[^@]*@)?(\[[^\]]*\]|[^;:?]+)(?::(\d+))?(?:[;?](.*))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """A BYE, and where to send it: ``host``, ``port``, and ``transport`` (``udp``, ``tcp`` or ``tls``).

    ``text`` has ``{via}`` where its Via header field belongs.
    """

    text: str
    host: str
    port: int
    transport: str


class Dialog:
    """Follows the messages of one call."""

    def __init__(self) -> None:
        self._local = self._remote = ""
        self._call_id = self._target = ""
        self._routes: tuple[str, ...] = ()
        self._cseq = 0
        self._over = False

    def take(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        """Take a message of the call, in order."""
        number = (message.first("cseq") or "").partition(" ")[0]
        if direction == "sent" and not message.status and number.isdigit():
            self._cseq = max(self._cseq, int(number))
        if message.method == "BYE":
            self._over = True
        if message.method == "INVITE":
            self._take_invite(direction, message)

    def _take_invite(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        contact = message.first("contact")
        if direction == "received" and contact is not None and message.status // 100 in (0, 2):
            # Contact, in requests and responses, tells where the peer is (target refresh).
            self._target = _uri(contact)
        if message.status // 100 != 2:
            if direction == "received" and not message.status and not self._call_id:
                self._routes = message.all("record-route")
            return
        ours_first = direction == "received"
        one, other = message.first("from") or "", message.first("to") or ""
        if not self._call_id:
            if ours_first:
                self._routes = tuple(reversed(_listed(message.all("record-route"))))
            else:
                self._routes = _listed(self._routes)
            self._local, self._remote = (one, other) if ours_first else (other, one)
        self._call_id = message.first("call-id") or ""

    def replacing(self, uri: str) -> str:
        """Return the Refer-To that has *uri* called in the place of this dialog (RFC 3891 section 6.1)."""
        to_tag, from_tag = (_tag(value) for value in (self._remote, self._local))
        replaces = quote(f"{self._call_id};to-tag={to_tag};from-tag={from_tag}", safe="")
        return f"<{_uri(uri)}?Replaces={replaces}>"

    def farewell(self) -> Farewell | None:
        """Return the BYE that ends the dialog; None where there is none, or it is over."""
        if self._over or not self._call_id or not self._target:
            return None
        next_hop = _HOST.match(_uri(self._routes[0]) if self._routes else self._target)
        if next_hop is None:
            return None
        secure = next_hop[0].lower().startswith("sips:")
        named = re.search(r"transport=(\w+)", next_hop[3] or "", re.IGNORECASE)
        transport = "tls" if secure else named[1].lower() if named else "udp"
        lines = [f"BYE {self._target} SIP/2.0", "Via: {via}", "Max-Forwards: 70"]
        lines += [f"Route: {route}" for route in self._routes]
        lines += [f"From: {self._local}", f"To: {self._remote}", f"Call-ID: {self._call_id}"]
        lines += [f"CSeq: {self._cseq + 1} BYE", 'Reason: SIP;cause=500;text="stack-failed"']
        text = "\r\n".join((*lines, "Content-Length: 0", "", ""))
        port = int(next_hop[2] or (5061 if transport == "tls" else 5060))
        return Farewell(text=text, host=next_hop[1].strip("[]"), port=port, transport=transport)


def via(transport: str, host: str, port: int) -> str:
    """Return the value of a Via header field with a branch of its own."""
    host = f"[{host}]" if ":" in host else host
    return f"SIP/2.0/{transport.upper()} {host}:{port};branch=z9hG4bK{secrets.token_hex(10)};rport"


def _uri(value: str) -> str:
    """Return the first URI in a field of addresses; text that is not one as it is."""
    try:
        return parse_addresses(value)[0].uri
    except SipMalformed:
        return value.partition(";")[0].strip()


def _tag(value: str) -> str:
    try:
        return parse_address(value).tag
    except SipMalformed:
        return ""


def _listed(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the URIs of Record-Route fields, each in brackets; those of a malformed field are left out."""
    uris: list[str] = []
    for value in values:
        with contextlib.suppress(SipMalformed):
            uris += [address.uri for address in parse_addresses(value)]
    return tuple(f"<{uri}>" for uri in uris)
