"""What anybody can read in a deposit, who need not be the addressee: nothing of it is verified. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.errors import InvalidIdentity, LocalError, UnexpectedMessage, UnsupportedDataType
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import DataType, IdRole
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.ticket.identity import canonical, identity_text
from sipmikey.ticket.policy import TicketPolicy

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositFacts:
    """What TRANSFER_INIT says of itself; no KMS has vouched for it.

    ``sender``, ``addressee``: canonical URIs. ``kms``: who can resolve the ticket, "" where it names nobody.
    ``sent`` and ``valid_until`` (the end of the ticket's validity, 0 for none): Unix seconds.
    """

    sender: str
    addressee: str
    kms: str
    sent: float
    valid_until: float


def facts_of(transfer_init: bytes, limits: Limits = DEFAULT_LIMITS) -> DepositFacts:
    """Read TRANSFER_INIT; raise the `PeerError` that says which field cannot be read."""
    message = Message.parse(transfer_init, limits)
    if message.header.data_type is not DataType.TRANSFER_INIT:
        raise UnsupportedDataType(
            f"expected TRANSFER_INIT, got {message.header.data_type.name}", field="data type", offset=1
        )
    ticket = message.find(TICKET)
    if ticket is None:
        raise UnexpectedMessage("a message that is left has a ticket", field="TICKET")
    policy = TicketPolicy.of(ticket, limits)
    sender = _named(message, IdRole.INITIATOR) or policy.initiator
    addressee = _named(message, IdRole.RESPONDER) or policy.responders[0]
    if sender is None:
        raise InvalidIdentity("names no sender", field="IDRi")
    sent = message.one(T).timestamp
    until = policy.valid_until
    return DepositFacts(
        sender=_canonical(sender, "IDRi"),
        addressee=_canonical(addressee, "IDRr"),
        kms=policy.kms or "",
        sent=sent.unix_ns() / _NS if sent.is_clock else 0.0,
        valid_until=0.0 if until is None else until.unix_ns() / _NS,
    )


def _named(message: Message, role: IdRole) -> str | None:
    payload = message.find(IDR, role)
    return None if payload is None else identity_text(payload)


def _canonical(uri: str, field: str) -> str:
    try:
        return canonical(uri)
    except LocalError as error:
        raise InvalidIdentity(str(error), field=field) from None
