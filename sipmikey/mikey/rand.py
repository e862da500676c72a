"""Random values: RAND (RFC 3830 section 6.11) and RANDR (RFC 6043 section 6.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.fields import U8_MAX, check_length, check_range, named
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import PayloadType, RandRole


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class RAND:
    """RAND payload: 0 to 255 octets."""

    payload_type: ClassVar[PayloadType] = PayloadType.RAND

    rand: bytes

    def __post_init__(self) -> None:
        check_length(self.rand, U8_MAX, "RAND")

    def encode_body(self) -> bytes:
        return bytes((len(self.rand),)) + self.rand

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        return cls(rand=reader.take(reader.u8("RAND length"), "RAND"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class RANDR:
    """RAND payload with role indicator: RANDRi, RANDRr or RANDRkms of 0 to 255 octets."""

    payload_type: ClassVar[PayloadType] = PayloadType.RANDR

    role: RandRole | int
    rand: bytes

    def __post_init__(self) -> None:
        check_range(self.role, U8_MAX, "RAND Role")
        check_length(self.rand, U8_MAX, "RAND")

    def encode_body(self) -> bytes:
        return bytes((self.role, len(self.rand))) + self.rand

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        role = named(RandRole, reader.u8("RAND Role"))
        return cls(role=role, rand=reader.take(reader.u8("RAND length"), "RAND"))
