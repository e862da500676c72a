"""Asking DNS which transport a SIP domain prefers (RFC 3263 section 4.1). In the event loop only.

The stack then looks up the SRV and address records of the domain for that transport (RFC 3263 section 4.2).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from sipmikey.agent.config import Sip
from sipmikey.agent.stack import StackError
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sip.location import SRV_PREFIXES, Naptr, looked_up, transports_of, with_transport

_log = logging.getLogger("sipmikey.agent.network.location")

_LIFETIME_S = 3.0
"""How long one question may take, over all name servers."""


class Locator:
    """Names the transport in SIP URIs that leave it open. *port*: of the name servers.

    Raises ``StackError`` where there are name servers to ask and the package that asks is not installed.
    """

    def __init__(self, sip: Sip, *, port: int = 53) -> None:
        self._transports = tuple(str(transport) for transport in sip.transports)
        self._proxy = sip.proxy
        self._resolver: Any = None
        if not sip.name_servers or sip.prefer is not None:
            return
        try:
            from dns.asyncresolver import Resolver
            from dns.resolver import LRUCache
        except ImportError:
            raise StackError("sip.name_servers needs dnspython: pip install 'sipmikey[pjsua2]'") from None
        self._resolver = Resolver(configure=False)
        self._resolver.nameservers = list(sip.name_servers)
        self._resolver.port = port
        self._resolver.lifetime = _LIFETIME_S
        self._resolver.cache = LRUCache(256)

    def asks_about(self, uri: str) -> bool:
        """Return True where DNS is asked before a call to *uri*: not where a proxy decides the route."""
        return self._resolver is not None and not self._proxy and looked_up(uri) is not None

    async def located(self, uri: str) -> str:
        """Return *uri* with the transport that its domain prefers, or unchanged where it names one.

        UDP is not named: the stack takes it by itself, and TCP for what is too large for it.

        Raises ``AgentError`` where the domain names transports, but none that this agent has.
        """
        domain = looked_up(uri)
        if self._resolver is None or domain is None:
            return uri
        transport = await self._transport(domain)
        return uri if transport == "udp" else with_transport(uri, transport)

    async def with_servers(self, sip: Sip) -> Sip:
        """Return *sip* with the proxy, or the registrar where there is no proxy, located."""
        if sip.proxy:
            return replace(sip, proxy=await self.located(sip.proxy))
        return replace(sip, registrar=await self.located(sip.registrar)) if sip.registrar else sip

    async def _transport(self, domain: str) -> str:
        records = [
            Naptr(
                order=found.order,
                preference=found.preference,
                flags=found.flags.decode("latin-1"),
                service=found.service.decode("latin-1"),
                regexp=found.regexp.decode("latin-1"),
                replacement=found.replacement.to_text(omit_final_dot=True),
            )
            for found in await self._ask(domain, "NAPTR")
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
        return await self._with_service(domain)

    async def _with_service(self, domain: str) -> str:
        """Return the first transport of ours for which *domain* has SRV records, UDP where it has none."""
        asked = [(one, SRV_PREFIXES[one]) for one in SRV_PREFIXES if one in self._transports]
        found = await asyncio.gather(*(self._ask(f"{prefix}.{domain}", "SRV") for _, prefix in asked))
        for (transport, _), records in zip(asked, found, strict=True):
            if records:
                return transport
        return "udp" if "udp" in self._transports else self._transports[0]

    async def _ask(self, name: str, kind: str) -> list[Any]:
        """Return the records of *name*; none where there are none, or no name server answers."""
        from dns.exception import DNSException

        try:
            return list(await self._resolver.resolve(name, kind, raise_on_no_answer=False))
        except DNSException as error:
            _log.info("no %s records of %s: %s", kind, name, type(error).__name__)
            return []
