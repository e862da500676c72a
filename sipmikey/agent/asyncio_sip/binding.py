"""What the registrar and this device know of each other (RFC 5626, RFC 5627)."""

from __future__ import annotations

import uuid
from ipaddress import ip_address

from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.target import Endpoint
from sipmikey.agent.config import Sip, Transport
from sipmikey.sip import SipMessage

REG_ID = 1
"""Number of our only flow to the registrar (RFC 5626 section 4.2)."""


class Binding:
    """Our instance, the flow by which the registrar reaches it, and the GRUU that the registrar gave it.

    ``refused``: the first hop cannot do outbound (439). ``flow``: of the registration, None while there is
    none. ``outbound``: the registrar keeps to that flow. ``gruu``: a URI of this device, ``""`` without one.
    ``outside``: our address as the registrar sees it, behind a NAT.
    """

    def __init__(self, sip: Sip) -> None:
        self._sip = sip
        self.instance = sip.instance or f"urn:uuid:{uuid.uuid4()}"
        self.refused = False
        self.flow: Flow | None = None
        self.outbound = False
        self.gruu = ""
        self.outside: Endpoint | None = None
        self._outside_of: Endpoint | None = None

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

    def look_outside(self, message: SipMessage, flow: Flow) -> bool:
        """Take our address from the Via of a response (RFC 3581); return whether it is another than we said.

        Over UDP: a connection is found again by itself. A configured address (``public_address``) stands.
        """
        via = message.top_via
        if flow.transport is not Transport.UDP or self._sip.public_address or via is None:
            return False
        host, port = via.parameter("received") or flow.local[0], via.parameter("rport") or ""
        try:
            seen = (str(ip_address(host.strip("[]"))), int(port))
        except ValueError:
            return False
        if not 0 < seen[1] < 65536 or seen == self.address(flow):
            return False
        self.outside, self._outside_of = seen, flow.remote
        return True

    def address(self, flow: Flow) -> Endpoint:
        """Return our address for the other end of *flow*."""
        if self.outside is not None and flow.transport is Transport.UDP and flow.remote == self._outside_of:
            return self.outside
        return flow.local

    def forget_outside(self) -> None:
        """Our address is another one."""
        self.outside = None

    def leave(self) -> None:
        """The registration is gone, and with it what it gave."""
        self.flow, self.outbound, self.gruu = None, False, ""

    def is_reached_by(self, flow: Flow) -> bool:
        """Return whether *flow* is that of the registration."""
        return self.flow is not None and self.flow == flow
