"""Timestamps: T (RFC 3830 section 6.6, RFC 6043 section 6.3) and TR (RFC 6043 section 6.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import InvalidTimestamp, LocalError
from sipmikey.mikey.fields import U8_MAX, U32_MAX, check_range, named, registered
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import PayloadType, TsRole, TsType

NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900-01-01 to 1970-01-01."""

_NS = 1_000_000_000
_ERA_S = 1 << 32
_ERA_SPLIT = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """A TS type and its value: 8 octets for NTP-UTC and NTP, 4 for COUNTER and NTP-UTC-32."""

    ts_type: TsType
    value: int

    def __post_init__(self) -> None:
        check_range(self.value, (1 << (8 * self.ts_type.length)) - 1, "TS value")

    @classmethod
    def ntp_utc(cls, unix_ns: int) -> Self:
        """Make an NTP-UTC timestamp from nanoseconds since 1970 (era by RFC 4330 section 3)."""
        seconds, nanoseconds = divmod(unix_ns, _NS)
        fraction = (nanoseconds << 32) // _NS
        return cls(ts_type=TsType.NTP_UTC, value=((seconds + NTP_EPOCH_S) % _ERA_S) << 32 | fraction)

    @classmethod
    def ntp_utc_32(cls, unix_s: int) -> Self:
        """Make an NTP-UTC-32 timestamp from whole seconds since 1970."""
        return cls(ts_type=TsType.NTP_UTC_32, value=(unix_s + NTP_EPOCH_S) % _ERA_S)

    @classmethod
    def counter(cls, value: int) -> Self:
        """Make a COUNTER timestamp."""
        return cls(ts_type=TsType.COUNTER, value=value)

    @property
    def is_clock(self) -> bool:
        """True where the value tells a time (all types but COUNTER)."""
        return self.ts_type is not TsType.COUNTER

    def unix_ns(self) -> int:
        """Return nanoseconds since 1970, for years 1968 to 2104 (RFC 4330 section 3; RFC 6043 section 6.3).

        Raises `LocalError` for COUNTER, which tells no time.
        """
        if not self.is_clock:
            raise LocalError("a COUNTER timestamp tells no time")
        if self.ts_type is TsType.NTP_UTC_32:
            seconds, fraction = self.value, 0
        else:
            seconds, fraction = self.value >> 32, self.value & U32_MAX
        era = 0 if seconds >= _ERA_SPLIT else _ERA_S
        return (seconds + era - NTP_EPOCH_S) * _NS + (fraction * _NS + (1 << 31) >> 32)

    def seconds(self) -> int:
        """Return the integer part of the value as a duration in seconds (TRr, RFC 6043 section 6.10)."""
        return self.value if self.ts_type.length == 4 else self.value >> 32

    def iv_octets(self) -> bytes:
        """Return the 8 octets used where a 64-bit timestamp is required.

        COUNTER is padded in front (RFC 3830 section 6.6), NTP-UTC-32 behind (RFC 6043 section 6.3).
        """
        value = self.value << 32 if self.ts_type is TsType.NTP_UTC_32 else self.value
        return value.to_bytes(8, "big")

    def encode(self) -> bytes:
        """Return TS type and TS value."""
        return bytes((self.ts_type,)) + self.value.to_bytes(self.ts_type.length, "big")

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Read TS type and TS value; an unknown type raises `InvalidTimestamp`."""
        offset = reader.offset
        ts_type = registered(
            TsType, reader.u8("TS type"), field="TS type", offset=offset, error=InvalidTimestamp
        )
        return cls(ts_type=ts_type, value=int.from_bytes(reader.take(ts_type.length, "TS value"), "big"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class T:
    """Timestamp payload (RFC 3830 section 6.6)."""

    payload_type: ClassVar[PayloadType] = PayloadType.T

    timestamp: Timestamp

    def encode_body(self) -> bytes:
        return self.timestamp.encode()

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        return cls(timestamp=Timestamp.decode(reader))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class TR:
    """Timestamp payload with role indicator (RFC 6043 section 6.4). Unregistered roles stay integers."""

    payload_type: ClassVar[PayloadType] = PayloadType.TR

    role: TsRole | int
    timestamp: Timestamp

    def __post_init__(self) -> None:
        check_range(self.role, U8_MAX, "TS Role")

    def encode_body(self) -> bytes:
        return bytes((self.role,)) + self.timestamp.encode()

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        return cls(role=named(TsRole, reader.u8("TS Role")), timestamp=Timestamp.decode(reader))
