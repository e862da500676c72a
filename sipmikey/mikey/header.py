"""Common Header HDR (RFC 3830 section 6.1, RFC 6043 section 6.1) and its CS ID maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import (
    LimitExceeded,
    LocalError,
    MalformedMessage,
    UnsupportedDataType,
    UnsupportedPrf,
)
from sipmikey.mikey.fields import U8_MAX, U16_MAX, U32_MAX, check_length, check_range, named, registered
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.registry import MIKEY_VERSION, CsIdMapType, DataType, PrfFunc, ProtType

SRTP_SESSION_DATA_SHORT = 4
"""Session Data of SRTP without ROC and SEQ (S = 0), in bytes."""

SRTP_SESSION_DATA_FULL = 10
"""Session Data of SRTP with ROC and SEQ (S = 1), in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpIdEntry:
    """One entry of the SRTP-ID map (RFC 3830 section 6.1.1); the n-th has CS ID n."""

    map_type: ClassVar[CsIdMapType] = CsIdMapType.SRTP_ID

    policy_no: int
    ssrc: int
    roc: int

    def __post_init__(self) -> None:
        check_range(self.policy_no, U8_MAX, "Policy_no")
        check_range(self.ssrc, U32_MAX, "SSRC")
        check_range(self.roc, U32_MAX, "ROC")

    def encode(self) -> bytes:
        return bytes((self.policy_no,)) + self.ssrc.to_bytes(4, "big") + self.roc.to_bytes(4, "big")

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        return cls(policy_no=reader.u8("Policy_no"), ssrc=reader.u32("SSRC"), roc=reader.u32("ROC"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericIdEntry:
    """One block of the GENERIC-ID map (RFC 6043 section 6.1.1).

    ``policies`` holds 0 to 127 policy numbers, ``session_data`` 0 to 65535 and ``spi`` 0 to 255 octets; an
    empty one is omitted. ``s`` is the S flag, whose meaning belongs to the Session Data.
    """

    map_type: ClassVar[CsIdMapType] = CsIdMapType.GENERIC_ID

    cs_id: int
    prot_type: ProtType | int = ProtType.SRTP
    s: bool = False
    policies: tuple[int, ...] = ()
    session_data: bytes = b""
    spi: bytes = b""

    def __post_init__(self) -> None:
        check_range(self.cs_id, U8_MAX, "CS ID")
        check_range(self.prot_type, U8_MAX, "Prot type")
        if len(self.policies) > 0x7F:
            raise LocalError("a crypto session has at most 127 policies")
        for number in self.policies:
            check_range(number, U8_MAX, "Policy_no")
        check_length(self.session_data, U16_MAX, "Session Data")
        check_length(self.spi, U8_MAX, "SPI")

    def encode(self) -> bytes:
        return b"".join(
            (
                bytes((self.cs_id, self.prot_type, self.s << 7 | len(self.policies), *self.policies)),
                len(self.session_data).to_bytes(2, "big"),
                self.session_data,
                bytes((len(self.spi),)),
                self.spi,
            )
        )

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        cs_id = reader.u8("CS ID")
        prot_type = named(ProtType, reader.u8("Prot type"))
        octet = reader.u8("S and #P")
        policies = tuple(reader.take(octet & 0x7F, "Ps"))
        session_data = reader.take(reader.u16("Session Data Length"), "Session Data")
        spi = reader.take(reader.u8("SPI Length"), "SPI")
        return cls(
            cs_id=cs_id,
            prot_type=prot_type,
            s=bool(octet & 0x80),
            policies=policies,
            session_data=session_data,
            spi=spi,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpSessionData:
    """Session Data of SRTP: SSRC, and ROC and SEQ together or not at all (RFC 6043 section 6.1.1)."""

    ssrc: int
    roc: int | None = None
    seq: int | None = None

    def __post_init__(self) -> None:
        check_range(self.ssrc, U32_MAX, "SSRC")
        if (self.roc is None) != (self.seq is None):
            raise LocalError("ROC and SEQ are given together (the S flag covers both)")
        if self.roc is not None and self.seq is not None:
            check_range(self.roc, U32_MAX, "ROC")
            check_range(self.seq, U16_MAX, "SEQ")

    @property
    def s(self) -> bool:
        """The S flag that goes with these data."""
        return self.roc is not None

    def encode(self) -> bytes:
        """Return 4 or 10 octets."""
        octets = self.ssrc.to_bytes(4, "big")
        if self.roc is None or self.seq is None:
            return octets
        return octets + self.roc.to_bytes(4, "big") + self.seq.to_bytes(2, "big")

    @classmethod
    def of(cls, entry: GenericIdEntry) -> Self | None:
        """Read the Session Data of an SRTP crypto session; None where it is omitted."""
        data = entry.session_data
        if not data:
            if entry.s:
                raise MalformedMessage("S is 1 without Session Data", field=f"CS ID {entry.cs_id}")
            return None
        expected = SRTP_SESSION_DATA_FULL if entry.s else SRTP_SESSION_DATA_SHORT
        if len(data) != expected:
            raise MalformedMessage(
                f"SRTP Session Data has {len(data)} octets, must have {expected} with S {int(entry.s)}",
                field=f"CS ID {entry.cs_id}",
                section="RFC 6043 section 6.1.1",
            )
        ssrc = int.from_bytes(data[:4], "big")
        if not entry.s:
            return cls(ssrc=ssrc)
        return cls(ssrc=ssrc, roc=int.from_bytes(data[4:8], "big"), seq=int.from_bytes(data[8:], "big"))


CsIdMap = tuple[SrtpIdEntry, ...] | tuple[GenericIdEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """HDR without its Next Payload, which the message computes.

    ``v`` is the V flag, ``csb_id`` has 32 bits. ``crypto_sessions`` are the entries of the CS ID map and
    must be of the kind ``map_type`` says; the Empty map has no map info, so its #CS is kept in
    ``empty_map_sessions``.
    """

    data_type: DataType
    v: bool = False
    prf: PrfFunc
    csb_id: int
    map_type: CsIdMapType
    crypto_sessions: CsIdMap = ()
    empty_map_sessions: int = 0

    def __post_init__(self) -> None:
        check_range(self.csb_id, U32_MAX, "CSB ID")
        check_range(len(self.crypto_sessions), U8_MAX, "#CS")
        check_range(self.empty_map_sessions, U8_MAX, "#CS")
        if any(entry.map_type is not self.map_type for entry in self.crypto_sessions):
            raise LocalError(f"every entry must be of a {self.map_type.name} map")
        if self.empty_map_sessions and self.map_type is not CsIdMapType.EMPTY:
            raise LocalError("only the Empty map counts sessions it does not describe")

    @property
    def cs_count(self) -> int:
        """The #CS field."""
        return len(self.crypto_sessions) or self.empty_map_sessions

    def generic_ids(self) -> tuple[GenericIdEntry, ...]:
        """Return the blocks of a GENERIC-ID map; empty for the other maps."""
        return tuple(entry for entry in self.crypto_sessions if isinstance(entry, GenericIdEntry))

    def encode(self, next_payload: int) -> bytes:
        """Return HDR, 10 octets and the map info."""
        return b"".join(
            (
                bytes((MIKEY_VERSION, self.data_type, next_payload, self.v << 7 | self.prf)),
                self.csb_id.to_bytes(4, "big"),
                bytes((self.cs_count, self.map_type)),
                *(entry.encode() for entry in self.crypto_sessions),
            )
        )

    @classmethod
    def decode(cls, reader: Reader, limits: Limits) -> tuple[Self, int]:
        """Read HDR; return it and the number of the first payload."""
        offset = reader.offset
        version = reader.u8("version")
        if version != MIKEY_VERSION:
            raise MalformedMessage(f"version {version} is not 1", field="HDR version", offset=offset)
        data_type = registered(
            DataType, reader.u8("data type"), field="data type", offset=offset + 1, error=UnsupportedDataType
        )
        next_payload = reader.u8("next payload")
        octet = reader.u8("V and PRF func")
        prf = registered(PrfFunc, octet & 0x7F, field="PRF func", offset=offset + 3, error=UnsupportedPrf)
        csb_id = reader.u32("CSB ID")
        count = reader.u8("#CS")
        map_type = registered(
            CsIdMapType, reader.u8("CS ID map type"), field="CS ID map type", offset=offset + 9
        )
        if count > limits.crypto_sessions:
            raise LimitExceeded(
                f"more than {limits.crypto_sessions} crypto sessions", field="#CS", offset=offset + 8
            )
        crypto_sessions: CsIdMap = ()
        if map_type is CsIdMapType.GENERIC_ID:
            crypto_sessions = tuple(GenericIdEntry.decode(reader) for _ in range(count))
        elif map_type is CsIdMapType.SRTP_ID:
            crypto_sessions = tuple(SrtpIdEntry.decode(reader) for _ in range(count))
        header = cls(
            data_type=data_type,
            v=bool(octet & 0x80),
            prf=prf,
            csb_id=csb_id,
            map_type=map_type,
            crypto_sessions=crypto_sessions,
            empty_map_sessions=count if map_type is CsIdMapType.EMPTY else 0,
        )
        return header, next_payload
