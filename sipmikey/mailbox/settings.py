"""What a mailbox takes, from whom, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Depositors(StrEnum):
    """The parties that may leave messages: ``ANYONE``, or ``MEMBERS``, who have a box here and prove it."""

    ANYONE = "anyone"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSettings:
    """``path``: begins the path of every URL. ``keep_s``: seconds until a message is deleted.

    ``message_bytes``: largest deposit. ``box_messages`` and ``box_bytes``: what one box holds.
    ``source_messages``: kept of one source (an IPv4 address, or the /64 of an IPv6 address) at a time.
    """

    path: str = "/mailbox"
    depositors: Depositors = Depositors.ANYONE
    keep_s: float = 30 * 86_400.0
    message_bytes: int = 2_097_152
    box_messages: int = 100
    box_bytes: int = 52_428_800
    source_messages: int = 20
