"""What the calls in the engine's thread need of the agent around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.engine import Engine
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import CallObserver, Lane
from sipmikey.call.consent import Question
from sipmikey.call.events import Event, KmsExchange
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.request import TicketGrant

Asked = Callable[[bytes, float], None]
"""Takes the KMS's response and the milliseconds it took."""

AskKms = Callable[[str, KmsExchange, bytes, str | None, Asked, Callable[[BaseException], None]], None]
"""Asks a KMS: (call, exchange, message, kms, answered, failed)."""

Decided = Callable[[str], None]
"""Takes why the user does not want it, "" for consent."""

Granted = Callable[[str, TicketGrant], None]
"""Takes the identity a ticket is for, and the ticket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a leg needs of the agent. ``ask_kms_now`` does the same as ``ask_kms``, but the engine waits.

    ``ask_ticket``: (call, identities, granted, failed); a ticket for the first of *identities* for which the
    KMS does not refuse one. ``ask_user``: whether another identity will do. ``transfer``: the peer of a call
    asks us to call somebody; as ``CallObserver.transfer_requested``. ``replace``: somebody wants a call's
    place; as ``CallObserver.replacement_asked``.
    """

    config: AgentConfig
    env: Environment
    engine: Engine
    emit: Callable[[Event], None]
    ask_kms: AskKms
    ask_kms_now: AskKms
    ask_ticket: Callable[[str, tuple[str, ...], Granted, Callable[[BaseException], None]], None]
    ask_user: Callable[[Question, Decided], None]
    transfer: Callable[[str, str], CallObserver | int]
    replace: Callable[[str, SipMessage, str, Lane], CallObserver | int]
