"""Asking DNS servers, by dnspython. In an event loop."""

from __future__ import annotations

import logging
from typing import Any

from sipmikey.agent.config import Sip
from sipmikey.agent.stack import StackError

_log = logging.getLogger("sipmikey.agent.network.names")

_LIFETIME_S = 3.0
"""How long one question may take, over all name servers."""


class Names:
    """Asks the name servers of *sip*. *port*: of those servers.

    Raises ``StackError`` where the package that asks is not installed.
    """

    def __init__(self, sip: Sip, *, port: int = 53) -> None:
        try:
            from dns.asyncresolver import Resolver
            from dns.resolver import LRUCache
        except ImportError:
            raise StackError("sip.name_servers needs dnspython: pip install dnspython") from None
        resolver = Resolver(configure=False)
        resolver.nameservers = list(sip.name_servers)
        resolver.port = port
        resolver.lifetime = _LIFETIME_S
        resolver.cache = LRUCache(256)
        self._resolver: Any = resolver
        self._address_kind = "AAAA" if sip.ipv6 else "A"

    async def ask(self, name: str, kind: str) -> list[Any]:
        """Return the records of *name*; none where there are none, or no name server answers."""
        return [] if (found := await self._answer(name, kind)) is None else list(found)

    async def servers(self, name: str) -> list[tuple[str, int]]:
        """Return host and port of the SRV records of *name*, in the order to try them (RFC 2782)."""
        found = await self._answer(name, "SRV")
        if found is None or found.rrset is None:
            return []
        records = found.rrset.processing_order()
        return [(record.target.to_text(omit_final_dot=True), int(record.port)) for record in records]

    async def addresses(self, host: str) -> list[str]:
        """Return the IP addresses of *host*, of our IP version."""
        return [record.address for record in await self.ask(host, self._address_kind)]

    async def _answer(self, name: str, kind: str) -> Any:
        from dns.exception import DNSException

        try:
            return await self._resolver.resolve(name, kind, raise_on_no_answer=False)
        except DNSException as error:
            _log.info("no %s records of %s: %s", kind, name, type(error).__name__)
            return None
