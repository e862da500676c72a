"""What the messages of single sign-on carry: JSON objects, read as strictly as those of enrolment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sipmikey.kms.enrolment.documents import (
    MAX_NAME,
    VERSION,
    BadEnrolment,
    json_object,
    json_of,
    octets_in,
    text_of,
)
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

PROLOGUE: Final = f"sipmikey enrolment {VERSION} sign-on".encode()
PUBLIC_KEY: Final = Secret(bytes(32))
"""The pre-shared key of the handshake: none, as the two sides share nothing yet. TLS proves the KMS."""

SESSION_LABEL: Final = b"sipmikey enrolment sign-on key"
MAX_SESSION: Final = 8_192
MAX_TEXT: Final = 2_048


def encode_beginning(message: bytes) -> bytes:
    """Return the body of the request that begins a sign-on."""
    return json_of({"version": VERSION, "message": text_of(message)})


def encode_poll(session: bytes) -> bytes:
    """Return the body of the request that asks what has become of it."""
    return json_of({"version": VERSION, "session": text_of(session)})


def decode_request(body: bytes) -> tuple[bytes, bytes]:
    """Return the handshake's message, or the session; the other is empty. Raises `BadEnrolment`."""
    fields = json_object(body, {"version": int, "message": str, "session": str})
    if fields.get("version") != VERSION:
        raise BadEnrolment(f"version {VERSION} is spoken here", field="version")
    if ("message" in fields) == ("session" in fields):
        raise BadEnrolment("a request has a message or a session, and not both")
    if "message" in fields:
        message = octets_in(fields, "message")
        if not message:
            raise BadEnrolment("it is empty", field="message")
        return message, b""
    session = octets_in(fields, "session")
    if len(session) > MAX_SESSION:
        raise BadEnrolment(f"{MAX_SESSION} octets at most", field="session")
    return b"", session


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What the device says first. ``name``: what its user calls it."""

    name: str = ""

    def encode(self) -> bytes:
        """Return the payload of the first message."""
        return json_of({"name": self.name})

    @classmethod
    def decode(cls, payload: bytes) -> Beginning:
        """Read the payload of a first message. Raises `BadEnrolment`."""
        fields = json_object(payload, {"name": str})
        name = printable(fields.get("name", "").strip(), most=None)
        if len(name) > MAX_NAME:
            raise BadEnrolment(f"{MAX_NAME} characters at most", field="name")
        return cls(name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the device shows: where the person signs on, and with which code (RFC 8628 section 3.3)."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in_s: int
    interval_s: int

    def encode(self) -> bytes:
        """Return the payload of the second message."""
        return json_of(
            {
                "user_code": self.user_code,
                "verification_uri": self.verification_uri,
                "verification_uri_complete": self.verification_uri_complete,
                "expires_in": self.expires_in_s,
                "interval": self.interval_s,
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> Begun:
        """Read the payload of a second message. Raises `BadEnrolment`."""
        fields = json_object(payload, None)
        return cls(
            user_code=shown_text(fields, "user_code"),
            verification_uri=web_address(fields, "verification_uri"),
            verification_uri_complete=web_address(fields, "verification_uri_complete", optional=True),
            expires_in_s=_seconds(fields, "expires_in"),
            interval_s=_seconds(fields, "interval"),
        )


def encode_begun(message: bytes, session: bytes) -> bytes:
    """Return the body of the answer to the request that begins a sign-on."""
    return json_of({"version": VERSION, "message": text_of(message), "session": text_of(session)})


def decode_begun(body: bytes) -> tuple[bytes, bytes]:
    """Return the second message and the session. Raises `BadEnrolment`."""
    fields = json_object(body, None)
    return octets_in(fields, "message"), octets_in(fields, "session")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What has become of a sign-on: the number of the ``invitation``, else ask again after ``interval_s``."""

    invitation: str = ""
    interval_s: int = 0

    def encode(self) -> bytes:
        """Return the body of an answer."""
        if self.invitation:
            return json_of({"version": VERSION, "state": "approved", "invitation": self.invitation})
        return json_of({"version": VERSION, "state": "pending", "interval": self.interval_s})

    @classmethod
    def decode(cls, body: bytes) -> State:
        """Read the body of an answer. Raises `BadEnrolment`."""
        fields = json_object(body, None)
        if fields.get("state") == "approved":
            return cls(invitation=shown_text(fields, "invitation"))
        return cls(interval_s=_seconds(fields, "interval"))


def shown_text(fields: Mapping[str, Any], key: str) -> str:
    """Return a text that is shown to a person: nothing in it moves the cursor. Raises `BadEnrolment`."""
    text = fields.get(key)
    if not isinstance(text, str) or not text or len(text) > MAX_TEXT or not text.isprintable():
        raise BadEnrolment("a printable text is needed", field=key)
    return text


def web_address(fields: Mapping[str, Any], key: str, *, optional: bool = False) -> str:
    """Return an http or https address, in ASCII. Raises `BadEnrolment`."""
    if optional and not fields.get(key):
        return ""
    text = shown_text(fields, key)
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or not parts.netloc or not text.isascii() or " " in text:
        raise BadEnrolment("an address of the web is needed", field=key)
    return text


def _seconds(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 86_400:
        raise BadEnrolment("a number of seconds is needed", field=key)
    return value
