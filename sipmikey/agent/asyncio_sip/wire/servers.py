"""Where a request may be sent, one server after the other (RFC 3263 section 4.2)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator

from sipmikey.agent.asyncio_sip.wire.target import Endpoint, Target
from sipmikey.agent.network.names import Names
from sipmikey.sip.location import SRV_PREFIXES


async def endpoints(
    target: Target, names: Names | None, *, ipv6: bool, loop: asyncio.AbstractEventLoop
) -> AsyncGenerator[Endpoint, None]:
    """Yield the addresses to try for *target*, best first: of its SRV records where it leaves the port open.

    Without *names* the system resolves the host name. Raises ``OSError`` where it knows none.
    """
    if is_address(target.host):
        yield target.host, target.port
        return
    servers: list[Endpoint] = []
    prefix = SRV_PREFIXES.get(target.transport)
    if names is not None and target.open_port and prefix is not None:
        servers = await names.servers(f"{prefix}.{target.host}")
    for host, port in servers or [(target.host, target.port)]:
        for address in await _addresses(host, names, ipv6=ipv6, loop=loop):
            yield address, port


async def _addresses(
    host: str, names: Names | None, *, ipv6: bool, loop: asyncio.AbstractEventLoop
) -> list[str]:
    if is_address(host):
        return [host]
    if names is not None and (found := await names.addresses(host)):
        return found
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    known = await loop.getaddrinfo(host, None, family=family, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in known))


def is_address(host: str) -> bool:
    """Return whether *host* is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
