"""A presence document (PIDF, RFC 3863): read and written. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from sipmikey.sip.errors import SipMalformed

MEDIA_TYPE = "application/pidf+xml"
EVENT = "presence"

LONGEST = 65_536
"""Octets of the longest document that is read."""

_PIDF = "urn:ietf:params:xml:ns:pidf"
_PERSON = "urn:ietf:params:xml:ns:pidf:data-model"
_LONGEST_NOTE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """``entity``: whose, a URI. ``open``: can be reached, None where that is not told. ``note``: in words,
    at most 200 characters."""

    entity: str
    open: bool | None = None
    note: str = ""

    def encode(self) -> bytes:
        """Return the document, with one tuple (section 4.1)."""
        note = f"<note>{escape(self.note)}</note>" if self.note else ""
        basic = "" if self.open is None else f"<basic>{'open' if self.open else 'closed'}</basic>"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<presence xmlns="{_PIDF}" entity={quoteattr(self.entity)}>'
            f'<tuple id="a"><status>{basic}</status>{note}</tuple></presence>\n'
        ).encode()


def parse_presence(body: bytes) -> Presence:
    """Read a document: open where one of its tuples is, and the first note.

    Raises ``SipMalformed``, which names what is wrong; also for a DTD, which no such document has.
    """
    # Only who watches somebody needs it.
    from defusedxml.ElementTree import ParseError, fromstring

    if len(body) > LONGEST:
        raise SipMalformed(f"the presence document has {len(body)} octets, at most {LONGEST}", field="body")
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as error:
        raise SipMalformed(f"the presence document cannot be read: {error}", field="body") from None
    if root.tag != f"{{{_PIDF}}}presence":
        raise SipMalformed("the document is not of presence (RFC 3863)", field="presence")
    entity = str(root.get("entity") or "").strip()
    if not entity:
        raise SipMalformed("the presence document says not whose it is", field="entity")
    words = {_text(found) for found in root.iterfind(f"{{{_PIDF}}}tuple/{{{_PIDF}}}status/{{{_PIDF}}}basic")}
    if words - {"open", "closed"}:
        raise SipMalformed("basic is neither open nor closed", field="basic")
    return Presence(entity=entity, open="open" in words if words else None, note=_note(root))


def _note(root: Any) -> str:
    for path in (
        f"{{{_PIDF}}}note",
        f"{{{_PIDF}}}tuple/{{{_PIDF}}}note",
        f"{{{_PERSON}}}person/{{{_PERSON}}}note",
    ):
        for found in root.iterfind(path):
            if text := " ".join(_text(found).split()):
                return text[:_LONGEST_NOTE]
    return ""


def _text(element: Any) -> str:
    return (element.text or "").strip()
