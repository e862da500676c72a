"""What tickets sent ahead and sessions of groups have in common: exchanges outside of calls."""

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
    """A party that exchanges MIKEY messages outside of calls, with its means.

    ``identity``: canonical. ``send`` carries a message to a URI, by SIP MESSAGE. ``answer_s``: seconds
    that a peer may take to have a ticket resolved and to answer.
    """

    env: Environment
    keys: KeyManagement
    identity: str
    kms: KmsDesk
    send: Send
    answer_s: float
