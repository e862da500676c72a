"""The record of a decision, and how to ask for records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Exchange(StrEnum):
    """What was asked of the KMS."""

    REQUEST = "request"
    RESOLVE = "resolve"
    ENROLMENT = "enrolment"
    ADMINISTRATION = "administration"
    UNKNOWN = "unknown"


class Decision(StrEnum):
    """What was decided."""

    GRANTED = "granted"
    REFUSED = "refused"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One decision: who asked, for whom, for which ticket, and which rule decided. Never holds key material.

    ``time_ns``: Unix time of the decision. ``subscriber``: name of the authenticated subscriber, "" if none
    authenticated. ``identity``: the identity claimed. ``peers``: the others concerned (responders asked for,
    or the initiator of the ticket being resolved). ``ticket``: ticket identifier in hex, "" if none.
    ``credential``: identifier of the credential used (hex of IDRpsk, or certificate fingerprint); in
    enrolment the credential that was made, else `invitation` and its number, or the device's identifier.
    ``rule``: name of the policy rule that decided, "" where none was reached; in enrolment and
    administration, the act. ``reason``: a word of the closed set of `PeerError.reason`, or "granted",
    "forwarded", "unavailable". ``kms``: the other KMS, if one was involved. ``source``: address the message
    came from.
    """

    time_ns: int
    exchange: Exchange
    decision: Decision
    reason: str
    subscriber: str = ""
    identity: str = ""
    peers: tuple[str, ...] = ()
    ticket: str = ""
    credential: str = ""
    rule: str = ""
    kms: str = ""
    source: str = ""
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return {**asdict(self), "peers": list(self.peers)}


def key_name(credential: str) -> str:
    """Return the psk_id that `AuditEvent.credential` names, "" where it names no key that can be shown.

    A digest of a certificate has as many digits as a psk_id of 32 octets; digests are not text.
    """
    try:
        name = bytes.fromhex(credential).decode()
    except ValueError:
        return ""
    return name if name.isprintable() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which events to return: all conditions given must hold; newest first unless ``oldest_first``.

    ``since_ns`` is inclusive, ``until_ns`` exclusive. ``subscriber`` matches the subscriber's name or the
    claimed identity or a peer; ``limit`` bounds the answer.
    """

    ticket: str | None = None
    subscriber: str | None = None
    decision: Decision | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int = 100
    oldest_first: bool = False
