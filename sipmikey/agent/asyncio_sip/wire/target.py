"""Where requests go."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.agent.config import Transport

Endpoint = tuple[str, int]

_PORTS = {Transport.TLS: 5061, Transport.WS: 80, Transport.WSS: 443}


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


def default_port(transport: Transport) -> int:
    """Return the port of a URI without one (RFC 3261 section 19.1.2, RFC 7118 section 5.2)."""
    return _PORTS.get(transport, 5060)


def named_in_uri(transport: Transport) -> str:
    """Return how a ``sip:`` URI names *transport*, ``""`` for the one that needs no name."""
    return {Transport.UDP: "", Transport.WSS: "ws"}.get(transport, str(transport))


def shown(endpoint: Endpoint) -> str:
    """Return ``host:port``, with brackets around an IPv6 address; port 0 is left out."""
    host, port = endpoint
    written = f"[{host}]" if ":" in host else host
    return f"{written}:{port}" if port else written
