"""The result of an offer/answer exchange: SRTP keys per m-line and direction, and the peer's identity."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.timestamp import Timestamp
from sipmikey.sdp.mapping import Direction
from sipmikey.ticket.bundle import CryptoSession


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaKeys:
    """The two crypto sessions of one m-line.

    ``index`` is the m-line, from 0; ``mid`` its a=mid value, if any. ``direction`` is what this side does.
    Both sessions are keyed whatever the direction, so that a hold and resume needs no new keys.
    """

    index: int
    mid: str | None
    direction: Direction
    send: CryptoSession
    receive: CryptoSession


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """The keys of a session after an answer.

    ``peer`` is the canonical identity of the other side as the KMS vouches for it, ``called`` the identity
    that was called, ``kms`` the KMS that issued the ticket. ``ticket_id`` is hexadecimal digits that name
    the ticket in logs. ``suite`` is the name of the SRTP suite (`SrtpSuite`, or "other"); where m-lines
    differ, of the first. ``media`` has an entry for each active SRTP m-line. ``changed`` is false when every
    key is what it was before: the running SRTP sessions must then be left alone. ``rekey_interval_s`` is how
    often the ticket demands new keys, in seconds.
    """

    peer: str
    called: str
    kms: str | None
    ticket_id: str
    suite: str
    media: tuple[MediaKeys, ...]
    changed: bool
    rekey_interval_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedOffer:
    """A received offer that passed every check that needs no KMS.

    ``caller`` and ``called`` are canonical identities, ``kms`` the KMS to ask (None when the ticket names
    none: ask your own), ``timestamp`` when the offer
    was made, ``suites`` the acceptable ones in the caller's order. Nothing in it is
    authenticated before the tickets are resolved.
    """

    caller: str
    called: str
    kms: str | None
    ticket_id: str
    timestamp: Timestamp
    suites: tuple[str, ...]
