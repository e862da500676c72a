"""Which transport a SIP domain wants to be reached by, as its DNS records say (RFC 3263 section 4.1).

The caller of these functions looks up the records. What comes out is a transport to name in the URI; the SRV
and address records of the domain are then those of that transport (RFC 3263 section 4.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

SERVICES: Mapping[str, str] = MappingProxyType({"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"})
"""Transports by the service field of a NAPTR record."""

SRV_PREFIXES: Mapping[str, str] = MappingProxyType(
    {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
)
"""What stands before the domain in the names of its SRV records, by transport."""

_DOMAIN = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naptr:
    """One NAPTR record (RFC 3403 section 4.1). ``replacement``: a domain name, without the final dot."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


def looked_up(uri: str) -> str | None:
    """Return the domain of *uri* (a SIP URI) whose records name a transport; None where nothing is left open.

    A port, ``;transport=``, an IP address, a ``maddr`` and a ``sips:`` URI leave nothing open.
    """
    address = uri.rpartition("<")[2].partition(">")[0]
    scheme, _, rest = address.strip().partition(":")
    if scheme.lower() != "sip":
        return None
    before, *parameters = rest.rpartition("@")[2].partition("?")[0].split(";")
    names = {one.partition("=")[0].strip().lower() for one in parameters}
    if names & {"transport", "maddr"} or not _DOMAIN.fullmatch(before) or len(before) > 253:
        return None
    try:
        ipaddress.ip_address(before)
    except ValueError:
        return before.rstrip(".").lower()
    return None


def transports_of(records: Iterable[Naptr], domain: str) -> tuple[str, ...]:
    """Return the transports that the NAPTR *records* of *domain* name, best first; none where they name none.

    Only replacements within the domain count: a certificate is judged by the name that was asked for, and
    an attacker who forges DNS answers must not choose another.
    """
    own = {f"{prefix}.{domain}": transport for transport, prefix in SRV_PREFIXES.items()}
    ranked = sorted(records, key=lambda record: (record.order, record.preference))
    named = (
        SERVICES.get(record.service.upper())
        for record in ranked
        if record.flags.lower() == "s"
        and not record.regexp
        and SERVICES.get(record.service.upper()) == own.get(record.replacement.rstrip(".").lower())
    )
    return tuple(dict.fromkeys(transport for transport in named if transport is not None))


def with_transport(uri: str, transport: str) -> str:
    """Return *uri*, of which ``looked_up`` gave a domain, with *transport* named."""
    before, bracket, address = uri.rpartition("<")
    inside, closing, after = address.partition(">")
    plain, question, headers = inside.strip().partition("?")
    return f"{before}{bracket}{plain};transport={transport}{question}{headers}{closing}{after}"
