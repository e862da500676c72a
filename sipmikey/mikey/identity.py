"""Identities: ID (RFC 3830 section 6.7, RFC 6043 section 6.5) and IDR (RFC 6043 section 6.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.fields import U8_MAX, U16_MAX, check_length, check_range, named
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import IdRole, IdType, PayloadType


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class ID:
    """ID payload: 0 to 65535 octets of ID Data. Never sent in MIKEY-TICKET, which uses IDR."""

    payload_type: ClassVar[PayloadType] = PayloadType.ID

    id_type: IdType | int
    data: bytes

    def __post_init__(self) -> None:
        check_range(self.id_type, U8_MAX, "ID Type")
        check_length(self.data, U16_MAX, "ID Data")

    def encode_body(self) -> bytes:
        return bytes((self.id_type,)) + len(self.data).to_bytes(2, "big") + self.data

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        id_type = named(IdType, reader.u8("ID Type"))
        return cls(id_type=id_type, data=reader.take(reader.u16("ID len"), "ID Data"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class IDR:
    """ID payload with role indicator: IDRi, IDRr, IDRkms, IDRpsk or IDRapp of 0 to 65535 octets."""

    payload_type: ClassVar[PayloadType] = PayloadType.IDR

    role: IdRole | int
    id_type: IdType | int
    data: bytes

    def __post_init__(self) -> None:
        check_range(self.role, U8_MAX, "ID Role")
        check_range(self.id_type, U8_MAX, "ID Type")
        check_length(self.data, U16_MAX, "ID Data")

    def encode_body(self) -> bytes:
        return bytes((self.role, self.id_type)) + len(self.data).to_bytes(2, "big") + self.data

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        role = named(IdRole, reader.u8("ID Role"))
        id_type = named(IdType, reader.u8("ID Type"))
        return cls(role=role, id_type=id_type, data=reader.take(reader.u16("ID len"), "ID Data"))
