"""What the exchanges outside of calls have in common: tickets sent ahead, and sessions of groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.ticket.environment import Environment

Send = Callable[[str, str], None]
"""Sends a body to a SIP URI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correspondent:
    """Who exchanges MIKEY messages outside of calls, and by what means.

    ``identity``: canonical. ``send`` carries a message to somebody, by SIP MESSAGE. ``answer_s``: how long
    somebody may take to have a ticket resolved and to answer, in seconds.
    """

    env: Environment
    keys: KeyManagement
    identity: str
    kms: KmsDesk
    send: Send
    answer_s: float
