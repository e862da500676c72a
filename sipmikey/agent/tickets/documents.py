"""Tickets and their keys as JSON documents, for a file that seals them. What they hold is secret."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import decode_key_data, encode_key_data
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import Modifier, ResolvedTicket


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResolved:
    """A ticket resolved here, and the timestamp of the newest TRANSFER_INIT that was accepted with it."""

    resolved: ResolvedTicket
    newest: Timestamp


def grant_document(grant: TicketGrant) -> dict[str, Any]:
    """Return *grant* as a document."""
    return {
        "ticket": _text(grant.ticket.encode_body()),
        "mpk_i": _text(grant.mpk_i.reveal()),
        "mpk_r": None if grant.mpk_r is None else _text(grant.mpk_r.reveal()),
        "keys": _text(encode_key_data(grant.keys)),
    }


def grant_from(document: dict[str, Any]) -> TicketGrant:
    """Return the grant in a document of `grant_document`. Raises a ``PeerError`` for a later version."""
    ticket = _ticket(document)
    return TicketGrant(
        ticket=ticket,
        policy=TicketPolicy.of(ticket, DEFAULT_LIMITS),
        mpk_i=_secret(document["mpk_i"]),
        mpk_r=None if document["mpk_r"] is None else _secret(document["mpk_r"]),
        keys=decode_key_data(b64decode(document["keys"]), DEFAULT_LIMITS),
    )


def resolved_document(kept: KeptResolved) -> dict[str, Any]:
    """Return a resolved ticket as a document. Of the ticket itself the policy is all that is needed."""
    resolved = kept.resolved
    answerer, modifier = resolved.answerer, resolved.modifier
    forked = None if modifier is None else [_text(modifier.idr.encode_body()), _text(modifier.rand_kms)]
    return {
        "ticket": _text(resolved.policy.ticket(b"").encode_body()),
        "mpk_i": _text(resolved.mpk_i.reveal()),
        "mpk_r": None if resolved.mpk_r is None else _text(resolved.mpk_r.reveal()),
        "keys": _text(encode_key_data(resolved.keys)),
        "answerer": None if answerer is None else _text(answerer.encode_body()),
        "modifier": forked,
        "newest": _text(kept.newest.encode()),
    }


def resolved_from(document: dict[str, Any]) -> KeptResolved:
    """Return the ticket in a document of `resolved_document`. Raises a ``PeerError`` for a later version."""
    answerer, modifier = document["answerer"], document["modifier"]
    return KeptResolved(
        resolved=ResolvedTicket(
            policy=TicketPolicy.of(_ticket(document), DEFAULT_LIMITS),
            mpk_i=_secret(document["mpk_i"]),
            mpk_r=None if document["mpk_r"] is None else _secret(document["mpk_r"]),
            keys=decode_key_data(b64decode(document["keys"]), DEFAULT_LIMITS),
            answerer=None if answerer is None else _idr(answerer),
            modifier=None
            if modifier is None
            else Modifier(idr=_idr(modifier[0]), rand_kms=b64decode(modifier[1])),
        ),
        newest=Timestamp.decode(Reader(b64decode(document["newest"]))),
    )


def _ticket(document: dict[str, Any]) -> TICKET:
    return TICKET.decode_body(Reader(b64decode(document["ticket"])), DEFAULT_LIMITS)


def _idr(text: str) -> IDR:
    return IDR.decode_body(Reader(b64decode(text)), DEFAULT_LIMITS)


def _secret(text: str) -> Secret:
    return Secret(b64decode(text))


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()
