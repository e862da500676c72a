"""The client's address behind reverse proxies that are trusted to tell it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sipmikey.mikey.errors import LocalError

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Addresses and networks whose X-Forwarded-For is believed; ``*`` stands for every address.

    Raises LocalError for an entry that is neither.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        entries = tuple(trusted)
        self._everyone = "*" in entries
        self._networks = tuple(_network(entry) for entry in entries if entry != "*")

    def client(self, address: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return who sent a request that came from *address*: the last hop that is not a trusted proxy."""
        if not self._trusts(address):
            return address
        told = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        hops = [hop.strip() for hop in told.decode("latin-1").split(",") if hop.strip()]
        for hop in reversed(hops):
            if not self._trusts(hop):
                return hop
        return hops[0] if hops else address

    def _trusts(self, address: str) -> bool:
        if self._everyone:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _network(entry: str) -> _Network:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise LocalError(f"a trusted proxy is an address or a network, not {entry!r}") from None
