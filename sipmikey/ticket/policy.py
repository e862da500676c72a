"""Ticket Policy: what TP and TICKET say about a ticket (RFC 6043 section 6.10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from sipmikey.keys.suite import Suite, suite_of
from sipmikey.mikey.errors import (
    InvalidTicket,
    InvalidTicketPolicy,
    LocalError,
    TicketNotValid,
)
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData, decode_key_data, encode_key_data
from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
from sipmikey.mikey.message import all_payloads, find_payload
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.registry import EncrAlg, IdRole, KeyDataType, MacAlg, TicketType, TsRole, TsType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TP, PolicyFields, TicketFlags
from sipmikey.mikey.timestamp import TR, Timestamp
from sipmikey.native import native
from sipmikey.ticket.identity import identity_text, matches, uri_identity

FULL_MODE = TicketFlags.of("DEFGHILMNO")
"""Mode 1 with key forking and both RANDs, both sides free to rekey: the default of a call."""

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedKey:
    """A session key asked for: its type and its length in bytes."""

    key_type: KeyDataType = KeyDataType.TGK
    length: int
    salt_length: int = 0

    def __post_init__(self) -> None:
        if not self.key_type.is_session_key:
            raise LocalError("an MPK is not asked for")
        if self.key_type.has_salt != bool(self.salt_length):
            raise LocalError(f"a {self.key_type.name} key has {'a' if self.key_type.has_salt else 'no'} salt")


_NAMES = {
    "suite": "PRF Func",
    "flags": "Flags",
    "responders": "IDRr",
    "kms": "IDRkms",
    "initiator": "IDRi",
    "valid_from": "TRs",
    "valid_until": "TRe",
    "rekeying_interval_s": "TRr",
    "applications": "IDRapp",
    "requested_keys": "KEMAC",
    "ticket_type": "Ticket Type",
    "subtype": "Subtype",
    "version": "Version",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketPolicy:
    """A Ticket Policy. Identities are URIs as the payloads give them.

    ``suite`` follows from the PRF Func. ``rekeying_interval_s`` is TRr. ``requested_keys`` is the KEMAC of a
    TP; empty leaves the choice to the KMS, and a granted policy has none. Without ``responders`` no one may
    resolve the ticket, so at least one is required.
    """

    suite: Suite
    flags: TicketFlags
    responders: tuple[str, ...]
    kms: str | None = None
    initiator: str | None = None
    valid_from: Timestamp | None = None
    valid_until: Timestamp | None = None
    rekeying_interval_s: int | None = None
    applications: tuple[str, ...] = ()
    requested_keys: tuple[RequestedKey, ...] = ()
    ticket_type: TicketType | int = TicketType.MIKEY_BASE
    subtype: int = 1
    version: int = 1

    def __post_init__(self) -> None:
        if not self.responders:
            raise LocalError("a ticket policy names at least one responder")

    def allows_responder(self, identity: str) -> bool:
        """Return whether *identity* is, or fits, one of the responders."""
        return any(matches(responder, identity) for responder in self.responders)

    def differences(self, other: TicketPolicy) -> tuple[str, ...]:
        """Return the payloads and fields (RFC 6043 section 6.10) in which two policies differ."""
        return tuple(
            _NAMES.get(name.name, name.name)
            for name in dataclasses.fields(self)
            if getattr(self, name.name) != getattr(other, name.name)
        )

    def check_validity(self, now_ns: int) -> None:
        """Raise `TicketNotValid` outside the validity period."""
        if self.valid_from is not None and now_ns < self.valid_from.unix_ns():
            wait = (self.valid_from.unix_ns() - now_ns) / _NS
            raise TicketNotValid(f"the ticket becomes valid in {wait:.0f} s", field="TRs")
        if self.valid_until is not None and now_ns >= self.valid_until.unix_ns():
            past = (now_ns - self.valid_until.unix_ns()) / _NS
            raise TicketNotValid(f"the ticket expired {past:.0f} s ago", field="TRe")

    def check_validity_order(self) -> None:
        """Raise `InvalidTicketPolicy` when the validity ends before it starts."""
        if self.valid_from is None or self.valid_until is None:
            return
        if self.valid_until.unix_ns() <= self.valid_from.unix_ns():
            raise InvalidTicketPolicy("the validity ends before it starts", field="TRe")

    def without_requested_keys(self) -> Self:
        """Return this policy as it is granted, without the desired KEMAC."""
        return replace(self, requested_keys=())

    def check_type(self) -> None:
        """Raise `InvalidTicket` unless this is the MIKEY base ticket of RFC 6043, Appendix A."""
        if (self.ticket_type, self.subtype, self.version) != (TicketType.MIKEY_BASE, 1, 1):
            raise InvalidTicket(
                f"type {int(self.ticket_type)}, subtype {self.subtype}, version {self.version}"
                " is not the MIKEY base ticket",
                field="Ticket Type",
            )

    def check_keys(self, keys: Sequence[KeyData]) -> None:
        """Raise `InvalidTicketPolicy` when a TGK is forked but TRANSFER_RESP is not sent."""
        forks_tgk = self.flags.key_forking and any(key.key_type.is_tgk for key in keys)
        if forks_tgk and not self.flags.response_sent:
            raise InvalidTicketPolicy(
                "I with a TGK in the ticket implies F", field="flags", section="RFC 6043 section 6.10"
            )

    def tp(self) -> TP:
        """Return this policy as a TP payload."""
        return TP(
            ticket_type=self.ticket_type,
            subtype=self.subtype,
            version=self.version,
            prf=self.suite.prf,
            flags=self.flags,
            payloads=self._payloads(),
        )

    def ticket(self, ticket_data: bytes) -> TICKET:
        """Return this policy, granted, as a TICKET payload without Initiator Data."""
        if self.requested_keys:
            raise LocalError("a granted policy has no KEMAC (RFC 6043 section 6.10)")
        return TICKET(
            ticket_type=self.ticket_type,
            subtype=self.subtype,
            version=self.version,
            prf=self.suite.prf,
            flags=self.flags,
            payloads=self._payloads(),
            ticket_data=ticket_data,
        )

    def _payloads(self) -> tuple[Payload, ...]:
        payloads: list[Payload] = []
        if self.kms is not None:
            payloads.append(uri_identity(IdRole.KMS, self.kms))
        if self.initiator is not None:
            payloads.append(uri_identity(IdRole.INITIATOR, self.initiator))
        if self.valid_from is not None:
            payloads.append(TR(role=TsRole.START, timestamp=self.valid_from))
        if self.valid_until is not None:
            payloads.append(TR(role=TsRole.END, timestamp=self.valid_until))
        if self.rekeying_interval_s is not None:
            interval = Timestamp(ts_type=TsType.NTP_UTC_32, value=self.rekeying_interval_s)
            payloads.append(TR(role=TsRole.REKEYING, timestamp=interval))
        if self.requested_keys:
            payloads.append(_desired_kemac(self.requested_keys))
        payloads += [uri_identity(IdRole.APPLICATION, item) for item in self.applications]
        payloads += [uri_identity(IdRole.RESPONDER, item) for item in self.responders]
        return tuple(payloads)

    @staticmethod
    def of(fields: PolicyFields, limits: Limits = DEFAULT_LIMITS) -> TicketPolicy:
        """Read the policy of a TP or TICKET payload.

        Raises `MalformedMessage` for a payload given twice, `InvalidTicketPolicy` for one that RFC 6043
        section 6.10 forbids. Unexpected payloads are ignored.
        """
        return read_policy(fields, limits)


@native
def read_policy(fields: PolicyFields, limits: Limits) -> TicketPolicy:
    """Read the policy of a TP or TICKET payload, as `TicketPolicy.of` says."""
    payloads = fields.payloads
    responders = tuple(identity_text(item) for item in all_payloads(payloads, IDR, IdRole.RESPONDER))
    if not responders:
        raise InvalidTicketPolicy("names no responder", field="IDRr", section="RFC 6043 section 6.10")
    applications = all_payloads(payloads, IDR, IdRole.APPLICATION)
    return TicketPolicy(
        suite=suite_of(fields.prf),
        flags=fields.flags,
        responders=responders,
        kms=_identity(payloads, IdRole.KMS),
        initiator=_identity(payloads, IdRole.INITIATOR),
        valid_from=_limit(payloads, TsRole.START),
        valid_until=_limit(payloads, TsRole.END),
        rekeying_interval_s=_interval(payloads),
        applications=tuple(identity_text(item) for item in applications),
        requested_keys=_requested_keys(fields, limits),
        ticket_type=fields.ticket_type,
        subtype=fields.subtype,
        version=fields.version,
    )


def _desired_kemac(keys: Sequence[RequestedKey]) -> KEMAC:
    """The KEMAC of a TP: NULL algorithms, key data set to zero (RFC 6043 section 6.10)."""
    zeros = [
        KeyData(
            key_type=key.key_type,
            key=Secret(bytes(key.length)),
            salt=Secret(bytes(key.salt_length)) if key.key_type.has_salt else None,
        )
        for key in keys
    ]
    return KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data(zeros))


def _requested_keys(fields: PolicyFields, limits: Limits) -> tuple[RequestedKey, ...]:
    kemac = find_payload(fields.payloads, KEMAC)
    if kemac is None:
        return ()
    if isinstance(fields, TICKET):
        raise InvalidTicketPolicy("a granted policy has no KEMAC", field="TICKET KEMAC")
    if kemac.encr_alg is not EncrAlg.NULL or kemac.mac_alg is not MacAlg.NULL:
        raise InvalidTicketPolicy("the algorithms must be NULL", field="TP KEMAC")
    keys = decode_key_data(kemac.encr_data, limits)
    if any(not key.key_type.is_session_key for key in keys):
        raise InvalidTicketPolicy("an MPK is not asked for", field="TP KEMAC")
    return tuple(
        RequestedKey(key_type=key.key_type, length=len(key.key), salt_length=len(key.salt or b""))
        for key in keys
    )


def _identity(payloads: Sequence[Payload], role: IdRole) -> str | None:
    payload = find_payload(payloads, IDR, role)
    return None if payload is None else identity_text(payload)


def _limit(payloads: Sequence[Payload], role: TsRole) -> Timestamp | None:
    payload = find_payload(payloads, TR, role)
    if payload is None:
        return None
    if not payload.timestamp.is_clock:
        raise InvalidTicketPolicy("a COUNTER limits no validity", field=f"TR {role.name}")
    return payload.timestamp


def _interval(payloads: Sequence[Payload]) -> int | None:
    payload = find_payload(payloads, TR, TsRole.REKEYING)
    if payload is None:
        return None
    if payload.timestamp.ts_type is not TsType.NTP_UTC_32:
        raise InvalidTicketPolicy("must be NTP-UTC-32", field="TRr", section="RFC 6043 section 6.10")
    return payload.timestamp.seconds()
