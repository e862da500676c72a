"""Ticket Policy TP and TICKET (RFC 6043 section 6.10), and the Ticket Header (Appendix A.3)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntFlag
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import (
    InvalidTicketPolicy,
    LimitExceeded,
    LocalError,
    MalformedMessage,
    UnsupportedPrf,
)
from sipmikey.mikey.fields import U8_MAX, U16_MAX, check_length, check_range, named, registered
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import Payload, decode_chain, encode_chain, register
from sipmikey.mikey.registry import PayloadType, PrfFunc, TicketType
from sipmikey.native import native


class TicketFlag(IntFlag):
    """The flags of a Ticket Policy, by the letters of RFC 6043 section 6.10."""

    D = 1 << 11
    E = 1 << 10
    F = 1 << 9
    G = 1 << 8
    H = 1 << 7
    I = 1 << 6  # noqa: E741 (the RFC's letter)
    J = 1 << 5
    K = 1 << 4
    L = 1 << 3
    M = 1 << 2
    N = 1 << 1
    O = 1 << 0  # noqa: E741 (the RFC's letter)


_RULES: tuple[tuple[str, int, int, int], ...] = (
    ("NOT D implies L", 0, int(TicketFlag.D), int(TicketFlag.L)),
    ("G implies F", int(TicketFlag.G), 0, int(TicketFlag.F)),
    ("NOT G implies H", 0, int(TicketFlag.G), int(TicketFlag.H)),
    ("I implies E", int(TicketFlag.I), 0, int(TicketFlag.E)),
    ("K implies D", int(TicketFlag.K), 0, int(TicketFlag.D)),
    ("M implies F", int(TicketFlag.M), 0, int(TicketFlag.F)),
)
"""(rule, flags set, flags clear, flag then set). NOT H implies G is the contrapositive of NOT G implies H."""


def flag_violations(bits: int) -> tuple[str, ...]:
    """Return the rules of RFC 6043 section 6.10 that a combination of flags breaks."""
    number = int(bits)
    return tuple(
        rule
        for rule, present, absent, implied in _RULES
        if number & present == present and not number & absent and not number & implied
    )


@dataclass(frozen=True, slots=True)
class TicketFlags:
    """A combination of Ticket Policy flags that the RFC allows; another raises `LocalError`.

    That I with a TGK in the ticket implies F depends on the ticket's keys and is checked where they are
    known.
    """

    bits: TicketFlag

    def __post_init__(self) -> None:
        if broken := flag_violations(self.bits):
            raise LocalError(f"ticket policy flags {letters(self.bits)}: {', '.join(broken)}")

    @classmethod
    def of(cls, flags: str) -> Self:
        """Make flags from the letters that are set, such as ``"DEFGHIJNO"``."""
        bits = TicketFlag(0)
        for letter in flags:
            if letter not in TicketFlag.__members__:
                raise LocalError(f"{letter!r} is not a ticket policy flag; the flags are DEFGHIJKLMNO")
            bits |= TicketFlag[letter]
        return cls(bits)

    def with_flag(self, flag: TicketFlag, value: bool) -> Self:
        """Return these flags with one changed."""
        return type(self)(self.bits | flag if value else self.bits & ~flag)

    def __str__(self) -> str:
        return letters(self.bits)

    def _has(self, flag: TicketFlag) -> bool:
        # IntFlag's own & makes a member, which costs more than all the rest of a policy's reading.
        return bool(int.__and__(self.bits, flag))

    @property
    def kms_generated(self) -> bool:
        """D: the KMS, not the Initiator, made the ticket."""
        return self._has(TicketFlag.D)

    @property
    def resolve_mandatory(self) -> bool:
        """E: the Ticket Resolve exchange must be used."""
        return self._has(TicketFlag.E)

    @property
    def response_sent(self) -> bool:
        """F: TRANSFER_RESP shall be sent."""
        return self._has(TicketFlag.F)

    @property
    def randr_r(self) -> bool:
        """G: the Responder shall generate RANDRr."""
        return self._has(TicketFlag.G)

    @property
    def randr_i(self) -> bool:
        """H: RANDRi shall be used when deriving keys from a TGK or GTGK."""
        return self._has(TicketFlag.H)

    @property
    def key_forking(self) -> bool:
        """I: MPKr and TGKs are forked."""
        return self._has(TicketFlag.I)

    @property
    def reusable(self) -> bool:
        """J: the ticket may be reused, and so cached."""
        return self._has(TicketFlag.J)

    @property
    def changed(self) -> bool:
        """K: the KMS changed the desired Ticket Policy or KEMAC."""
        return self._has(TicketFlag.K)

    @property
    def initiator_keys(self) -> bool:
        """L: the Initiator may supply session keys."""
        return self._has(TicketFlag.L)

    @property
    def responder_keys(self) -> bool:
        """M: the Responder may supply session keys."""
        return self._has(TicketFlag.M)

    @property
    def standard_initiator(self) -> bool:
        """N: an Initiator of RFC 6043 can use the ticket without additional processing."""
        return self._has(TicketFlag.N)

    @property
    def standard_responder(self) -> bool:
        """O: a Responder of RFC 6043 can process the ticket without additional processing."""
        return self._has(TicketFlag.O)


def letters(bits: int) -> str:
    """Return the letters of the flags that are set, in the order of the RFC."""
    return "".join(flag.name for flag in TicketFlag if bits & flag and flag.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFields:
    """What TP and TICKET share. ``res`` holds the 5 reserved bits; ``payloads`` are those of TP Data.

    ``policy_octets`` are the octets from Ticket Type to the end of TP Data, as received or as built.
    """

    ticket_type: TicketType | int = TicketType.MIKEY_BASE
    subtype: int = 1
    version: int = 1
    prf: PrfFunc
    flags: TicketFlags
    res: int = 0
    payloads: tuple[Payload, ...]
    policy_octets: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        check_range(self.ticket_type, U16_MAX, "Ticket Type")
        check_range(self.subtype, U8_MAX, "Subtype")
        check_range(self.version, U8_MAX, "Version")
        check_range(self.res, 0x1F, "Res")
        if not self.policy_octets:
            object.__setattr__(self, "policy_octets", self._encode_policy())

    def _encode_policy(self) -> bytes:
        bits = int(self.flags.bits)
        first, chain = encode_chain(self.payloads)
        tp_data = bytes((first,)) + chain
        check_length(tp_data, U16_MAX, "TP Data")
        return b"".join(
            (
                self.ticket_type.to_bytes(2, "big"),
                bytes((self.subtype, self.version)),
                bytes((self.prf << 1 | bits >> 11, bits >> 3 & 0xFF, (bits & 7) << 5 | self.res)),
                len(tp_data).to_bytes(2, "big"),
                tp_data,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecodedPolicy:
    ticket_type: TicketType | int
    subtype: int
    version: int
    prf: PrfFunc
    flags: TicketFlags
    res: int
    payloads: tuple[Payload, ...]
    octets: bytes


def _decode_policy(reader: Reader, limits: Limits, what: str) -> _DecodedPolicy:
    start = reader.position
    ticket_type = named(TicketType, reader.u16("Ticket Type"))
    subtype = reader.u8("Subtype")
    version = reader.u8("Version")
    offset = reader.offset
    word = int.from_bytes(reader.take(3, "flags"), "big")
    prf = registered(PrfFunc, word >> 17, field=f"{what} PRF Func", offset=offset, error=UnsupportedPrf)
    bits = word >> 5 & 0xFFF
    if broken := flag_violations(bits):
        raise InvalidTicketPolicy(
            f"flags {letters(bits)}: {', '.join(broken)}",
            field=f"{what} flags",
            offset=offset,
            section="RFC 6043 section 6.10",
        )
    tp_data = reader.sub(reader.u16("TP Data length"), "TP Data")
    if tp_data.depth > limits.nesting:
        raise LimitExceeded(f"nested deeper than {limits.nesting}", field="TP Data", offset=tp_data.offset)
    first = tp_data.u8("TP Data first payload")
    payloads, _ = decode_chain(first, tp_data, limits, "TP Data")
    end = reader.position
    reader.position = start
    octets = reader.take(end - start, what)
    return _DecodedPolicy(
        ticket_type=ticket_type,
        subtype=subtype,
        version=version,
        prf=prf,
        flags=TicketFlags(TicketFlag(bits)),
        res=word & 0x1F,
        payloads=payloads,
        octets=octets,
    )


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class TP(PolicyFields):
    """Ticket Policy payload: the policy an Initiator asks for."""

    payload_type: ClassVar[PayloadType] = PayloadType.TP

    def encode_body(self) -> bytes:
        return self.policy_octets

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        policy = _decode_policy(reader, limits, "TP")
        return cls(
            ticket_type=policy.ticket_type,
            subtype=policy.subtype,
            version=policy.version,
            prf=policy.prf,
            flags=policy.flags,
            res=policy.res,
            payloads=policy.payloads,
            policy_octets=policy.octets,
        )


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class TICKET(PolicyFields):
    """Ticket payload: the granted policy, Ticket Data and Initiator Data (0 to 65535 octets each).

    Ticket Data is opaque here: its format depends on the Ticket Type. Initiator Data is First Payload
    and a chain, or empty.
    """

    payload_type: ClassVar[PayloadType] = PayloadType.TICKET

    ticket_data: bytes
    initiator_data: bytes = b""

    def __post_init__(self) -> None:
        PolicyFields.__post_init__(self)
        check_length(self.ticket_data, U16_MAX, "Ticket Data")
        check_length(self.initiator_data, U16_MAX, "Initiator Data")

    def encode_body(self) -> bytes:
        return b"".join(
            (
                self.policy_octets,
                len(self.ticket_data).to_bytes(2, "big"),
                self.ticket_data,
                len(self.initiator_data).to_bytes(2, "big"),
                self.initiator_data,
            )
        )

    def with_data(self, *, ticket_data: bytes | None = None, initiator_data: bytes | None = None) -> Self:
        """Return this ticket with other Ticket Data or Initiator Data; the policy octets stay as they are."""
        return replace(
            self,
            ticket_data=self.ticket_data if ticket_data is None else ticket_data,
            initiator_data=self.initiator_data if initiator_data is None else initiator_data,
        )

    @property
    def initiator_data_span(self) -> int:
        """Octets at the end of the payload that TRANSFER_INIT's MAC leaves out (RFC 6043 section 5.5)."""
        return 2 + len(self.initiator_data)

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        policy = _decode_policy(reader, limits, "TICKET")
        ticket_data = reader.take(reader.u16("Ticket Data length"), "Ticket Data")
        return cls(
            ticket_type=policy.ticket_type,
            subtype=policy.subtype,
            version=policy.version,
            prf=policy.prf,
            flags=policy.flags,
            res=policy.res,
            payloads=policy.payloads,
            policy_octets=policy.octets,
            ticket_data=ticket_data,
            initiator_data=reader.take(reader.u16("Initiator Data length"), "Initiator Data"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class THDR:
    """Ticket Header: 0 to 65535 octets of implementation-specific data. It has no payload number."""

    data: bytes = b""

    def __post_init__(self) -> None:
        check_length(self.data, U16_MAX, "THDR Data")


def encode_ticket_data(header: THDR, payloads: tuple[Payload, ...]) -> bytes:
    """Return Ticket Data: THDR, whose first octet is the Next Payload, and a chain (Appendix A)."""
    first, chain = encode_chain(payloads)
    return bytes((first,)) + len(header.data).to_bytes(2, "big") + header.data + chain


@native
def decode_ticket_data(
    data: bytes, limits: Limits, *, base: int = 0
) -> tuple[THDR, tuple[Payload, ...], tuple[int, ...]]:
    """Read Ticket Data of the MIKEY base ticket; return THDR, payloads and their offsets (plus *base*)."""
    reader = Reader(data, base=base)
    first = reader.u8("THDR next payload")
    header = THDR(data=reader.take(reader.u16("THDR Data length"), "THDR Data"))
    payloads, offsets = decode_chain(first, reader, limits, "Ticket Data")
    return header, payloads, offsets


def encode_initiator_data(payloads: tuple[Payload, ...]) -> bytes:
    """Return Initiator Data: First Payload and a chain."""
    first, chain = encode_chain(payloads)
    return bytes((first,)) + chain


@native
def decode_initiator_data(data: bytes, limits: Limits, *, base: int = 0) -> tuple[Payload, ...]:
    """Read Initiator Data; empty data raises `MalformedMessage`."""
    if not data:
        raise MalformedMessage("is empty", field="Initiator Data", offset=base)
    reader = Reader(data, base=base)
    payloads, _ = decode_chain(reader.u8("Initiator Data first payload"), reader, limits, "Initiator Data")
    return payloads
