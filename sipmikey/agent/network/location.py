"""Asking DNS which transport a SIP domain prefers (RFC 3263 section 4.1). In the event loop only.

The stack then looks up the SRV and address records of the domain for that transport (RFC 3263 section 4.2).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sipmikey.agent.config import Sip
from sipmikey.agent.network.names import Names
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sip.location import SRV_PREFIXES, Naptr, looked_up, transports_of, with_transport


class Locator:
    """Names the transport in SIP URIs that leave it open. *port*: of the name servers.

    Raises ``StackError`` where there are name servers to ask and the package that asks is not installed.
    """

    def __init__(self, sip: Sip, *, port: int = 53) -> None:
        self._transports = tuple(str(transport) for transport in sip.transports)
        self._proxy = sip.proxy
        self._names: Names | None = None
        if sip.name_servers and sip.prefer is None:
            self._names = Names(sip, port=port)

    def asks_about(self, uri: str) -> bool:
        """Return True where DNS is asked before a call to *uri*: not where a proxy decides the route."""
        return self._names is not None and not self._proxy and looked_up(uri) is not None

    async def located(self, uri: str) -> str:
        """Return *uri* with the transport that its domain prefers, or unchanged where it names one.

        UDP is not named: the stack takes it by itself, and TCP for what is too large for it.

        Raises ``AgentError`` where the domain names transports, but none that this agent has.
        """
        domain = looked_up(uri)
        if self._names is None or domain is None:
            return uri
        transport = await self._transport(self._names, domain)
        return uri if transport == "udp" else with_transport(uri, transport)

    async def with_servers(self, sip: Sip) -> Sip:
        """Return *sip* with the proxy, or the registrar where there is no proxy, located."""
        if sip.proxy:
            return replace(sip, proxy=await self.located(sip.proxy))
        return replace(sip, registrar=await self.located(sip.registrar)) if sip.registrar else sip

    async def _transport(self, names: Names, domain: str) -> str:
        records = [
            Naptr(
                order=found.order,
                preference=found.preference,
                flags=found.flags.decode("latin-1"),
                service=found.service.decode("latin-1"),
                regexp=found.regexp.decode("latin-1"),
                replacement=found.replacement.to_text(omit_final_dot=True),
            )
            for found in await names.ask(domain, "NAPTR")
        ]
        wanted = transports_of(records, domain)
        for transport in wanted:
            if transport in self._transports:
                return transport
        if wanted:
            raise AgentError(
                Reason.TRANSPORT_FAILED,
                f"{domain} takes SIP over {' or '.join(wanted)} only, by its NAPTR records: add one of these"
                " to sip.transports",
                side="local",
            )
        return await self._with_service(names, domain)

    async def _with_service(self, names: Names, domain: str) -> str:
        """Return the first transport of ours for which *domain* has SRV records, UDP where it has none."""
        asked = [(one, SRV_PREFIXES[one]) for one in SRV_PREFIXES if one in self._transports]
        found = await asyncio.gather(*(names.ask(f"{prefix}.{domain}", "SRV") for _, prefix in asked))
        for (transport, _), records in zip(asked, found, strict=True):
            if records:
                return transport
        return "udp" if "udp" in self._transports else self._transports[0]
