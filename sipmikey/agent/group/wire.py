"""The messages between the chair of a group and its members, in the body of SIP MESSAGEs (RFC 3428)."""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from sipmikey.mikey.errors import MalformedMessage

MEDIA_TYPE = "application/vnd.sipmikey.group+json"

MOST_OCTETS = 16384

_CONTACT = re.compile(r"sips?:[^\s<>\"?]{1,200}")

VERBS = frozenset({"join", "key", "taken", "refused", "said"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMessage:
    """One message about the session of *group* (canonical URI).

    ``verb``: ``join`` asks the chair for the key; ``key`` carries TRANSFER_INIT and ``taken`` TRANSFER_RESP
    in ``octets``; ``said`` carries an SRTCP packet (`sipmikey.media.talk`). ``refused`` says why not, in
    ``reason`` and ``detail``. ``proof``: an SRTCP packet under the present key, of a ``key`` (see
    `fingerprint`) or ``refused`` within a session; before there is a key, nothing proves them. ``media``: the
    multicast address, ``HOST:PORT``. ``contact``: where the sender can be reached without a proxy.
    """

    group: str
    verb: str
    octets: bytes = b""
    proof: bytes = b""
    media: str = ""
    contact: str = ""
    reason: str = ""
    detail: str = ""

    @property
    def carries_mikey(self) -> bool:
        """True where ``octets`` is a message of MIKEY."""
        return self.verb in ("key", "taken")

    def encode(self) -> str:
        """Return the body."""
        fields = {
            "group": self.group,
            "verb": self.verb,
            "octets": b64encode(self.octets).decode(),
            "proof": b64encode(self.proof).decode(),
            "media": self.media,
            "contact": self.contact,
            "reason": self.reason,
            "detail": self.detail,
        }
        return json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":"))

    @classmethod
    def decode(cls, body: bytes) -> GroupMessage:
        """Read a body; raise `MalformedMessage` that names the field."""
        if len(body) > MOST_OCTETS:
            raise MalformedMessage(f"{len(body)} octets", field="body")
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            raise MalformedMessage("not JSON", field="body") from None
        if not isinstance(fields, dict):
            raise MalformedMessage("not a JSON object", field="body")
        texts = {
            name: fields.get(name, "") for name in ("group", "verb", "media", "contact", "reason", "detail")
        }
        for name, text in texts.items():
            if not isinstance(text, str) or not text.isprintable():
                raise MalformedMessage("not a text on one line", field=name)
        if texts["verb"] not in VERBS or not texts["group"]:
            raise MalformedMessage("a message needs a group and a known verb", field="verb")
        if texts["contact"] and not _CONTACT.fullmatch(texts["contact"]):
            raise MalformedMessage("not a SIP URI", field="contact")
        return cls(octets=_octets(fields, "octets"), proof=_octets(fields, "proof"), **texts)


def fingerprint(octets: bytes) -> str:
    """Return what the chair says about a TRANSFER_INIT under the present key: its SHA-256, in hexadecimal."""
    return hashlib.sha256(octets).hexdigest()


def _octets(fields: dict[str, object], name: str) -> bytes:
    text = fields.get(name, "")
    try:
        if isinstance(text, str):
            return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        """Refused below."""
    raise MalformedMessage("not base64", field=name)


def media_address(text: str) -> tuple[str, int]:
    """Return the multicast address and port in ``HOST:PORT``; raise `MalformedMessage`.

    An IPv6 address stands in brackets.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        address = IPv6Address(host) if bracketed else IPv4Address(host)
    except ValueError:
        raise MalformedMessage(f"{text!r} has no IP address", field="media") from None
    if not address.is_multicast:
        raise MalformedMessage(f"{host} is not a multicast address", field="media")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise MalformedMessage(f"{text!r} has no port", field="media")
    return host, int(port)
