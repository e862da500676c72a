"""The asyncio face of the user agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

from sipmikey.agent.call import Call, CallFailed, IncomingCall
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.events import Event
from sipmikey.agent.kms import KmsClient


class RegistrationError(CallFailed):
    """The registrar refused or could not be reached."""


class Agent:
    """A SIP user agent whose calls are keyed with MIKEY-TICKET.

    One per process (pjsua2 is a process-wide library). Use it as an async context manager::

        async with Agent(config, kms=client) as agent:
            await agent.register()
            call = await agent.call("sip:bob@example.com")
            await call.established()
            await call.hangup()

    At most ``MAX_CALLS`` calls at a time.
    """

    def __init__(self, config: AgentConfig, *, kms: KmsClient | None = None) -> None: ...

    async def __aenter__(self) -> Agent: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def contact(self) -> str:
        """Our SIP URI on the first transport, with the port in use, to be called without a registrar."""

    async def register(self) -> None:
        """Register and return when the registrar accepted; raises ``RegistrationError``."""

    async def unregister(self) -> None:
        """Remove the registration."""

    async def call(self, uri: str) -> Call:
        """Get a ticket (cached or from the KMS), send the INVITE, and return the call in progress.

        Raises ``CallFailed`` when no INVITE could be sent (KMS, policy, fifth call); failures after that are
        reported by ``Call.established`` and the ``call.end`` event.
        """

    async def prefetch(self, uri: str) -> None:
        """Get a ticket for *uri* now, so that the next ``call`` needs no KMS."""

    async def incoming(self) -> IncomingCall:
        """Wait for the next incoming call that passed the early checks and whose ticket the KMS resolved."""

    def events(self) -> AsyncIterator[Event]:
        """Iterate over everything that happens from now on, until the agent is closed.

        Each iterator has its own queue, so several may run.
        """
