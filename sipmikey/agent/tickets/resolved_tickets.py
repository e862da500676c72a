"""Tickets of callers that were resolved here before and may be used again (RFC 6043 section 5.3)."""

from __future__ import annotations

from sipmikey.agent.tickets.documents import KeptResolved
from sipmikey.agent.tickets.file import SealedShelf
from sipmikey.agent.tickets.shelf import MemoryShelf, Shelf
from sipmikey.mikey.errors import ReplayedMessage, TicketNotValid
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.resolve import ResolvedTicket


class ResolvedTickets:
    """Tickets that allow reuse (J) and were resolved here, by their names. In the engine's thread.

    While one is kept the KMS is not asked about it again, and so cannot refuse it. *shelf*: where they are
    kept across restarts. The newest timestamp stands for the uses before this process started, which its
    replay cache does not know.
    """

    def __init__(self, env: Environment, shelf: SealedShelf[KeptResolved] | None = None) -> None:
        self._env = env
        self._kept: Shelf[KeptResolved] = MemoryShelf() if shelf is None else shelf
        self._before = {} if shelf is None else {name: kept.newest for name, kept in shelf.all()}

    def keep(self, ticket_id: str, resolved: ResolvedTicket, timestamp: Timestamp) -> None:
        """Keep *resolved* if its ticket may be reused. *timestamp*: that of the TRANSFER_INIT."""
        if resolved.policy.flags.reusable:
            self._kept.put(ticket_id, KeptResolved(resolved=resolved, newest=timestamp))

    def get(self, ticket_id: str) -> ResolvedTicket | None:
        """Return what is kept of a ticket while it is valid."""
        kept = self._kept.get(ticket_id)
        if kept is None:
            return None
        try:
            kept.resolved.policy.check_validity(self._env.now_ns())
        except TicketNotValid:
            self._kept.drop(ticket_id)
            return None
        return kept.resolved

    def used(self, ticket_id: str, timestamp: Timestamp) -> None:
        """Note a verified TRANSFER_INIT that used a kept ticket.

        Raises ``ReplayedMessage`` for a message that is not newer than all that came before this process
        started.
        """
        if (before := self._before.get(ticket_id)) is not None and not _newer(timestamp, before):
            raise ReplayedMessage("this message is from before a restart", field="T")
        kept = self._kept.get(ticket_id)
        if kept is not None and _newer(timestamp, kept.newest):
            self._kept.put(ticket_id, KeptResolved(resolved=kept.resolved, newest=timestamp))


def _newer(one: Timestamp, other: Timestamp) -> bool:
    if one.is_clock and other.is_clock:
        return one.unix_ns() > other.unix_ns()
    return one.ts_type is other.ts_type and one.value > other.value
