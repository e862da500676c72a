"""The differences between Ticket Request and Ticket Resolve, and what both demand of a header."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.errors import (
    MalformedMessage,
)
from sipmikey.mikey.header import Header
from sipmikey.mikey.registry import (
    CsIdMapType,
    DataType,
    IdRole,
    RandRole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeKind:
    """The numbers that differ between the two exchanges (RFC 6043 sections 4.2.1 and 4.2.3)."""

    name: str
    psk_init: DataType
    pk_init: DataType
    response: DataType
    id_role: IdRole
    rand_role: RandRole

    def rands(self, rand: bytes) -> dict[str, bytes]:
        """Return the client's RAND as the argument of the key derivation it is."""
        return {"rand_i" if self.rand_role is RandRole.INITIATOR else "rand_r": rand}


TICKET_REQUEST = ExchangeKind(
    name="REQUEST",
    psk_init=DataType.REQUEST_INIT_PSK,
    pk_init=DataType.REQUEST_INIT_PK,
    response=DataType.REQUEST_RESP,
    id_role=IdRole.INITIATOR,
    rand_role=RandRole.INITIATOR,
)

TICKET_RESOLVE = ExchangeKind(
    name="RESOLVE",
    psk_init=DataType.RESOLVE_INIT_PSK,
    pk_init=DataType.RESOLVE_INIT_PK,
    response=DataType.RESOLVE_RESP,
    id_role=IdRole.RESPONDER,
    rand_role=RandRole.RESPONDER,
)

KINDS = {
    kind: exchange
    for exchange in (TICKET_REQUEST, TICKET_RESOLVE)
    for kind in (exchange.psk_init, exchange.pk_init)
}
"""Each exchange by the numbers of its INIT messages."""


def check_empty_map(header: Header) -> None:
    """Raise `MalformedMessage` for a header with crypto sessions, which neither exchange has."""
    if header.map_type is not CsIdMapType.EMPTY or header.cs_count:
        raise MalformedMessage(
            "crypto sessions are not handled here: #CS must be 0 with the Empty map",
            field="CS ID map",
            offset=8,
            section="RFC 6043 section 4.2.1.1",
        )
