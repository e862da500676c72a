"""A MIKEY message as an HTTP body: octets or base64 (RFC 3830 section 10.1 registers both)."""

from __future__ import annotations

import base64
import binascii

from sipmikey.mikey.errors import MalformedMessage
from sipmikey.mikey.registry import MIKEY_VERSION

MEDIA_TYPE = b"application/mikey"


def decode_body(body: bytes) -> tuple[bytes, bool]:
    """Return the message in *body* and whether it came as base64.

    A message starts with its version, octet 1; base64 of one starts with ``A``. White space around and line
    breaks within base64 are accepted (RFC 2045). Raises MalformedMessage for anything else.
    """
    if body[:1] == bytes((MIKEY_VERSION,)):
        return body, False
    text = b"".join(body.split())
    if text[:1] != b"A":
        raise MalformedMessage(
            "neither a MIKEY message (version 1) nor base64 of one", field="body", offset=0
        )
    try:
        message = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise MalformedMessage("not valid base64", field="body", section="RFC 4648 section 4") from None
    return message, True


def encode_body(message: bytes, *, as_base64: bool) -> bytes:
    """Return *message* as a body, in the encoding the request came in."""
    return base64.b64encode(message) if as_base64 else message
