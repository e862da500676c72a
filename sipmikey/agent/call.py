"""One call as the application sees it."""

from __future__ import annotations

from sipmikey.agent.events import CallEnded, Security, Stats
from sipmikey.agent.reasons import Reason, Side


class CallFailed(Exception):
    """A call did not come about, or ended. ``reason``, ``side``, ``status`` (SIP) and ``detail`` say why."""

    def __init__(self, reason: Reason, side: Side, status: int, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.side = side
        self.status = status
        self.detail = detail


class Call:
    """A call in progress, made by ``Agent.call`` or ``IncomingCall.answer``.

    ``number``: the agent's own number of the call, the ``call`` field of its events.
    """

    number: str

    @property
    def security(self) -> Security:
        """Signalling, media and peer, as they are now."""

    async def established(self) -> None:
        """Return when the call is answered and its media keyed; raises ``CallFailed``."""

    async def proven(self) -> None:
        """Return when every stream received a packet that verified; raises ``CallFailed`` when time is up."""

    async def ended(self) -> CallEnded:
        """Wait for the end of the call and say why it came. Never raises ``CallFailed``."""

    async def hangup(self) -> CallEnded:
        """End the call (CANCEL or BYE) and wait until it is over."""

    async def stats(self) -> Stats:
        """Packet counts now, or the final ones when the call is over."""

    async def hold(self) -> None: ...

    async def resume(self) -> None: ...

    async def rekey(self) -> None:
        """Replace the SRTP keys by a CSB update, without a gap."""

    async def send_dtmf(self, digits: str) -> None:
        """Send *digits* (0-9 * # A-D) as telephone events (RFC 4733)."""

    async def transfer(self, target: str | Call) -> None:
        """Blind transfer to a URI, or attended transfer to the peer of another call of this agent."""


class IncomingCall:
    """A call that rings: checked, and its ticket resolved (``security`` shows the caller vouched for)."""

    number: str
    caller: str
    called: str
    security: Security

    async def ring(self) -> None:
        """Send 180 Ringing."""

    async def answer(self) -> Call:
        """Send 200 with TRANSFER_RESP, key the media, return the established call; raises ``CallFailed``."""

    async def reject(self, status: int = 603) -> None:
        """Refuse with a SIP *status* from 300 to 699 (486 busy, 603 decline)."""

    async def ended(self) -> CallEnded:
        """Wait until the caller gave up (or the call was rejected)."""
