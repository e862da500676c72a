"""Where requests go."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.agent.config import Transport

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes: *host* is a name or an address. *named*: the URI itself names the transport.

    *open_port*: it does not name a port, and DNS may.
    """

    transport: Transport
    host: str
    port: int
    named: bool = True
    open_port: bool = False


def shown(endpoint: Endpoint) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
