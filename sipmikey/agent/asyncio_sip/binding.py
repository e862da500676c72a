"""What the registrar and this device know of each other (RFC 5626, RFC 5627)."""

from __future__ import annotations

import uuid

from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.config import Sip, Transport

REG_ID = 1
"""Number of our only flow to the registrar (RFC 5626 section 4.2)."""


class Binding:
    """Our instance, the flow by which the registrar reaches it, and the GRUU that the registrar gave it.

    ``refused``: the first hop cannot do outbound (439). ``flow``: of the registration, None while there is
    none. ``outbound``: the registrar keeps to that flow. ``gruu``: a URI of this device, ``""`` without one.
    """

    def __init__(self, sip: Sip) -> None:
        self._sip = sip
        self.instance = sip.instance or f"urn:uuid:{uuid.uuid4()}"
        self.refused = False
        self.flow: Flow | None = None
        self.outbound = False
        self.gruu = ""

    def asks_for_outbound(self, flow: Flow) -> bool:
        """Return whether a REGISTER on *flow* asks the registrar to keep to it: connections only."""
        return self._sip.outbound and not self.refused and flow.transport is not Transport.UDP

    def offered(self) -> tuple[str, ...]:
        """Return the option tags of a REGISTER."""
        tags = ["path"]
        tags += ["outbound"] if self._sip.outbound and not self.refused else []
        tags += ["gruu"] if self._sip.gruu else []
        return tuple(tags)

    def parameters(self, flow: Flow) -> str:
        """Return the parameters of the Contact in a REGISTER on *flow*."""
        outbound = self.asks_for_outbound(flow)
        number = f";reg-id={REG_ID}" if outbound else ""
        return f';+sip.instance="<{self.instance}>"{number}' if outbound or self._sip.gruu else ""

    def leave(self) -> None:
        """The registration is gone, and with it what it gave."""
        self.flow, self.outbound, self.gruu = None, False, ""

    def is_reached_by(self, flow: Flow) -> bool:
        """Return whether *flow* is that of the registration."""
        return self.flow is not None and self.flow == flow
