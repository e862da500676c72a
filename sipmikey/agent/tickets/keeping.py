"""The tickets of one agent, of its own calls and of its callers, and the KMS that gives and opens them."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.tickets.file import TicketFile
from sipmikey.agent.tickets.grants import Grants
from sipmikey.agent.tickets.kms import KmsClient, KmsDesk
from sipmikey.agent.tickets.resolved_tickets import ResolvedTickets
from sipmikey.agent.tickets.store import TicketStore
from sipmikey.call.events import Event
from sipmikey.ticket.environment import Environment


class TicketKeeping:
    """Everything about tickets of the agent with *identity*. In the event loop.

    ``store``: tickets for outgoing calls; None without a KMS. ``resolved``: tickets of callers that may be
    used again; None where none are kept. ``kms`` asks the KMS by *client*; ``grants`` gets tickets. *file*
    keeps tickets across restarts. *publish* takes events of the KMS.
    """

    def __init__(
        self,
        config: AgentConfig,
        env: Environment,
        identity: str,
        *,
        file: TicketFile | None,
        client: KmsClient | None,
        publish: Callable[[Event], None],
    ) -> None:
        keys = config.keys
        granted = None if file is None else file.granted
        self.store = None if keys is None else TicketStore(env, keys, identity, granted)
        shelf = None if file is None else file.resolved
        self.resolved = ResolvedTickets(env, shelf) if keys is not None and keys.keep_resolved else None
        self.kms = KmsDesk(
            client, home=keys.kms if keys else "", timeout_s=config.timeouts.kms, publish=publish
        )
        self.grants = Grants(self.store, self.kms, publish)
